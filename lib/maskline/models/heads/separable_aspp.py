"""Depthwise-separable ASPP head with a decoder (DeepLabV3+).

Source: Chen et al., "Encoder-Decoder with Atrous Separable Convolution for Semantic Image Segmentation", 2018;
names as in MMSegmentation.
"""

from collections.abc import Sequence
from typing import Unpack

import torch
from torch import Tensor, nn

from maskline.models.heads.base import Features, Head, HeadOptions, InputTransform
from maskline.models.layers import ConvNormAct, SeparableConv, resize, size_of
from maskline.models.pooling import AdaptiveAvgPool


class SeparableASPPHead(Head):
    """ASPP with separable convolutions, then joined with a fine feature.

    Args:
        c1_in_channels: Channels of the first feature of the list, which is joined; 0: nothing is joined.
        c1_channels: Channels that it is reduced to.
        dilations: Dilation of each branch; 1: a 1x1 convolution.
        input_transform: See ``Head``.
        options: See ``HeadOptions``.
    """

    def __init__(
        self,
        *,
        c1_in_channels: int,
        c1_channels: int,
        dilations: Sequence[int] = (1, 12, 24, 36),
        input_transform: InputTransform | None = None,
        **options: Unpack[HeadOptions],
    ) -> None:
        super().__init__(options, input_transform=input_transform)
        channels, norm = self.channels, self.norm
        self.image_pool = nn.Sequential(AdaptiveAvgPool(1), ConvNormAct(self.in_channels, channels, norm=norm))
        self.aspp_modules = nn.ModuleList(
            ConvNormAct(self.in_channels, channels, norm=norm)
            if dilation == 1
            else SeparableConv(self.in_channels, channels, dilation=dilation, norm=norm)
            for dilation in dilations
        )
        self.bottleneck = ConvNormAct((len(dilations) + 1) * channels, channels, kernel_size=3, norm=norm)
        self.c1_bottleneck = ConvNormAct(c1_in_channels, c1_channels, norm=norm) if c1_in_channels else None
        self.sep_bottleneck = nn.Sequential(
            SeparableConv(channels + (c1_channels if c1_in_channels else 0), channels, norm=norm),
            SeparableConv(channels, channels, norm=norm),
        )

    def forward(self, features: Features, previous: Tensor | None = None) -> Tensor:
        """Map features to logits at the resolution of the first feature (or of the input one, if none is joined)."""
        del previous
        x = self.select(features)
        pooled = resize(self.image_pool(x), size_of(x), align_corners=self.align_corners)
        y = self.bottleneck(torch.cat([pooled, *(branch(x) for branch in self.aspp_modules)], dim=1))
        if self.c1_bottleneck is not None:
            fine = self.c1_bottleneck(features[0])
            y = torch.cat([resize(y, size_of(fine), align_corners=self.align_corners), fine], dim=1)
        return self.classify(self.sep_bottleneck(y))
