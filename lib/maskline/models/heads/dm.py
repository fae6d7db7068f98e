"""Dynamic multi-scale filters head.

Source: He et al., "Dynamic Multi-scale Filters for Semantic Segmentation", 2019; names as in MMSegmentation
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


class DMHead(Head):
    """The feature beside its convolutions with kernels of several sizes that the image itself gives.

    Args:
        filter_sizes: Side of each kernel, px.
        fusion: Each output is convolved once more.
        input_transform: See ``Head``.
        options: See ``HeadOptions``.
    """

    def __init__(
        self,
        *,
        filter_sizes: Sequence[int] = (1, 3, 5, 7),
        fusion: bool = False,
        input_transform: InputTransform | None = None,
        **options: Unpack[HeadOptions],
    ) -> None:
        super().__init__(options, input_transform=input_transform)
        self.dcm_modules = nn.ModuleList(
            _DynamicConv(size, self.in_channels, self.channels, fusion=fusion, norm=self.norm) for size in filter_sizes
        )
        width = self.in_channels + len(filter_sizes) * self.channels
        self.bottleneck = ConvNormAct(width, self.channels, kernel_size=3, norm=self.norm)

    def forward(self, features: Features, previous: Tensor | None = None) -> Tensor:
        """Map features to logits at the feature's resolution."""
        del previous
        x = self.select(features)
        return self.classify(self.bottleneck(torch.cat([x, *(module(x) for module in self.dcm_modules)], dim=1)))


class _DynamicConv(nn.Module):
    """One size of kernel: one kernel a channel and image."""

    def __init__(self, size: int, in_channels: int, channels: int, *, fusion: bool, norm: Norm | None) -> None:
        super().__init__()
        self.size = size
        self.pool = AdaptiveAvgPool(size)
        self.filter_gen_conv = nn.Conv2d(in_channels, channels, 1)
        self.input_redu_conv = ConvNormAct(in_channels, channels, norm=norm)
        self.norm = nn.Identity() if norm is None else norm.build(channels)
        self.fusion_conv = ConvNormAct(channels, channels, norm=norm) if fusion else None

    def forward(self, features: Tensor) -> Tensor:
        kernels = self.filter_gen_conv(self.pool(features))
        x = self.input_redu_conv(features)
        y = F.relu(self.norm(self._convolved(x, kernels)))
        return y if self.fusion_conv is None else self.fusion_conv(y)

    def _convolved(self, x: Tensor, kernels: Tensor) -> Tensor:
        """Return the sum over the kernel's places; one group an image and channel would fix an export's batch size."""
        (height, width), before, after = size_of(x), self.size // 2, (self.size - 1) // 2
        padded = F.pad(x, (before, after, before, after))
        total = torch.zeros_like(x)
        for i in range(self.size):
            for j in range(self.size):
                total = total + kernels[:, :, i : i + 1, j : j + 1] * padded[:, :, i : i + height, j : j + width]
        return total
