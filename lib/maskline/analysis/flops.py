"""Size of a network: parameters and multiply-adds."""

import copy
from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


@dataclass(frozen=True)
class Summary:
    """Size of a network.

    Args:
        parameters: Numbers in all weights.
        trainable: Those of them that training changes.
        multiply_adds: Of one image: convolutions, matrix products and attention; element-wise work is not counted.
    """

    parameters: int
    trainable: int
    multiply_adds: int


def summarize(model: nn.Module, *, in_channels: int, size: tuple[int, int]) -> Summary:
    """Return the size of a network in evaluation, without computing anything.

    Args:
        model: Maps NCHW images; it is left as it is.
        in_channels: Channels of the images.
        size: Height and width of the image, px.
    """
    twin = copy.deepcopy(model).to("meta").eval()
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        twin(torch.zeros(1, in_channels, *size, device="meta"))
    return Summary(
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        trainable=sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad),
        multiply_adds=counter.get_total_flops() // 2,
    )
