"""Asymmetric non-local head.

Source: Zhu et al., "Asymmetric Non-local Neural Networks for Semantic Segmentation", 2019; names as in MMSegmentation
(Apache-2.0).
"""

from collections.abc import Sequence
from typing import Unpack

import torch
from torch import Tensor, nn

from maskline.models.heads.attention import SelfAttention
from maskline.models.heads.base import Features, Head, HeadOptions
from maskline.models.layers import ConvNormAct, Norm
from maskline.models.pooling import AdaptiveAvgPool


class ANNHead(Head):
    """The coarsest feature queries the finer one, then itself; both are seen as means over grids of several sizes.

    Args:
        project_channels: Channels of queries, keys and values.
        bins: Rows and columns of each grid.
        options: See ``HeadOptions``; of several features the last two count, finer first.
    """

    def __init__(
        self, *, project_channels: int = 256, bins: Sequence[int] = (1, 3, 6, 8), **options: Unpack[HeadOptions]
    ) -> None:
        super().__init__(options, input_transform="multiple_select")
        fine, coarse = self.in_widths[-2:][0], self.in_widths[-1]
        norm = self.norm
        self.fusion = _Block(fine, coarse, project_channels, bins=bins, norm=norm, activation=False)
        self.bottleneck = ConvNormAct(coarse, self.channels, kernel_size=3, norm=norm)
        self.context = _Block(self.channels, self.channels, project_channels, bins=bins, norm=norm, shared=True)

    def forward(self, features: Features, previous: Tensor | None = None) -> Tensor:
        """Map features to logits at the coarsest feature's resolution."""
        del previous
        chosen = self.select_all(features)[-2:]
        x = self.bottleneck(self.dropout(self.fusion(chosen[0], chosen[-1])))
        return self.classify(self.context(x, x))


class _Block(nn.Module):
    """Attention of ``x`` to ``source``, joined with ``x``."""

    def __init__(
        self,
        source_channels: int,
        channels: int,
        inner: int,
        *,
        bins: Sequence[int],
        norm: Norm | None,
        shared: bool = False,
        activation: bool = True,
    ) -> None:
        super().__init__()
        attention = SelfAttention(
            query_channels=channels,
            key_channels=source_channels,
            channels=inner,
            out_channels=channels,
            norm=norm,
            keys_normed=True,
            shared=shared,
            project_out=True,
            downsample=_Means(bins),
        )
        self.stages = nn.ModuleList([attention])
        self.bottleneck = ConvNormAct(2 * channels, channels, norm=norm, activation=activation)

    def forward(self, source: Tensor, x: Tensor) -> Tensor:
        return self.bottleneck(torch.cat([self.stages[0](x, source), x], dim=1))  # type: ignore[no-any-return]


class _Means(nn.Module):
    """The means over the cells of all grids: NCHW to (N, C, cells)."""

    def __init__(self, bins: Sequence[int]) -> None:
        super().__init__()
        self.grids = nn.ModuleList(AdaptiveAvgPool(n) for n in bins)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([grid(x).flatten(2) for grid in self.grids], dim=2)
