"""The exponential moving average of a model's weights."""

import copy

import torch
from torch import Tensor, nn


class WeightAverage:
    """A second model whose weights follow the trained one's.

    After iteration t, counted from 1, ``average = d * average + (1 - d) * weights`` with
    ``d = min(decay, (1 + t) / (10 + t))``: short runs are not held back by their random start. Buffers, such as the
    statistics of batch norm, are copied: averaged too, they scored lower in short runs.

    Args:
        model: The trained model, copied as it is now.
        decay: Of the average, 0 to below 1.

    Source: Polyak, Juditsky, "Acceleration of stochastic approximation by averaging", 1992; the start as TensorFlow's
    ExponentialMovingAverage has it.
    """

    def __init__(self, model: nn.Module, *, decay: float) -> None:
        self.decay = decay
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self._weights: list[Tensor] = list(self.model.parameters())
        self._buffers: list[Tensor] = list(self.model.buffers())

    @torch.no_grad()
    def update(self, model: nn.Module, iteration: int) -> None:
        """Take the weights after ``iteration`` iterations in."""
        decay = min(self.decay, (1 + iteration) / (10 + iteration))
        torch._foreach_lerp_(self._weights, [*model.parameters()], 1 - decay)
        if self._buffers:
            torch._foreach_copy_(self._buffers, list(model.buffers()))
