"""Adaptive pyramid context head.

Source: He et al., "Adaptive Pyramid Context Network for Semantic Segmentation", 2019; names as in MMSegmentation
(Apache-2.0).
"""

from collections.abc import Sequence
from typing import Unpack

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from maskline.models.heads.base import Features, Head, HeadOptions, InputTransform
from maskline.models.layers import ConvNormAct, Norm, size_of
from maskline.models.pooling import AdaptiveAvgPool


class APCHead(Head):
    """The feature beside, for each of several grids, a sum of the cells' means, weighed by each pixel for itself.

    Args:
        bins: Rows and columns of each grid.
        fusion: Each grid's output is convolved once more.
        input_transform: See ``Head``.
        options: See ``HeadOptions``.
    """

    def __init__(
        self,
        *,
        bins: Sequence[int] = (1, 2, 3, 6),
        fusion: bool = True,
        input_transform: InputTransform | None = None,
        **options: Unpack[HeadOptions],
    ) -> None:
        super().__init__(options, input_transform=input_transform)
        self.acm_modules = nn.ModuleList(
            _AdaptiveContext(n, self.in_channels, self.channels, fusion=fusion, norm=self.norm) for n in bins
        )
        width = self.in_channels + len(bins) * self.channels
        self.bottleneck = ConvNormAct(width, self.channels, kernel_size=3, norm=self.norm)

    def forward(self, features: Features, previous: Tensor | None = None) -> Tensor:
        """Map features to logits at the feature's resolution."""
        del previous
        x = self.select(features)
        return self.classify(self.bottleneck(torch.cat([x, *(module(x) for module in self.acm_modules)], dim=1)))


class _AdaptiveContext(nn.Module):
    """One grid."""

    def __init__(self, bins: int, in_channels: int, channels: int, *, fusion: bool, norm: Norm | None) -> None:
        super().__init__()
        self.pool = AdaptiveAvgPool(bins)
        self.pooled_redu_conv = ConvNormAct(in_channels, channels, norm=norm)
        self.input_redu_conv = ConvNormAct(in_channels, channels, norm=norm)
        self.global_info = ConvNormAct(channels, channels, norm=norm)
        self.gla = nn.Conv2d(channels, bins**2, 1)
        self.residual_conv = ConvNormAct(channels, channels, norm=norm)
        self.fusion_conv = ConvNormAct(channels, channels, norm=norm) if fusion else None

    def forward(self, features: Tensor) -> Tensor:
        cells = self.pooled_redu_conv(self.pool(features)).flatten(2)
        x = self.input_redu_conv(features)
        weights = torch.sigmoid(self.gla(x + self.global_info(x.mean(dim=(2, 3), keepdim=True))))
        context = (cells @ weights.flatten(2)).unflatten(2, size_of(x))
        y = F.relu(self.residual_conv(context) + x)
        return y if self.fusion_conv is None else self.fusion_conv(y)
