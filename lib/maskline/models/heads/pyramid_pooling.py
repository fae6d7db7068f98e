"""Pooling pyramid: means over grids of several sizes, each convolved and resized back. For PSP and UPer heads."""

from collections.abc import Sequence

from torch import Tensor, nn

from maskline.models.layers import ConvNormAct, Norm, resize, size_of
from maskline.models.pooling import AdaptiveAvgPool


class PyramidPooling(nn.ModuleList):
    """One branch a grid.

    Args:
        bins: Rows and columns of each grid.
        in_channels: Channels of the input.
        channels: Channels of each branch.
        align_corners: How branches are resized.
        norm: Norm after each convolution.
    """

    def __init__(
        self, bins: Sequence[int], *, in_channels: int, channels: int, align_corners: bool, norm: Norm | None
    ) -> None:
        super().__init__(nn.Sequential(AdaptiveAvgPool(n), ConvNormAct(in_channels, channels, norm=norm)) for n in bins)
        self.align_corners = align_corners

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return each branch at the size of ``x``."""
        return [resize(branch(x), size_of(x), align_corners=self.align_corners) for branch in self]
