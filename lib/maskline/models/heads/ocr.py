"""OCR head: each pixel looks at the mean feature of each class that the head before predicted.

Source: Yuan et al., "Object-Contextual Representations for Semantic Segmentation", 2020; names as in MMSegmentation.
"""

from typing import Unpack

import torch
from torch import Tensor

from maskline.core.errors import ShapeError
from maskline.models.heads.attention import SelfAttention
from maskline.models.heads.base import Features, Head, HeadOptions, InputTransform
from maskline.models.layers import ConvNormAct, Norm, resize, size_of


class OCRHead(Head):
    """A cascade head: needs the logits of the head before.

    Args:
        ocr_channels: Channels of queries, keys and values.
        scale: Sharpness of the softmax over the pixels of a class.
        input_transform: See ``Head``.
        options: See ``HeadOptions``.
    """

    def __init__(
        self,
        *,
        ocr_channels: int,
        scale: float = 1.0,
        input_transform: InputTransform | None = None,
        **options: Unpack[HeadOptions],
    ) -> None:
        super().__init__(options, input_transform=input_transform)
        self.scale = scale
        self.object_context_block = _ObjectAttention(self.channels, ocr_channels, norm=self.norm)
        self.bottleneck = ConvNormAct(self.in_channels, self.channels, kernel_size=3, norm=self.norm)

    def forward(self, features: Features, previous: Tensor | None = None) -> Tensor:
        """Map features and the former logits to logits at the feature's resolution.

        Raises:
            ShapeError: No head comes before.
        """
        if previous is None:
            raise ShapeError("OCR head", "no logits of a head before it", "put it second in a cascade")
        x = self.bottleneck(self.select(features))
        regions = self._regions(x, resize(previous, size_of(x), align_corners=self.align_corners))
        return self.classify(self.object_context_block(x, regions))

    def _regions(self, x: Tensor, logits: Tensor) -> Tensor:
        """Mean feature of each class, weighted by its softmax over the pixels: (N, channels, classes, 1)."""
        weights = torch.softmax(self.scale * logits.flatten(2), dim=2)
        return (x.flatten(2) @ weights.transpose(1, 2)).unsqueeze(3)


class _ObjectAttention(SelfAttention):
    """Pixels query the class regions; the answer is joined with the pixel's own feature."""

    def __init__(self, channels: int, inner: int, *, norm: Norm | None) -> None:
        super().__init__(
            query_channels=channels,
            key_channels=channels,
            channels=inner,
            out_channels=channels,
            norm=norm,
            keys_normed=True,
            values_normed=True,
            num_convs=2,
            project_out=True,
        )
        self.bottleneck = ConvNormAct(2 * channels, channels, norm=norm)

    def forward(self, x: Tensor, source: Tensor) -> Tensor:
        return self.bottleneck(torch.cat([super().forward(x, source), x], dim=1))  # type: ignore[no-any-return]
