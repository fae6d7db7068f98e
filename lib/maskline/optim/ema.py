"""Averages of a model's weights: the exponential moving one, and the plain mean of a run's end."""

import copy

import torch
from torch import Tensor, nn

from maskline.runtime import gpu_forms


class WeightAverage:
    """A second model whose weights follow the trained one's.

    After iteration t, counted from 1, ``average = d * average + (1 - d) * weights``. With a ramp
    ``d = min(decay, (1 + t) / (10 + t))``: short runs are not held back by their random start. Without one d is 0 for
    the first iteration, a copy, and then ``decay``. Buffers, such as the statistics of batch norm, are copied: averaged
    too, they scored lower in short runs.

    Args:
        model: The trained model, copied as it is now.
        decay: Of the average, 0 to below 1.
        ramp: See above.

    Source: Polyak, Juditsky, "Acceleration of stochastic approximation by averaging", 1992; the ramp as TensorFlow's
    ExponentialMovingAverage has it, the rest as mmengine 0.10.7's (Apache-2.0).
    """

    def __init__(self, model: nn.Module, *, decay: float, ramp: bool) -> None:
        self.decay, self._ramp = decay, ramp
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
        share = self._share_at(iteration)
        if not gpu_forms.wanted(self._weights[0]):
            self._share = share
        elif isinstance(self._share, Tensor):
            self._share.fill_(share)
        else:
            self._share = torch.full((), share, device=self._weights[0].device)

    def _share_at(self, iteration: int) -> float:
        if self._ramp:
            return 1 - min(self.decay, (1 + iteration) / (10 + iteration))
        return 1.0 if iteration == 1 else 1 - self.decay

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


class WeightMean(WeightAverage):
    """A second model whose weights are the plain mean of the trained one's since an iteration; its own ones before.

    Buffers are copied as in ``WeightAverage``: the statistics of batch norm are then those of the trained model, and
    have to be taken anew for the mean.

    Args:
        model: The trained model, copied as it is now.
        first: Iterations done when the first weights are taken, at least 1.
        every: Iterations between two that are taken.

    Source: Izmailov, Podoprikhin, Garipov, Vetrov, Wilson, "Averaging weights leads to wider optima and better
    generalization", 2018; the values are those of torch's AveragedModel, which takes weights when it is called and
    would have to know how often, where here the share follows from the iteration.
    """

    def __init__(self, model: nn.Module, *, first: int, every: int) -> None:
        super().__init__(model, decay=0.0, ramp=False)
        self._first, self._every = first, every

    def count(self, iteration: int) -> int:
        """Return of how many weights it is the mean after ``iteration`` iterations; 0: it is the trained model."""
        return 0 if iteration < self._first else 1 + (iteration - self._first) // self._every

    def _share_at(self, iteration: int) -> float:
        count = self.count(iteration)
        if count == 0:
            return 1.0
        return 1 / count if (iteration - self._first) % self._every == 0 else 0.0
