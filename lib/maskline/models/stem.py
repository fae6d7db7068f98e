"""Weights of a first convolution for another number of image channels."""

import math

from torch import Tensor


def adapt_input_channels(weight: Tensor, in_channels: int) -> Tensor:
    """Return the weight of a first convolution for ``in_channels`` image channels.

    One channel gets the sum over the channels, so that a gray image gives what its three-channel copy gave. More
    get the channels in turn, scaled so that the response keeps its size (timm does the same).

    Args:
        weight: (out, channels, height, width).
        in_channels: Channels of the new images.
    """
    before = weight.shape[1]
    if in_channels == before:
        return weight
    if in_channels == 1:
        return weight.sum(dim=1, keepdim=True)
    return weight.repeat(1, math.ceil(in_channels / before), 1, 1)[:, :in_channels] * (before / in_channels)
