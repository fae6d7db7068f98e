"""MSCAN, SegNeXt's backbone: attention by convolutions with long thin kernels.

Source: Guo et al., "SegNeXt: Rethinking Convolutional Attention Design for Semantic Segmentation", 2022; names as in
MMSegmentation (Apache-2.0).
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from maskline.models.backbones.base import BackboneBase
from maskline.models.layers import BATCH_NORM, DropPath, Norm

_MLP_RATIOS = (8, 8, 4, 4)
_LENGTHS = (7, 11, 21)
_LAYER_SCALE = 0.01


@dataclass(frozen=True, kw_only=True)
class MscanPlan:
    """Sizes of the network.

    Args:
        widths: Channels of each stage.
        depths: Blocks of each stage.
    """

    widths: tuple[int, ...]
    depths: tuple[int, ...]


MSCAN_PLANS = {
    "t": MscanPlan(widths=(32, 64, 160, 256), depths=(3, 3, 5, 2)),
    "s": MscanPlan(widths=(64, 128, 320, 512), depths=(2, 2, 4, 2)),
    "b": MscanPlan(widths=(64, 128, 320, 512), depths=(3, 3, 12, 3)),
    "l": MscanPlan(widths=(64, 128, 320, 512), depths=(3, 5, 27, 3)),
}


class MSCAN(BackboneBase):
    """Features of strides 4, 8, 16, 32; any input size.

    Args:
        in_channels: Channels of the images.
        plan: Sizes.
        dropout: Share of activations dropped.
        drop_path: Largest share of residual branches left out; from 0 in the first block.
        norm: Norm of the blocks.
    """

    def __init__(
        self,
        *,
        in_channels: int,
        plan: MscanPlan,
        dropout: float = 0.0,
        drop_path: float = 0.0,
        norm: Norm = BATCH_NORM,
    ) -> None:
        super().__init__()
        total = sum(plan.depths)
        shares = iter([drop_path * i / max(1, total - 1) for i in range(total)])
        before = in_channels
        for number, (width, depth, ratio) in enumerate(zip(plan.widths, plan.depths, _MLP_RATIOS, strict=True), 1):
            embed = _Stem(before, width, norm=norm) if number == 1 else _Down(before, width, norm=norm)
            blocks = [
                _Block(width, ratio=ratio, dropout=dropout, drop_path=next(shares), norm=norm) for _ in range(depth)
            ]
            self.add_module(f"patch_embed{number}", embed)
            self.add_module(f"block{number}", nn.Sequential(*blocks))
            self.add_module(f"norm{number}", nn.LayerNorm(width))
            before = width
        self.channels = plan.widths
        self.strides = (4, 8, 16, 32)
        self.size_divisor = 1

    def forward(self, images: Tensor) -> list[Tensor]:
        """Map images (NCHW, any size) to features, finest first."""
        x = images
        outputs = []
        for embed, blocks, norm in self.stages()[1:]:
            x = blocks(embed(x))
            x = norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
            outputs.append(x)
        return outputs

    def stages(self) -> list[list[nn.Module]]:
        """See ``BackboneBase``: no stem."""
        parts = ("patch_embed", "block", "norm")
        return [[], *([self.get_submodule(f"{part}{number}") for part in parts] for number in (1, 2, 3, 4))]


class _Stem(nn.Module):
    """To stride 4 by two convolutions."""

    def __init__(self, in_channels: int, width: int, *, norm: Norm) -> None:
        super().__init__()
        half = width // 2
        self.proj = nn.Sequential(
            _conv(in_channels, half, 3, stride=2),
            norm.build(half),
            nn.GELU(),
            _conv(half, width, 3, stride=2),
            norm.build(width),
        )

    def forward(self, images: Tensor) -> Tensor:
        return self.proj(images)  # type: ignore[no-any-return]


class _Down(nn.Module):
    """To half the resolution by a convolution."""

    def __init__(self, in_channels: int, width: int, *, norm: Norm) -> None:
        super().__init__()
        self.proj = _conv(in_channels, width, 3, stride=2)
        self.norm = norm.build(width)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.proj(x))  # type: ignore[no-any-return]


class _Block(nn.Module):
    """Attention, then a perceptron with a convolution inside; both scaled and added."""

    def __init__(self, channels: int, *, ratio: int, dropout: float, drop_path: float, norm: Norm) -> None:
        super().__init__()
        self.norm1 = norm.build(channels)
        self.attn = _Attention(channels)
        self.norm2 = norm.build(channels)
        self.mlp = _Mlp(channels, ratio * channels, dropout=dropout)
        self.drop_path = DropPath(drop_path)
        self.layer_scale_1 = nn.Parameter(torch.full((channels,), _LAYER_SCALE))
        self.layer_scale_2 = nn.Parameter(torch.full((channels,), _LAYER_SCALE))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.drop_path(self.layer_scale_1.view(-1, 1, 1) * self.attn(self.norm1(x)))
        return x + self.drop_path(self.layer_scale_2.view(-1, 1, 1) * self.mlp(self.norm2(x)))  # type: ignore[no-any-return]


class _Attention(nn.Module):
    """A gated convolution between two 1x1 ones, added to the input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.proj_1 = _conv(channels, channels, 1)
        self.spatial_gating_unit = _Gate(channels)
        self.proj_2 = _conv(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.proj_2(self.spatial_gating_unit(F.gelu(self.proj_1(x))))  # type: ignore[no-any-return]


class _Gate(nn.Module):
    """The input, times what kernels of several lengths see of it."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv0 = _conv(channels, channels, 5, groups=channels)
        for i, length in enumerate(_LENGTHS):
            self.add_module(f"conv{i}_1", _conv(channels, channels, (1, length), groups=channels))
            self.add_module(f"conv{i}_2", _conv(channels, channels, (length, 1), groups=channels))
        self.conv3 = _conv(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        near = total = self.conv0(x)
        for i in range(len(_LENGTHS)):
            total = total + self.get_submodule(f"conv{i}_2")(self.get_submodule(f"conv{i}_1")(near))
        return x * self.conv3(total)  # type: ignore[no-any-return]


class _Mlp(nn.Module):
    def __init__(self, channels: int, inner: int, *, dropout: float) -> None:
        super().__init__()
        self.fc1 = _conv(channels, inner, 1)
        self.dwconv = _conv(inner, inner, 3, groups=inner)
        self.fc2 = _conv(inner, channels, 1)
        self.drop = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        x = self.drop(F.gelu(self.dwconv(self.fc1(x))))
        return self.drop(self.fc2(x))  # type: ignore[no-any-return]


def _conv(
    in_channels: int, out_channels: int, kernel: int | tuple[int, int], *, stride: int = 1, groups: int = 1
) -> nn.Conv2d:
    height, width = (kernel, kernel) if isinstance(kernel, int) else kernel
    layer = nn.Conv2d(
        in_channels, out_channels, (height, width), stride=stride, padding=(height // 2, width // 2), groups=groups
    )
    nn.init.normal_(layer.weight, std=math.sqrt(2 * groups / (height * width * out_channels)))
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return layer
