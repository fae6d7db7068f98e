"""Summed ASPP head (DeepLab v2): the scores of several dilations, added.

Source: Chen et al., "DeepLab: Semantic Image Segmentation with Deep Convolutional Nets, Atrous Convolution, and
Fully Connected CRFs", 2017.
"""

from collections.abc import Sequence
from typing import Unpack

import torch
from torch import Tensor, nn

from maskline.models.heads.base import Features, Head, HeadOptions, InputTransform, classifier
from maskline.models.layers import ConvNormAct


class SummedASPPHead(Head):
    """One branch a dilation: a dilated 3x3 convolution, a 1x1 convolution, a classifier; the scores are added.

    Args:
        dilations: Dilation of each branch; (6, 12, 18, 24) in the paper's large form.
        input_transform: See ``Head``.
        options: See ``HeadOptions``; ``channels`` is 1024 in the paper.
    """

    def __init__(
        self,
        *,
        dilations: Sequence[int],
        input_transform: InputTransform | None = None,
        **options: Unpack[HeadOptions],
    ) -> None:
        super().__init__(options, input_transform=input_transform, with_classifier=False)
        self.branches = nn.ModuleList(
            nn.Sequential(
                ConvNormAct(self.in_channels, self.channels, kernel_size=3, dilation=dilation, norm=self.norm),
                ConvNormAct(self.channels, self.channels, norm=self.norm),
            )
            for dilation in dilations
        )
        self.branch_seg = nn.ModuleList(classifier(self.channels, self.num_classes) for _ in dilations)

    def forward(self, features: Features, previous: Tensor | None = None) -> Tensor:
        """Map features to logits at the feature's resolution."""
        del previous
        x = self.select(features)
        scores = [score(self.dropout(branch(x))) for branch, score in zip(self.branches, self.branch_seg, strict=True)]
        return torch.stack(scores).sum(dim=0)
