"""PIDNet: three branches for detail (P), context (I) and boundaries (D).

Source: Xu, Xiong, Bhattacharyya, "PIDNet: A Real-time Semantic Segmentation Network Inspired by PID Controllers", 2023
(MIT); names as in MMSegmentation (Apache-2.0).
"""

from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from maskline.models.backbones.base import BackboneBase
from maskline.models.backbones.dual import (
    DEEPEST_STRIDE,
    ParallelPyramid,
    Residual,
    StepwisePyramid,
    named_shortcut,
    residual_layer,
    stem,
)
from maskline.models.layers import BATCH_NORM, ConvNormAct, Norm, NormActConv, resize, size_of

# Channels, blocks of the stem, blocks of the context branch, channels of the pyramid's branches.
_SIZES = {"s": (32, 2, 3, 96), "m": (64, 2, 3, 96), "l": (64, 3, 4, 112)}


class PIDNet(BackboneBase):
    """Features, all of stride 8: detail halfway, boundaries halfway, all branches joined; any input size.

    Args:
        size: ``s``, ``m`` or ``l``.
        in_channels: Channels of the images.
        norm: Norm after each convolution.
    """

    def __init__(self, *, size: str, in_channels: int, norm: Norm = BATCH_NORM) -> None:
        super().__init__()
        c, count, context_count, ppm_channels = _SIZES[size]
        large = size == "l"
        layer = partial(residual_layer, shortcut=named_shortcut, norm=norm)
        single = partial(Residual, "basic", 2 * c, activation=False, shortcut=named_shortcut, norm=norm)
        plain = partial(ConvNormAct, norm=norm, activation=False)
        self.stem = stem(in_channels, c, count=count, shortcut=named_shortcut, norm=norm)
        self.i_branch_layers = nn.ModuleList(
            [
                layer("basic", 2 * c, 4 * c, count=context_count, stride=2),
                layer("basic", 4 * c, 8 * c, count=context_count, stride=2),
                layer("bottleneck", 8 * c, 8 * c, count=2, stride=2),
            ]
        )
        self.p_branch_layers = nn.ModuleList(
            [
                layer("basic", 2 * c, 2 * c, count=count),
                layer("basic", 2 * c, 2 * c, count=count),
                layer("bottleneck", 2 * c, 2 * c, count=1),
            ]
        )
        self.compression_1 = plain(4 * c, 2 * c)
        self.compression_2 = plain(8 * c, 2 * c)
        self.pag_1 = _PixelAttention(2 * c, c, norm=norm)
        self.pag_2 = _PixelAttention(2 * c, c, norm=norm)
        first = [single(2 * c), single(2 * c)] if large else [single(c), layer("bottleneck", c, c, count=1)]
        self.d_branch_layers = nn.ModuleList([*first, layer("bottleneck", 2 * c, 2 * c, count=1)])
        self.diff_1 = plain(4 * c, 2 * c if large else c, kernel_size=3)
        self.diff_2 = plain(8 * c, 2 * c, kernel_size=3)
        pyramid = StepwisePyramid if large else ParallelPyramid
        self.spp = pyramid(16 * c, ppm_channels, 4 * c, norm=norm)
        self.dfm: nn.Module = _Join(4 * c, norm=norm) if large else _LightJoin(4 * c, norm=norm)
        self.channels = (2 * c, 2 * c, 4 * c)
        self.strides = (8, 8, 8)
        self.size_divisor = 1
        self.deepest_stride = DEEPEST_STRIDE

    def forward(self, images: Tensor) -> list[Tensor]:
        """Map images (NCHW, any size) to the three features."""
        x = self.stem(images)
        enlarge = partial(resize, size=size_of(x), align_corners=False)
        context = F.relu(self.i_branch_layers[0](x))
        detail = self.pag_1(self.p_branch_layers[0](x), self.compression_1(context))
        boundary = self.d_branch_layers[0](x) + enlarge(self.diff_1(context))
        halfway = detail
        context = F.relu(self.i_branch_layers[1](context))
        detail = self.pag_2(self.p_branch_layers[1](F.relu(detail)), self.compression_2(context))
        boundary = self.d_branch_layers[1](F.relu(boundary)) + enlarge(self.diff_2(context))
        outline = boundary
        context = enlarge(self.spp(self.i_branch_layers[2](context)))
        detail = self.p_branch_layers[2](F.relu(detail))
        boundary = self.d_branch_layers[2](F.relu(boundary))
        return [halfway, outline, self.dfm(detail, context, boundary)]

    def stages(self) -> list[list[nn.Module]]:
        """See ``BackboneBase``: the stem, all that follows."""
        return [[self.stem], [module for name, module in self.named_children() if name != "stem"]]


class _PixelAttention(nn.Module):
    """Detail and context, mixed by how alike they are at each pixel."""

    def __init__(self, in_channels: int, channels: int, *, norm: Norm) -> None:
        super().__init__()
        self.f_i = ConvNormAct(in_channels, channels, norm=norm, activation=False)
        self.f_p = ConvNormAct(in_channels, channels, norm=norm, activation=False)

    def forward(self, detail: Tensor, context: Tensor) -> Tensor:
        enlarge = partial(resize, size=size_of(detail), align_corners=False)
        alike = (self.f_p(detail) * enlarge(self.f_i(context))).sum(dim=1, keepdim=True)
        share = torch.sigmoid(alike)
        return share * enlarge(context) + (1 - share) * detail


class _LightJoin(nn.Module):
    """Detail counts at boundaries, context elsewhere; a 1x1 convolution of each."""

    def __init__(self, channels: int, *, norm: Norm) -> None:
        super().__init__()
        self.f_p = ConvNormAct(channels, channels, norm=norm, activation=False)
        self.f_i = ConvNormAct(channels, channels, norm=norm, activation=False)

    def forward(self, detail: Tensor, context: Tensor, boundary: Tensor) -> Tensor:
        share = torch.sigmoid(boundary)
        joint: Tensor = self.f_p((1 - share) * context + detail) + self.f_i(context + share * detail)
        return joint


class _Join(nn.Module):
    """Detail counts at boundaries, context elsewhere; one 3x3 convolution."""

    def __init__(self, channels: int, *, norm: Norm) -> None:
        super().__init__()
        self.conv = NormActConv(channels, channels, kernel_size=3, norm=norm)

    def forward(self, detail: Tensor, context: Tensor, boundary: Tensor) -> Tensor:
        share = torch.sigmoid(boundary)
        return self.conv(share * detail + (1 - share) * context)  # type: ignore[no-any-return]
