"""The exponential moving average of a model's weights."""

import copy

import torch
from torch import Tensor, nn


class WeightAverage:
    """A second model whose weights follow the trained one's.

    After iteration t, counted from 1, ``average = d * average + (1 - d) * weights`` with
    ``d = min(decay, (1 + t) / (10 + t))``: short runs are not held back by their random start. The statistics of batch
    norm are averaged likewise, so that they belong to the averaged weights; counters are copied.

    Args:
        model: The trained model, copied as it is now.
        decay: Of the average, 0 to below 1.

    Source: Polyak, Juditsky, "Acceleration of stochastic approximation by averaging", 1992; the start as TensorFlow's
    ExponentialMovingAverage has it.
    """

    def __init__(self, model: nn.Module, *, decay: float) -> None:
        self.decay = decay
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self._averages, self._counters = _numbers(self.model)

    @torch.no_grad()
    def update(self, model: nn.Module, iteration: int) -> None:
        """Take the weights after ``iteration`` iterations in."""
        decay = min(self.decay, (1 + iteration) / (10 + iteration))
        numbers, counters = _numbers(model)
        torch._foreach_lerp_(self._averages, numbers, 1 - decay)
        if counters:
            torch._foreach_copy_(self._counters, counters)


def _numbers(model: nn.Module) -> tuple[list[Tensor], list[Tensor]]:
    """Return the weights and buffers that can be averaged, and those that count."""
    tensors = [*model.parameters(), *model.buffers()]
    averaged = [tensor for tensor in tensors if tensor.is_floating_point()]
    return averaged, [tensor for tensor in tensors if not tensor.is_floating_point()]
