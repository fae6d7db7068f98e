"""Interlaced sparse self-attention head.

Source: Huang et al., "Interlaced Sparse Self-Attention for Semantic Segmentation", 2019; names as in MMSegmentation
(Apache-2.0).
"""

from typing import Unpack

import torch
from torch import Tensor
from torch.nn import functional as F

from maskline.models.heads.attention import SelfAttention
from maskline.models.heads.base import Features, Head, HeadOptions, InputTransform
from maskline.models.layers import ConvNormAct, Norm, size_of


class ISAHead(Head):
    """Attention among pixels far from each other, then among neighbours.

    Args:
        isa_channels: Channels of queries and keys.
        down_factor: Rows and columns of a block of neighbours.
        input_transform: See ``Head``.
        options: See ``HeadOptions``.
    """

    def __init__(
        self,
        *,
        isa_channels: int = 256,
        down_factor: tuple[int, int] = (8, 8),
        input_transform: InputTransform | None = None,
        **options: Unpack[HeadOptions],
    ) -> None:
        super().__init__(options, input_transform=input_transform)
        self.down_factor, self.window = down_factor, max(down_factor)
        self.in_conv = ConvNormAct(self.in_channels, self.channels, kernel_size=3, norm=self.norm)
        self.global_relation = _Relation(self.channels, isa_channels, norm=self.norm)
        self.local_relation = _Relation(self.channels, isa_channels, norm=self.norm)
        self.out_conv = ConvNormAct(2 * self.channels, self.channels, norm=self.norm)

    def forward(self, features: Features, previous: Tensor | None = None) -> Tensor:
        """Map features to logits at the feature's resolution."""
        del previous
        x = self.in_conv(self.select(features))
        return self.classify(self.out_conv(torch.cat([self._interlaced(x), x], dim=1)))

    def _interlaced(self, x: Tensor) -> Tensor:
        """Return the attention's output; the feature is padded evenly to whole blocks."""
        (height, width), (rows, columns) = size_of(x), self.down_factor
        down, across = (height + rows - 1) // rows, (width + columns - 1) // columns
        pad_h, pad_w = down * rows - height, across * columns - width
        top, left = _half(down * rows, height), _half(across * columns, width)
        padded = F.pad(x, (left, pad_w - left, top, pad_h - top))
        batch, channels = x.shape[:2]
        blocks = padded.reshape(batch, channels, down, rows, across, columns)
        # Far from each other: pixels of one place within their blocks.
        far = blocks.permute(0, 3, 5, 1, 2, 4).reshape(-1, channels, down, across)
        far = self.global_relation(far).reshape(batch, rows, columns, channels, down, across)
        near = far.permute(0, 4, 5, 3, 1, 2).reshape(-1, channels, rows, columns)
        near = self.local_relation(near).reshape(batch, down, across, channels, rows, columns)
        whole: Tensor = near.permute(0, 3, 1, 4, 2, 5).reshape(batch, channels, down * rows, across * columns)
        return whole[:, :, top : top + height, left : left + width]


def _half(whole: int, part: int) -> int:
    """Return half of the difference, rounded down, without a quotient of a negative number.

    The tracer would take ``(whole - part) // 2`` apart into such a one, and ONNX rounds it towards 0.
    """
    return whole // 2 - (part + 1) // 2 + (whole % 2) * (part % 2)


class _Relation(SelfAttention):
    """Attention of a feature to itself, and a convolution."""

    def __init__(self, channels: int, inner: int, *, norm: Norm | None) -> None:
        super().__init__(
            query_channels=channels,
            key_channels=channels,
            channels=inner,
            out_channels=channels,
            norm=norm,
            keys_normed=True,
            num_convs=2,
        )
        self.output_project = ConvNormAct(channels, channels, norm=norm)

    def forward(self, x: Tensor, source: Tensor | None = None) -> Tensor:
        return self.output_project(super().forward(x, x if source is None else source))  # type: ignore[no-any-return]
