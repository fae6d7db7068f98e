"""What a training run is made of between two iterations; all of it goes into the journal."""

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from maskline.engine.capture import CapturedStep
from maskline.models.segmentor import SegmentorBase
from maskline.optim import optimizers
from maskline.optim.ema import WeightAverage
from maskline.runtime.processes import distributed

Row = dict[str, float]


class SpoiltError(Exception):
    """A weight or a loss is not finite, and no one looked at the gradient or loss that came first.

    Args:
        what: Which of both.
    """

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.what = what


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What one iteration measured: on the device, until ``read`` asks for it.

    Args:
        iteration: Its number, from 1.
        rates: Learning rate by the name of its column.
        names: Of the losses: the sum, then each head's.
        losses: Float32, (batches, names).
        norm: Of the gradients, float32 scalar; None: not taken.
        logged: Whether it is a point of the loss curve.
    """

    iteration: int
    rates: Row
    names: tuple[str, ...]
    losses: Tensor
    norm: Tensor | None
    logged: bool

    def row(self, losses: Sequence[float], norm: Sequence[float]) -> Row:
        """Return the point of the curve for values that were read: losses flat, and one norm or none."""
        width, count = len(self.names), len(self.losses)
        means = {name: sum(losses[i::width]) / count for i, name in enumerate(self.names)}
        first, *others = self.rates.items()
        norms = {"gradient_norm": norm[0]} if norm else {}
        return {
            "iteration": self.iteration,
            **dict([first]),
            "loss": means.pop("loss"),
            **norms,
            **means,
            **dict(others),
        }


def read(measured: Sequence[Measured]) -> list[Row]:
    """Return the points of some iterations; all their values come from the device in one copy."""
    if not measured:
        return []
    parts = [part for each in measured for part in (each.losses, each.norm) if part is not None]
    values = iter(torch.cat([part.detach().reshape(-1) for part in parts]).tolist())
    rows = []
    for each in measured:
        losses = [next(values) for _ in range(each.losses.numel())]
        rows.append(each.row(losses, [next(values)] if each.norm is not None else []))
    return rows


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
        pending: What was measured and has not been read yet; none of it goes into the journal.
        captured: Runs steps whose values nobody looks at; None: they run as they are.
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
    pending: list[Measured] = field(default_factory=list)
    captured: CapturedStep | None = None
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

    def settle(self) -> None:
        """Read what was measured since the last time, and note it down; all processes do it at the same time.

        Raises:
            SpoiltError: A loss or a norm of some process is not finite. With fp16 a norm may be: the optimizer left
                that step out.
        """
        measured, self.pending = self.pending, []
        rows = read(measured)
        losses = [row[name] for each, row in zip(measured, rows, strict=True) for name in each.names]
        norms = [] if self.scaler.is_enabled() else [row.get("gradient_norm", 0.0) for row in rows]
        spoilt = 2 * any(not math.isfinite(loss) for loss in losses) or any(not math.isfinite(norm) for norm in norms)
        if measured and (worst := distributed.largest(int(spoilt))):
            raise SpoiltError("a loss" if worst > 1 else "a gradient")
        for each, row in zip(measured, rows, strict=True):
            self.recent.append(row["loss"])
            self.trace.append((row["loss"], row.get("gradient_norm")))
            if each.logged:
                self.steps.append(row)

    def to_dict(self) -> dict[str, Any]:
        """Return the state as tensors and plain types."""
        return {
            "model": self.model.state_dict(),
            "optimizer": optimizers.to_dict(self.optimizer),
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
        self.pending = []
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
