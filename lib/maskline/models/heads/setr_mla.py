"""SETR's multi-level head: each feature enlarged by itself, then all joined.

Source: Zheng et al., "Rethinking Semantic Segmentation from a Sequence-to-Sequence Perspective with Transformers",
2021; names as in MMSegmentation (Apache-2.0).
"""

from typing import Unpack

import torch
from torch import Tensor, nn

from maskline.core.errors import ShapeError
from maskline.models.heads.base import Features, Head, HeadOptions
from maskline.models.layers import ConvNormAct, enlarge


class SETRMLAHead(Head):
    """Takes several features of one resolution.

    Args:
        scale: Factor of the enlargement.
        options: See ``HeadOptions``; each feature has an equal share of ``channels``.
    """

    def __init__(self, *, scale: int = 4, **options: Unpack[HeadOptions]) -> None:
        super().__init__(options, input_transform="multiple_select")
        count = len(self.in_widths)
        if self.channels % count:
            told = f"channels {self.channels} for {count} features"
            raise ShapeError("SETR MLA head", told, "give a multiple of their number")
        width, norm = self.channels // count, self.norm
        self.scale = scale
        self.up_convs = nn.ModuleList(
            nn.Sequential(
                ConvNormAct(before, width, kernel_size=3, norm=norm),
                ConvNormAct(width, width, kernel_size=3, norm=norm),
            )
            for before in self.in_widths
        )

    def forward(self, features: Features, previous: Tensor | None = None) -> Tensor:
        """Map features to logits at ``scale`` times their resolution."""
        del previous
        large = [
            enlarge(step(x), self.scale, align_corners=self.align_corners)
            for step, x in zip(self.up_convs, self.select_all(features), strict=True)
        ]
        return self.classify(torch.cat(large, dim=1))
