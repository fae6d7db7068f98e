"""The exponential moving average of a model's weights."""

import copy

import torch
from torch import Tensor, nn

from maskline.runtime import gpu_forms


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
        self._share: float | Tensor = 0.0

    def update(self, model: nn.Module, iteration: int) -> None:
        """Take the weights after ``iteration`` iterations in."""
        self.set_share(iteration)
        self.move(model)

    def set_share(self, iteration: int) -> None:
        """Set the share of the weights after ``iteration`` iterations; on a GPU in a tensor that keeps its place."""
        share = 1 - min(self.decay, (1 + iteration) / (10 + iteration))
        if not gpu_forms.wanted(self._weights[0]):
            self._share = share
        elif isinstance(self._share, Tensor):
            self._share.fill_(share)
        else:
            self._share = torch.full((), share, device=self._weights[0].device)

    @torch.no_grad()
    def move(self, model: nn.Module) -> None:
        """Take the weights in with the share that was set."""
        weights: list[Tensor] = [*model.parameters()]
        if isinstance(self._share, Tensor):
            steps = torch._foreach_sub(weights, self._weights)
            torch._foreach_mul_(steps, self._share)
            torch._foreach_add_(self._weights, steps)
        else:
            torch._foreach_lerp_(self._weights, weights, self._share)
        if self._buffers:
            torch._foreach_copy_(self._buffers, list(model.buffers()))
