"""LargeFOV head (DeepLab v1): one dilated convolution that sees far.

Source: Chen et al., "Semantic Image Segmentation with Deep Convolutional Nets and Fully Connected CRFs", 2015.
"""

from typing import Unpack

from torch import Tensor, nn

from maskline.models.heads.base import Features, Head, HeadOptions, InputTransform
from maskline.models.layers import ConvNormAct


class LargeFOVHead(Head):
    """A dilated 3x3 convolution, a 1x1 convolution, the classifier.

    Args:
        dilation: Dilation of the 3x3 convolution; 12 in the paper.
        input_transform: See ``Head``.
        options: See ``HeadOptions``; ``channels`` is 1024 in the paper.
    """

    def __init__(
        self, *, dilation: int, input_transform: InputTransform | None = None, **options: Unpack[HeadOptions]
    ) -> None:
        super().__init__(options, input_transform=input_transform)
        self.convs = nn.Sequential(
            ConvNormAct(self.in_channels, self.channels, kernel_size=3, dilation=dilation, norm=self.norm),
            ConvNormAct(self.channels, self.channels, norm=self.norm),
        )

    def forward(self, features: Features, previous: Tensor | None = None) -> Tensor:
        """Map features to logits at the feature's resolution."""
        del previous
        return self.classify(self.convs(self.select(features)))
