"""STDC: stages of ever narrower convolutions whose outputs are joined, with BiSeNet's context path on top.

Source: Fan et al., "Rethinking BiSeNet For Real-time Semantic Segmentation", 2021; names as in MMSegmentation
(Apache-2.0).
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from maskline.models.backbones.base import BackboneBase
from maskline.models.backbones.bisenet_v1 import AttentionRefinement
from maskline.models.layers import BATCH_NORM, ConvNormAct, Norm, size_of

_BLOCKS = {1: (2, 2, 2), 2: (4, 5, 3)}
_CONVS = 4
_REDUCTION = 4


class STDC(BackboneBase):
    """Features: detail (stride 8), context (16, then 8), both joined (8); any input size.

    Args:
        version: 1 or 2; the latter has more blocks.
        in_channels: Channels of the images.
        base_channels: Channels of the first convolution.
        context_channels: Channels of the context features.
        fused_channels: Channels of the joined feature.
        norm: Norm after each convolution.
    """

    def __init__(
        self,
        *,
        version: int,
        in_channels: int,
        base_channels: int = 32,
        context_channels: int = 128,
        fused_channels: int = 256,
        norm: Norm = BATCH_NORM,
    ) -> None:
        super().__init__()
        self.backbone = _Stages(_BLOCKS[version], in_channels, base_channels, norm=norm)
        fine, middle, deep = self.backbone.channels
        width = context_channels
        self.arms = nn.ModuleList(AttentionRefinement(given, width, norm=norm) for given in (deep, middle))
        self.convs = nn.ModuleList(ConvNormAct(width, width, kernel_size=3, norm=norm) for _ in range(2))
        self.conv_avg = ConvNormAct(deep, width, norm=norm)
        self.ffm = _Fusion(fine + width, fused_channels, norm=norm)
        self.channels = (fine, width, width, fused_channels)
        self.strides = (8, 16, 8, 8)
        self.size_divisor = 1

    def forward(self, images: Tensor) -> list[Tensor]:
        """Map images (NCHW, any size) to the four features."""
        fine, middle, deep = self.backbone(images)
        coarse = self.arms[0](deep) + self.conv_avg(deep.mean(dim=(2, 3), keepdim=True))
        coarse = self.convs[0](F.interpolate(coarse, size=size_of(middle)))
        context = self.convs[1](F.interpolate(self.arms[1](middle) + coarse, size=size_of(fine)))
        return [fine, coarse, context, self.ffm(torch.cat([fine, context], dim=1))]

    def stages(self) -> list[list[nn.Module]]:
        """See ``BackboneBase``: two convolutions, three stages."""
        first, second, *stages = self.backbone.stages
        return [[first, second], *([stage] for stage in stages)]


class _Stages(nn.Module):
    """Two convolutions, then stages of strides 8, 16 and 32, which are returned."""

    def __init__(self, blocks: tuple[int, ...], in_channels: int, base_channels: int, *, norm: Norm) -> None:
        super().__init__()
        first = base_channels
        self.stages = nn.ModuleList(
            [
                ConvNormAct(in_channels, first, kernel_size=3, stride=2, norm=norm),
                ConvNormAct(first, 2 * first, kernel_size=3, stride=2, norm=norm),
            ]
        )
        self.channels = tuple(first * factor for factor in (8, 16, 32))
        before = 2 * first
        for width, count in zip(self.channels, blocks, strict=True):
            more = [_Block(width, width, stride=1, norm=norm) for _ in range(count - 1)]
            self.stages.append(nn.Sequential(_Block(before, width, stride=2, norm=norm), *more))
            before = width

    def forward(self, images: Tensor) -> list[Tensor]:
        x = images
        outputs = []
        for stage in self.stages:
            x = stage(x)
            outputs.append(x)
        return outputs[2:]


class _Block(nn.Module):
    """A 1x1 convolution, then 3x3 ones, each half as wide but the last; all their outputs are joined."""

    def __init__(self, in_channels: int, out_channels: int, *, stride: int, norm: Norm) -> None:
        super().__init__()
        half = out_channels // 2
        layers = [ConvNormAct(in_channels, half, norm=norm)]
        for i in range(1, _CONVS):
            width = out_channels // 2 ** min(i + 1, _CONVS - 1)
            layers.append(ConvNormAct(out_channels // 2**i, width, kernel_size=3, norm=norm))
        self.layers = nn.ModuleList(layers)
        self.downsample: nn.Module = nn.Identity()
        self.skip: nn.Module = nn.Identity()
        if stride > 1:
            self.downsample = ConvNormAct(
                half, half, kernel_size=3, stride=stride, groups=half, norm=norm, activation=False
            )
            self.skip = nn.AvgPool2d(3, stride=stride, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        first, *others = self.layers
        y = first(x)
        outputs = [self.skip(y)]
        y = self.downsample(y)
        for layer in others:
            y = layer(y)
            outputs.append(y)
        return torch.cat(outputs, dim=1)


class _Fusion(nn.Module):
    """A 1x1 convolution whose channels are amplified by a function of their means."""

    def __init__(self, in_channels: int, out_channels: int, *, norm: Norm) -> None:
        super().__init__()
        inner = out_channels // _REDUCTION
        self.conv0 = ConvNormAct(in_channels, out_channels, norm=norm)
        self.attention = nn.Sequential(
            nn.Identity(),
            ConvNormAct(out_channels, inner, norm=None, bias=False),
            ConvNormAct(inner, out_channels, norm=None, activation=False, bias=False),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv0(x)
        return y + y * self.attention(y.mean(dim=(2, 3), keepdim=True))  # type: ignore[no-any-return]
