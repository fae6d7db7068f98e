"""OCR head: each pixel looks at the mean feature of each class that the head before predicted.

Source: Yuan et al., "Object-Contextual Representations for Semantic Segmentation", 2020; names as in MMSegmentation.
"""

from typing import Unpack

import torch
from torch import Tensor, nn

from maskline.core.errors import ShapeError
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


class _ObjectAttention(nn.Module):
    """Pixels query the class regions; the answer is joined with the pixel's own feature."""

    def __init__(self, channels: int, inner: int, *, norm: Norm | None) -> None:
        super().__init__()
        self.key_project = nn.Sequential(ConvNormAct(channels, inner, norm=norm), ConvNormAct(inner, inner, norm=norm))
        self.query_project = nn.Sequential(
            ConvNormAct(channels, inner, norm=norm), ConvNormAct(inner, inner, norm=norm)
        )
        self.value_project = ConvNormAct(channels, inner, norm=norm)
        self.out_project = ConvNormAct(inner, channels, norm=norm)
        self.bottleneck = ConvNormAct(2 * channels, channels, norm=norm)

    def forward(self, x: Tensor, regions: Tensor) -> Tensor:
        query = self.query_project(x).flatten(2).transpose(1, 2)
        key = self.key_project(regions).flatten(2)
        value = self.value_project(regions).flatten(2).transpose(1, 2)
        attention = torch.softmax(query @ key * key.shape[1] ** -0.5, dim=2)
        context = (attention @ value).transpose(1, 2).unflatten(2, size_of(x))
        return self.bottleneck(torch.cat([self.out_project(context), x], dim=1))  # type: ignore[no-any-return]
