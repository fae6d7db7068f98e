"""ASPP head (DeepLabV3). Source: Chen et al., "Rethinking Atrous Convolution for Semantic Image Segmentation", 2017."""

from collections.abc import Sequence
from typing import Unpack

import torch
from torch import Tensor, nn

from maskline.models.heads.base import Features, Head, HeadOptions, InputTransform
from maskline.models.layers import ConvNormAct, resize, size_of
from maskline.models.pooling import AdaptiveAvgPool


class ASPPHead(Head):
    """The mean of the image beside convolutions of several dilations.

    Args:
        dilations: Dilation of each branch; 1: a 1x1 convolution.
        input_transform: See ``Head``.
        options: See ``HeadOptions``.
    """

    def __init__(
        self,
        *,
        dilations: Sequence[int] = (1, 12, 24, 36),
        input_transform: InputTransform | None = None,
        **options: Unpack[HeadOptions],
    ) -> None:
        super().__init__(options, input_transform=input_transform)
        self.image_pool = nn.Sequential(
            AdaptiveAvgPool(1), ConvNormAct(self.in_channels, self.channels, norm=self.norm)
        )
        self.aspp_modules = nn.ModuleList(
            ConvNormAct(
                self.in_channels,
                self.channels,
                kernel_size=1 if dilation == 1 else 3,
                dilation=dilation,
                norm=self.norm,
            )
            for dilation in dilations
        )
        self.bottleneck = ConvNormAct(
            (len(dilations) + 1) * self.channels, self.channels, kernel_size=3, norm=self.norm
        )

    def forward(self, features: Features, previous: Tensor | None = None) -> Tensor:
        """Map features to logits at the feature's resolution."""
        del previous
        return self.classify(self.embed(features))

    def embed(self, features: Features) -> Tensor:
        """See ``Head``."""
        x = self.select(features)
        pooled = resize(self.image_pool(x), size_of(x), align_corners=self.align_corners)
        branches = [pooled, *(branch(x) for branch in self.aspp_modules)]
        return self.bottleneck(torch.cat(branches, dim=1))  # type: ignore[no-any-return]
