"""FCN head: convolutions on one feature, then the classifier.

Source: Long, Shelhamer, Darrell, "Fully Convolutional Networks for Semantic Segmentation", 2015; the head with an
optional concatenation of its input follows MMSegmentation (Apache-2.0).
"""

import itertools
from typing import Unpack

import torch
from torch import Tensor, nn

from maskline.core.errors import ShapeError
from maskline.models.heads.base import Features, Head, HeadOptions, InputTransform
from maskline.models.layers import ConvNormAct


class FCNHead(Head):
    """Convolutions, then the classifier.

    Args:
        num_convs: Convolutions before the classifier; 0: none, then ``channels`` must be those of the input.
        concat_input: Concatenate the input to the last convolution's output and convolve once more.
        kernel_size: Side of the kernels, px.
        dilation: Dilation of the convolutions.
        input_transform: See ``Head``.
        options: See ``HeadOptions``.
    """

    def __init__(
        self,
        *,
        num_convs: int,
        concat_input: bool = False,
        kernel_size: int = 3,
        dilation: int = 1,
        input_transform: InputTransform | None = None,
        **options: Unpack[HeadOptions],
    ) -> None:
        super().__init__(options, input_transform=input_transform)
        self.concat_input = concat_input
        if num_convs == 0 and self.in_channels != self.channels:
            raise ShapeError(
                "FCN head",
                f"num_convs 0 hands {self.in_channels} channels to a classifier of {self.channels}",
                f"set channels: {self.in_channels}, or num_convs to 1 or more",
            )
        widths = [self.in_channels, *[self.channels] * num_convs]
        self.convs = nn.Sequential(
            *(
                ConvNormAct(before, after, kernel_size=kernel_size, dilation=dilation, norm=self.norm)
                for before, after in itertools.pairwise(widths)
            )
        )
        if concat_input:
            self.conv_cat = ConvNormAct(
                self.in_channels + self.channels, self.channels, kernel_size=kernel_size, norm=self.norm
            )

    def forward(self, features: Features, previous: Tensor | None = None) -> Tensor:
        """Map features to logits at the feature's resolution."""
        del previous
        return self.classify(self.embed(features))

    def embed(self, features: Features) -> Tensor:
        """See ``Head``."""
        x = self.select(features)
        y = self.convs(x)
        if self.concat_input:
            y = self.conv_cat(torch.cat([x, y], dim=1))
        return y  # type: ignore[no-any-return]
