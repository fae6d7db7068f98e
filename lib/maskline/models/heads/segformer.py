"""SegFormer head: every feature to one width, joined at the finest resolution.

Source: Xie et al., "SegFormer", 2021; with batch norm and ReLU after each step, as MMSegmentation builds it.
"""

from typing import Literal, Unpack

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from maskline.models.heads.base import Features, Head, HeadOptions
from maskline.models.layers import ConvNormAct, size_of


class SegformerHead(Head):
    """Takes several features, finest first.

    Args:
        interpolation: How coarse features are brought to the finest one's size.
        options: See ``HeadOptions``.
    """

    def __init__(
        self, *, interpolation: Literal["bilinear", "nearest"] = "bilinear", **options: Unpack[HeadOptions]
    ) -> None:
        super().__init__(options, input_transform="multiple_select")
        self.interpolation = interpolation
        self.convs = nn.ModuleList(ConvNormAct(width, self.channels, norm=self.norm) for width in self.in_widths)
        self.fusion_conv = ConvNormAct(self.channels * len(self.in_widths), self.channels, norm=self.norm)

    def forward(self, features: Features, previous: Tensor | None = None) -> Tensor:
        """Map features to logits at the finest feature's resolution."""
        del previous
        chosen = self.select_all(features)
        align_corners = self.align_corners if self.interpolation == "bilinear" else None
        same = [
            F.interpolate(step(x), size=size_of(chosen[0]), mode=self.interpolation, align_corners=align_corners)
            for step, x in zip(self.convs, chosen, strict=True)
        ]
        return self.classify(self.fusion_conv(torch.cat(same, dim=1)))
