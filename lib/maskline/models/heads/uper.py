"""UPer head: a feature pyramid whose coarsest level has seen a pooling pyramid.

Source: Xiao et al., "Unified Perceptual Parsing for Scene Understanding", 2018; names as in MMSegmentation.
"""

from collections.abc import Sequence
from typing import Unpack

import torch
from torch import Tensor, nn

from maskline.models.heads.base import Features, Head, HeadOptions
from maskline.models.heads.pyramid_pooling import PyramidPooling
from maskline.models.layers import ConvNormAct, resize, size_of


class UPerHead(Head):
    """Takes several features, finest first.

    Args:
        bins: Rows and columns of each grid of the pooling pyramid.
        options: See ``HeadOptions``.
    """

    def __init__(self, *, bins: Sequence[int] = (1, 2, 3, 6), **options: Unpack[HeadOptions]) -> None:
        super().__init__(options, input_transform="multiple_select")
        *fine, coarse = self.in_widths
        channels, norm = self.channels, self.norm
        self.psp_modules = PyramidPooling(
            bins, in_channels=coarse, channels=channels, align_corners=self.align_corners, norm=norm
        )
        self.bottleneck = ConvNormAct(coarse + len(bins) * channels, channels, kernel_size=3, norm=norm)
        self.lateral_convs = nn.ModuleList(ConvNormAct(width, channels, norm=norm) for width in fine)
        self.fpn_convs = nn.ModuleList(ConvNormAct(channels, channels, kernel_size=3, norm=norm) for _ in fine)
        self.fpn_bottleneck = ConvNormAct(len(self.in_widths) * channels, channels, kernel_size=3, norm=norm)

    def forward(self, features: Features, previous: Tensor | None = None) -> Tensor:
        """Map features to logits at the finest feature's resolution."""
        del previous
        return self.classify(self.embed(features))

    def embed(self, features: Features) -> Tensor:
        """See ``Head``."""
        *fine, coarse = self.select_all(features)
        top = self.bottleneck(torch.cat([coarse, *self.psp_modules(coarse)], dim=1))
        levels = [*(step(x) for step, x in zip(self.lateral_convs, fine, strict=True)), top]
        for i in range(len(levels) - 1, 0, -1):
            levels[i - 1] = levels[i - 1] + resize(levels[i], size_of(levels[i - 1]), align_corners=self.align_corners)
        outputs = [*(step(x) for step, x in zip(self.fpn_convs, levels, strict=False)), levels[-1]]
        return self.fpn_bottleneck(torch.cat(self.resize_all(outputs), dim=1))  # type: ignore[no-any-return]
