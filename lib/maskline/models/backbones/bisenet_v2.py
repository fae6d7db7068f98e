"""BiSeNetV2: a wide shallow branch for detail, a narrow deep one for meaning, each gating the other.

Source: Yu et al., "BiSeNet V2: Bilateral Network with Guided Aggregation for Real-time Semantic Segmentation", 2020;
names as in MMSegmentation (Apache-2.0).
"""

import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from maskline.models.backbones.base import BackboneBase
from maskline.models.layers import BATCH_NORM, ConvNormAct, Norm, resize, size_of

_DETAIL = (64, 64, 128)
_SEMANTIC = (16, 32, 64, 128)
_EXPANSION = 6


class BiSeNetV2(BackboneBase):
    """Features: both branches joined (stride 8), then the semantic branch's at strides 4, 8, 16, 32; any input size.

    Args:
        in_channels: Channels of the images.
        align_corners: How features are resized.
        norm: Norm after each convolution.
    """

    def __init__(self, *, in_channels: int, align_corners: bool = False, norm: Norm = BATCH_NORM) -> None:
        super().__init__()
        self.detail = _DetailBranch(in_channels, norm=norm)
        self.semantic = _SemanticBranch(in_channels, norm=norm)
        self.bga = _GuidedAggregation(_DETAIL[-1], align_corners=align_corners, norm=norm)
        self.channels = (_DETAIL[-1], *_SEMANTIC)
        self.strides = (8, 4, 8, 16, 32)
        self.size_divisor = 1

    def forward(self, images: Tensor) -> list[Tensor]:
        """Map images (NCHW) to the five features."""
        *semantic, context = self.semantic(images)
        return [self.bga(self.detail(images), context), *semantic]

    def stages(self) -> list[list[nn.Module]]:
        """See ``BackboneBase``: no stem; the detail branch, the semantic one, what joins them."""
        return [[], [self.detail], [self.semantic], [self.bga]]


class _DetailBranch(nn.Module):
    def __init__(self, in_channels: int, *, norm: Norm) -> None:
        super().__init__()
        stages = []
        for number, (before, width) in enumerate(itertools.pairwise((in_channels, *_DETAIL))):
            more = [ConvNormAct(width, width, kernel_size=3, norm=norm) for _ in range(1 if number == 0 else 2)]
            stages.append(nn.Sequential(ConvNormAct(before, width, kernel_size=3, stride=2, norm=norm), *more))
        self.detail_branch = nn.Sequential(*stages)

    def forward(self, images: Tensor) -> Tensor:
        return self.detail_branch(images)  # type: ignore[no-any-return]


class _SemanticBranch(nn.Module):
    """Returns the stages' outputs, and the last one with its context."""

    def __init__(self, in_channels: int, *, norm: Norm) -> None:
        super().__init__()
        self.stage1 = _Stem(in_channels, _SEMANTIC[0], norm=norm)
        for number, (before, width) in enumerate(itertools.pairwise(_SEMANTIC), start=2):
            more = 3 if number == len(_SEMANTIC) else 1
            rest = [_GatherExpansion(width, width, stride=1, norm=norm) for _ in range(more)]
            first = _GatherExpansion(before, width, stride=2, norm=norm)
            self.add_module(f"stage{number}", nn.Sequential(first, *rest))
        self.stage4_CEBlock = _ContextEmbedding(_SEMANTIC[-1], norm=norm)

    def forward(self, images: Tensor) -> list[Tensor]:
        outputs = []
        x = images
        for number in range(1, len(_SEMANTIC) + 1):
            x = self.get_submodule(f"stage{number}")(x)
            outputs.append(x)
        return [*outputs, self.stage4_CEBlock(x)]


class _Stem(nn.Module):
    """To stride 4 in two ways, joined."""

    def __init__(self, in_channels: int, width: int, *, norm: Norm) -> None:
        super().__init__()
        self.conv_first = ConvNormAct(in_channels, width, kernel_size=3, stride=2, norm=norm)
        self.convs = nn.Sequential(
            ConvNormAct(width, width // 2, norm=norm),
            ConvNormAct(width // 2, width, kernel_size=3, stride=2, norm=norm),
        )
        self.pool = nn.MaxPool2d(3, stride=2, padding=1)
        self.fuse_last = ConvNormAct(2 * width, width, kernel_size=3, norm=norm)

    def forward(self, images: Tensor) -> Tensor:
        x = self.conv_first(images)
        return self.fuse_last(torch.cat([self.convs(x), self.pool(x)], dim=1))  # type: ignore[no-any-return]


class _GatherExpansion(nn.Module):
    """A convolution, one a channel to many more channels, and back; added to the input or its shortcut."""

    def __init__(self, in_channels: int, out_channels: int, *, stride: int, norm: Norm) -> None:
        super().__init__()
        inner = in_channels * _EXPANSION
        self.conv1 = ConvNormAct(in_channels, in_channels, kernel_size=3, norm=norm)
        widen = ConvNormAct(
            in_channels, inner, kernel_size=3, stride=stride, groups=in_channels, norm=norm, activation=stride == 1
        )
        again = [ConvNormAct(inner, inner, kernel_size=3, groups=inner, norm=norm)] if stride > 1 else []
        self.dwconv = nn.Sequential(widen, *again)
        self.conv2 = nn.Sequential(ConvNormAct(inner, out_channels, norm=norm, activation=False))
        self.shortcut = (
            nn.Sequential(_Separable(in_channels, out_channels, stride=stride, norm=norm, last_norm=norm))
            if stride > 1
            else nn.Identity()
        )

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.conv2(self.dwconv(self.conv1(x))) + self.shortcut(x))


class _Separable(nn.Module):
    """One convolution a channel, then 1x1, without activations."""

    def __init__(self, in_channels: int, out_channels: int, *, stride: int, norm: Norm, last_norm: Norm | None) -> None:
        super().__init__()
        self.depthwise_conv = ConvNormAct(
            in_channels, in_channels, kernel_size=3, stride=stride, groups=in_channels, norm=norm, activation=False
        )
        self.pointwise_conv = ConvNormAct(in_channels, out_channels, norm=last_norm, activation=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.pointwise_conv(self.depthwise_conv(x))  # type: ignore[no-any-return]


class _ContextEmbedding(nn.Module):
    """The mean over the image, added to each pixel."""

    def __init__(self, channels: int, *, norm: Norm) -> None:
        super().__init__()
        self.gap = nn.Sequential(nn.Identity(), norm.build(channels))
        self.conv_gap = ConvNormAct(channels, channels, norm=norm)
        self.conv_last = ConvNormAct(channels, channels, kernel_size=3, norm=norm)

    def forward(self, x: Tensor) -> Tensor:
        mean = self.conv_gap(self.gap(x.mean(dim=(2, 3), keepdim=True)))
        return self.conv_last(x + mean)  # type: ignore[no-any-return]


class _GuidedAggregation(nn.Module):
    """Each branch, at either resolution, scaled by the sigmoid of the other."""

    def __init__(self, channels: int, *, align_corners: bool, norm: Norm) -> None:
        super().__init__()
        self.align_corners = align_corners
        self.detail_dwconv = nn.Sequential(_Separable(channels, channels, stride=1, norm=norm, last_norm=None))
        self.detail_down = nn.Sequential(
            ConvNormAct(channels, channels, kernel_size=3, stride=2, norm=norm, activation=False),
            nn.AvgPool2d(3, stride=2, padding=1),
        )
        self.semantic_conv = nn.Sequential(ConvNormAct(channels, channels, kernel_size=3, norm=norm, activation=False))
        self.semantic_dwconv = nn.Sequential(_Separable(channels, channels, stride=1, norm=norm, last_norm=None))
        self.conv = ConvNormAct(channels, channels, kernel_size=3, norm=norm)

    def forward(self, detail: Tensor, semantic: Tensor) -> Tensor:
        size = size_of(detail)
        guide = resize(self.semantic_conv(semantic), size, align_corners=self.align_corners)
        fine = self.detail_dwconv(detail) * torch.sigmoid(guide)
        coarse = self.detail_down(detail) * torch.sigmoid(self.semantic_dwconv(semantic))
        return self.conv(fine + resize(coarse, size, align_corners=self.align_corners))  # type: ignore[no-any-return]
