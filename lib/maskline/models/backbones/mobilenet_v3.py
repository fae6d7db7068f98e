"""MobileNetV3 with a dilated end, output stride 8.

Source: Howard et al., "Searching for MobileNetV3", 2019; where it is dilated and names as in MMSegmentation
(Apache-2.0). timm's dilates other blocks.
"""

from collections.abc import Callable
from typing import Literal

from torch import Tensor, nn
from torch.nn import functional as F

from maskline.models.backbones.base import BackboneBase
from maskline.models.layers import BATCH_NORM, ConvNormAct, Norm, size_of

_Activation = Literal["relu", "hardswish"]
_ACTIVATIONS: dict[_Activation, Callable[[Tensor], Tensor]] = {"relu": F.relu, "hardswish": F.hardswish}
# Kernel, inner channels, channels, squeeze and excitation, activation, stride, dilation of each layer; then the
# channels of the last convolution, and the features.
_PLANS: dict[str, tuple[tuple[tuple[int, int, int, bool, _Activation, int, int], ...], int, tuple[int, ...]]] = {
    "small": (
        (
            (3, 16, 16, True, "relu", 2, 1),
            (3, 72, 24, False, "relu", 2, 1),
            (3, 88, 24, False, "relu", 1, 1),
            (5, 96, 40, True, "hardswish", 1, 2),
            (5, 240, 40, True, "hardswish", 1, 2),
            (5, 240, 40, True, "hardswish", 1, 2),
            (5, 120, 48, True, "hardswish", 1, 2),
            (5, 144, 48, True, "hardswish", 1, 2),
            (5, 288, 96, True, "hardswish", 1, 4),
            (5, 576, 96, True, "hardswish", 1, 4),
            (5, 576, 96, True, "hardswish", 1, 4),
        ),
        576,
        (0, 1, 12),
    ),
    "large": (
        (
            (3, 16, 16, False, "relu", 1, 1),
            (3, 64, 24, False, "relu", 2, 1),
            (3, 72, 24, False, "relu", 1, 1),
            (5, 72, 40, True, "relu", 2, 1),
            (5, 120, 40, True, "relu", 1, 1),
            (5, 120, 40, True, "relu", 1, 1),
            (3, 240, 80, False, "hardswish", 1, 2),
            (3, 200, 80, False, "hardswish", 1, 2),
            (3, 184, 80, False, "hardswish", 1, 2),
            (3, 184, 80, False, "hardswish", 1, 2),
            (3, 480, 112, True, "hardswish", 1, 2),
            (3, 672, 112, True, "hardswish", 1, 2),
            (5, 672, 160, True, "hardswish", 1, 4),
            (5, 960, 160, True, "hardswish", 1, 4),
            (5, 960, 160, True, "hardswish", 1, 4),
        ),
        960,
        (1, 3, 16),
    ),
}
_STEM = 16
_SQUEEZE = 4


class MobileNetV3(BackboneBase):
    """Three features: of strides 2, 4, 8; any input size.

    Args:
        size: ``small`` or ``large``.
        in_channels: Channels of the images.
        norm: Norm after each convolution.
    """

    def __init__(self, *, size: str, in_channels: int, norm: Norm = BATCH_NORM) -> None:
        super().__init__()
        layers, last, self._out_indices = _PLANS[size]
        self.layer0: nn.Module = _Conv(in_channels, _STEM, kernel_size=3, stride=2, norm=norm)
        before = _STEM
        for number, (kernel, inner, width, squeezes, activation, stride, dilation) in enumerate(layers, start=1):
            depthwise = _Conv(
                inner,
                inner,
                kernel_size=kernel,
                stride=stride,
                dilation=dilation,
                groups=inner,
                norm=norm,
                act=activation,
            )
            squeeze = _Squeeze(inner) if squeezes else None
            block = _InvertedResidual(before, width, depthwise=depthwise, squeeze=squeeze, act=activation, norm=norm)
            self.add_module(f"layer{number}", block)
            before = width
        self.add_module(f"layer{len(layers) + 1}", _Conv(before, last, norm=norm))
        widths = (_STEM, *(layer[2] for layer in layers), last)
        self.channels = tuple(widths[i] for i in self._out_indices)
        self.strides = (2, 4, 8)
        self.size_divisor = 1

    def forward(self, images: Tensor) -> list[Tensor]:
        """Map images (NCHW, any size) to features, finest first."""
        x = images
        outputs = []
        for (layer,) in self.stages():
            x = layer(x)
            outputs.append(x)
        return [outputs[i] for i in self._out_indices]

    def stages(self) -> list[list[nn.Module]]:
        """See ``BackboneBase``."""
        return [[module] for name, module in self.named_children() if name.startswith("layer")]


class _Conv(ConvNormAct):
    """Convolution, norm, activation; one that strides is padded at the end first, as TensorFlow does."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        kernel_size: int = 1,
        stride: int = 1,
        dilation: int = 1,
        groups: int = 1,
        norm: Norm,
        act: _Activation = "hardswish",
    ) -> None:
        super().__init__(
            in_channels,
            out_channels,
            kernel_size=kernel_size,
            stride=stride,
            dilation=dilation,
            groups=groups,
            norm=norm,
            activation=False,
        )
        self._act = _ACTIVATIONS[act]
        self._pad = kernel_size // 2 if stride > 1 else 0
        if self._pad:
            self.conv.padding = (0, 0)

    def forward(self, x: Tensor) -> Tensor:
        if self._pad:
            height, width = size_of(x)
            x = F.pad(x, (self._pad - 1 + width % 2, self._pad, self._pad - 1 + height % 2, self._pad))
        return self._act(super().forward(x))


class _InvertedResidual(nn.Module):
    """1x1 to more channels, a convolution a channel, squeeze and excitation, 1x1 to fewer without activation."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        depthwise: _Conv,
        squeeze: nn.Module | None,
        act: _Activation,
        norm: Norm,
    ) -> None:
        super().__init__()
        inner = depthwise.conv.out_channels
        self.expand_conv = None if inner == in_channels else _Conv(in_channels, inner, norm=norm, act=act)
        self.depthwise_conv = depthwise
        self.se = squeeze
        self.linear_conv = ConvNormAct(inner, out_channels, norm=norm, activation=False)
        self.adds = depthwise.conv.stride == (1, 1) and in_channels == out_channels

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = x if self.expand_conv is None else self.expand_conv(x)
        y = self.depthwise_conv(y)
        y = self.linear_conv(y if self.se is None else self.se(y))
        return x + y if self.adds else y


class _Squeeze(nn.Module):
    """Channels scaled by a function of their means."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = _to_eights(channels // _SQUEEZE)
        self.conv1 = ConvNormAct(channels, inner, norm=None)
        self.conv2 = ConvNormAct(inner, channels, norm=None, activation=False)

    def forward(self, x: Tensor) -> Tensor:
        means = x.mean(dim=(2, 3), keepdim=True)
        return x * F.hardsigmoid(self.conv2(self.conv1(means)))


def _to_eights(channels: int) -> int:
    """Return the nearest multiple of 8 from 8, the next one where that is less than 90 %."""
    nearest = max(8, (channels + 4) // 8 * 8)
    return nearest + 8 if nearest < 0.9 * channels else nearest
