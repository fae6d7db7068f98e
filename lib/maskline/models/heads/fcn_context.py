"""What the heads share that are an FCN head with a block between its two convolutions."""

from abc import abstractmethod
from typing import Unpack

import torch
from torch import Tensor

from maskline.models.heads.base import Features, HeadOptions, InputTransform
from maskline.models.heads.fcn import FCNHead


class FCNContextHead(FCNHead):
    """Convolution, the block, convolution, and once more beside the input.

    Args:
        concat_input: Concatenate the input to the last convolution's output and convolve once more.
        input_transform: See ``Head``.
        options: See ``HeadOptions``.
    """

    def __init__(
        self,
        *,
        concat_input: bool = True,
        input_transform: InputTransform | None = None,
        **options: Unpack[HeadOptions],
    ) -> None:
        super().__init__(num_convs=2, concat_input=concat_input, input_transform=input_transform, **options)

    @abstractmethod
    def context(self, x: Tensor) -> Tensor:
        """Return the block's output for its input, NCHW both."""

    def forward(self, features: Features, previous: Tensor | None = None) -> Tensor:
        """Map features to logits at the feature's resolution."""
        del previous
        x = self.select(features)
        y = self.convs[1](self.context(self.convs[0](x)))
        if self.concat_input:
            y = self.conv_cat(torch.cat([x, y], dim=1))
        return self.classify(y)
