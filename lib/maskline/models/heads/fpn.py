"""Semantic FPN head. Source: Kirillov et al., "Panoptic Feature Pyramid Networks", 2019; names as in MMSegmentation."""

from collections.abc import Sequence
from typing import Unpack

from torch import Tensor, nn

from maskline.core.errors import ShapeError
from maskline.models.heads.base import Features, Head, HeadOptions
from maskline.models.layers import ConvNormAct, resize, size_of


class FPNHead(Head):
    """Each feature is convolved and doubled until it has the finest one's stride; then all are added.

    Args:
        strides: Stride of each feature, finest first; powers of 2.
        options: See ``HeadOptions``.
    """

    def __init__(self, *, strides: Sequence[int], **options: Unpack[HeadOptions]) -> None:
        super().__init__(options, input_transform="multiple_select")
        if len(strides) != len(self.in_widths) or min(strides) != strides[0]:
            raise ShapeError("FPN head", f"strides {list(strides)}", "give one a feature, the smallest first")
        self.scale_heads = nn.ModuleList(
            self._scale_head(width, doublings=(stride // strides[0]).bit_length() - 1)
            for width, stride in zip(self.in_widths, strides, strict=True)
        )

    def _scale_head(self, in_channels: int, *, doublings: int) -> nn.Sequential:
        layers: list[nn.Module] = []
        for step in range(max(1, doublings)):
            width = in_channels if step == 0 else self.channels
            layers.append(ConvNormAct(width, self.channels, kernel_size=3, norm=self.norm))
            if doublings:
                layers.append(nn.Upsample(scale_factor=2, mode="bilinear", align_corners=self.align_corners))
        return nn.Sequential(*layers)

    def forward(self, features: Features, previous: Tensor | None = None) -> Tensor:
        """Map features to logits at the finest feature's resolution."""
        del previous
        first, *others = (step(x) for step, x in zip(self.scale_heads, self.select_all(features), strict=True))
        total: Tensor = first
        for x in others:
            total = total + resize(x, size_of(first), align_corners=self.align_corners)
        return self.classify(total)
