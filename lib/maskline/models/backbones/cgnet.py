"""CGNet: blocks that see each pixel, what surrounds it, and the whole image.

Source: Wu et al., "CGNet: A Light-weight Context Guided Network for Semantic Segmentation", 2018; names as in
MMSegmentation (Apache-2.0).
"""

from functools import partial

import torch
from torch import Tensor, nn

from maskline.models.backbones.base import BackboneBase
from maskline.models.backbones.residual import conv
from maskline.models.layers import BATCH_NORM, ConvNormAct, Norm

_WIDTHS = (32, 64, 128)
_BLOCKS = (3, 21)
_DILATIONS = (2, 4)
_REDUCTIONS = (8, 16)


class CGNet(BackboneBase):
    """Features of strides 2, 4, 8; any input size.

    Args:
        in_channels: Channels of the images.
        blocks: Number of blocks of either stage.
        norm: Norm after each convolution.
    """

    def __init__(self, *, in_channels: int, blocks: tuple[int, int] = _BLOCKS, norm: Norm = BATCH_NORM) -> None:
        super().__init__()
        first = _WIDTHS[0]
        self.stem = nn.ModuleList(
            _ConvPReLU(before, first, kernel_size=3, stride=stride, norm=norm)
            for before, stride in ((in_channels, 2), (first, 1), (first, 1))
        )
        self.pool = nn.AvgPool2d(3, stride=2, padding=1)
        widths = [first + in_channels]
        for number, (width, count) in enumerate(zip(_WIDTHS[1:], blocks, strict=True), start=1):
            dilation, reduction = _DILATIONS[number - 1], _REDUCTIONS[number - 1]
            down = _Down(widths[-1], width, dilation=dilation, reduction=reduction, norm=norm)
            block = partial(_Block, width, dilation=dilation, reduction=reduction, norm=norm)
            stage = [down, *(block() for _ in range(count - 1))]
            self.add_module(f"level{number}", nn.ModuleList(stage))
            widths.append(2 * width + (in_channels if number == 1 else 0))
        for number, width in enumerate(widths):
            self.add_module(f"norm_prelu_{number}", nn.Sequential(norm.build(width), _prelu(width)))
        self.channels = tuple(widths)
        self.strides = (2, 4, 8)
        self.size_divisor = 1

    def forward(self, images: Tensor) -> list[Tensor]:
        """Map images (NCHW) to features, finest first."""
        half = self.pool(images)
        x = images
        for layer in self.stem:
            x = layer(x)
        outputs = [self.get_submodule("norm_prelu_0")(torch.cat([x, half], dim=1))]
        for number in (1, 2):
            down, *blocks = self.get_submodule(f"level{number}").children()
            first = x = down(outputs[-1])
            for block in blocks:
                x = block(x)
            parts = [x, first, self.pool(half)] if number == 1 else [first, x]
            outputs.append(self.get_submodule(f"norm_prelu_{number}")(torch.cat(parts, dim=1)))
        return outputs

    def stages(self) -> list[list[nn.Module]]:
        """See ``BackboneBase``."""
        names = (("stem", "norm_prelu_0"), ("level1", "norm_prelu_1"), ("level2", "norm_prelu_2"))
        return [[self.get_submodule(name) for name in stage] for stage in names]


class _ConvPReLU(ConvNormAct):
    """Convolution, norm, PReLU (``activate``)."""

    def __init__(self, in_channels: int, out_channels: int, *, kernel_size: int, stride: int = 1, norm: Norm) -> None:
        super().__init__(in_channels, out_channels, kernel_size=kernel_size, stride=stride, norm=norm, activation=False)
        self.activate = _prelu(out_channels)

    def finish(self, x: Tensor) -> Tensor:
        return self.activate(super().finish(x))  # type: ignore[no-any-return]


class _Joint(nn.Module):
    """A first convolution; then each pixel's neighbours, near and far; channels scaled by their means."""

    def __init__(
        self, first: _ConvPReLU, out_channels: int, *, joins: bool, dilation: int, reduction: int, norm: Norm
    ) -> None:
        super().__init__()
        width = first.conv.out_channels
        self.conv1x1 = first
        self.f_loc = nn.Conv2d(width, width, 3, padding=1, groups=width, bias=False)
        self.f_sur = nn.Conv2d(width, width, 3, padding=dilation, dilation=dilation, groups=width, bias=False)
        for layer in (self.f_loc, self.f_sur):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
        self.bn = norm.build(2 * width)
        self.activate = _prelu(2 * width)
        self.bottleneck = conv(2 * width, out_channels, kernel_size=1) if joins else nn.Identity()
        self.f_glo = _Scale(out_channels, reduction)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv1x1(x)
        joint = self.activate(self.bn(torch.cat([self.f_loc(x), self.f_sur(x)], dim=1)))
        return self.f_glo(self.bottleneck(joint))  # type: ignore[no-any-return]


class _Down(_Joint):
    """To half the resolution and other channels."""

    def __init__(self, in_channels: int, out_channels: int, *, dilation: int, reduction: int, norm: Norm) -> None:
        first = _ConvPReLU(in_channels, out_channels, kernel_size=3, stride=2, norm=norm)
        super().__init__(first, out_channels, joins=True, dilation=dilation, reduction=reduction, norm=norm)


class _Block(_Joint):
    """Added to its input."""

    def __init__(self, channels: int, *, dilation: int, reduction: int, norm: Norm) -> None:
        first = _ConvPReLU(channels, channels // 2, kernel_size=1, norm=norm)
        super().__init__(first, channels, joins=False, dilation=dilation, reduction=reduction, norm=norm)

    def forward(self, x: Tensor) -> Tensor:
        return x + super().forward(x)


class _Scale(nn.Module):
    """Channels scaled by a function of their means."""

    def __init__(self, channels: int, reduction: int) -> None:
        super().__init__()
        inner = channels // reduction
        self.fc = nn.Sequential(nn.Linear(channels, inner), nn.ReLU(), nn.Linear(inner, channels), nn.Sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        return x * self.fc(x.mean(dim=(2, 3))).unsqueeze(2).unsqueeze(3)  # type: ignore[no-any-return]


def _prelu(channels: int) -> nn.PReLU:
    return nn.PReLU(channels, init=0.0)  # starts as a ReLU
