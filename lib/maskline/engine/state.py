"""What a training run is made of between two iterations; all of it goes into the journal."""

import copy
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from maskline.models.segmentor import SegmentorBase
from maskline.optim.ema import WeightAverage
from maskline.runtime import distributed

Row = dict[str, float]


@dataclass(slots=True, kw_only=True)
class TrainState:
    """Model, optimizer and what was measured so far.

    Args:
        model: The segmentor being trained.
        optimizer: Its optimizer.
        average: Moving average of the weights; None: not kept.
        scaler: Of the loss, for fp16; else it is switched off.
        iteration: Iterations done.
        steps: Points of the loss curve.
        recent: Losses since the last validation.
        validations: One row a validation.
        trace: Loss of each iteration, and the norm of its gradients or None where that was not taken, to the last bit.
        hashes: SHA-256 of the weights by the iterations done, at each validation.
        best_score: Best value of the chosen metric so far.
        best_iteration: Iterations done when it was reached.
        best_weights: State dict of then, on the CPU; None before the first validation.
        pairs: The model's ``training_pairs``, whose gradients are those of all processes together.
    """

    model: SegmentorBase
    optimizer: Optimizer
    average: WeightAverage | None = None
    scaler: torch.amp.GradScaler = field(default_factory=lambda: torch.amp.GradScaler("cpu", enabled=False))
    iteration: int = 0
    steps: list[Row] = field(default_factory=list)
    recent: list[float] = field(default_factory=list)
    validations: list[Row] = field(default_factory=list)
    trace: list[tuple[float, float | None]] = field(default_factory=list)
    hashes: dict[int, str] = field(default_factory=dict)
    best_score: float = float("-inf")
    best_iteration: int = 0
    best_weights: dict[str, Tensor] | None = None
    pairs: distributed.Replica = field(init=False)

    def __post_init__(self) -> None:
        self.pairs = distributed.Replica(self.model, self.model.training_pairs)

    @property
    def result(self) -> nn.Module:
        """Return the model that is validated and kept: the average where there is one."""
        return self.model if self.average is None else self.average.model

    def validations_since_best(self) -> int:
        """Return how many validations have gone by without a better score."""
        return sum(row["iteration"] > self.best_iteration for row in self.validations)

    def keep_best(self, score: float) -> None:
        """Keep a copy of the weights when ``score`` is above the best so far; the earlier of equals stays."""
        if score > self.best_score:
            self.best_score = score
            self.best_iteration = self.iteration
            self.best_weights = weights_of(self.result)

    def to_dict(self) -> dict[str, Any]:
        """Return the state as tensors and plain types."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": None if self.average is None else self.average.model.state_dict(),
            "scaler": self.scaler.state_dict(),
            "iteration": self.iteration,
            "steps": self.steps,
            "recent": self.recent,
            "validations": self.validations,
            "trace": self.trace,
            "hashes": self.hashes,
            "best_score": self.best_score,
            "best_iteration": self.best_iteration,
            "best_weights": self.best_weights,
        }

    def restore(self, saved: dict[str, Any]) -> None:
        """Take over what ``to_dict`` returned, possibly in another process."""
        self.model.load_state_dict(saved["model"])
        self.optimizer.load_state_dict(saved["optimizer"])
        if self.average is not None:
            self.average.model.load_state_dict(saved["average"])
        self.scaler.load_state_dict(saved["scaler"])
        self.iteration = saved["iteration"]
        self.steps = copy.deepcopy(saved["steps"])
        self.recent = list(saved["recent"])
        self.validations = copy.deepcopy(saved["validations"])
        self.trace = list(saved["trace"])
        self.hashes = dict(saved["hashes"])
        self.best_score = saved["best_score"]
        self.best_iteration = saved["best_iteration"]
        self.best_weights = saved["best_weights"]


def weights_of(model: nn.Module) -> dict[str, Tensor]:
    """Return a copy of the model's tensors on the CPU in the default memory format."""
    return {name: tensor.detach().cpu().contiguous().clone() for name, tensor in model.state_dict().items()}
