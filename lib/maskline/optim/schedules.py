"""Learning rates as pure functions of the iteration.

Source: mmengine 0.10.7 (Apache-2.0) PolyLR, CosineAnnealingLR, ExponentialLR, OneCycleLR, LinearLR, ConstantLR,
MultiStepLR, StepLR; several cycles of cosine are torch's CosineAnnealingWarmRestarts. The last iteration of poly has
the end value exactly, and a warm-up's last iteration the full rate; cosine would have its end value one iteration after
the last. A decay begins where the warm-up ends. torch's PolynomialLR differs: no end value, one step longer.
"""

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

ScheduleName = Literal["poly", "cosine", "step", "exponential", "one_cycle", "constant"]
WarmupName = Literal["linear", "exponential", "constant"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """Learning rate of a group by iteration and the group's full rate.

    Args:
        name: Shape after the warm-up.
        iterations: Where the shape ends, counted from the run's start; the rate then stays.
        power: Exponent (poly).
        end_factor: Last rate over the full one (poly, cosine, one_cycle).
        end_lr: Last rate itself, the same for every group, instead of end_factor (poly, cosine); None: end_factor.
        milestones: Rising iterations at which the rate is multiplied by gamma (step).
        step_every: Or every so many iterations; 0: milestones (step).
        gamma: See milestones; a factor on each iteration for exponential.
        cycle_start: First rate over the full one (one_cycle).
        cycle_peak: Share of the length until the full rate (one_cycle).
        cycles: Times that the shape is gone through, each from the full rate (cosine).
        warmup: Shape of the warm-up.
        warmup_iterations: Its length; 0 is none.
        warmup_factor: Its first rate over the full one; above 0 for exponential.
    """

    name: ScheduleName
    iterations: int
    power: float
    end_factor: float
    end_lr: float | None
    milestones: Sequence[int]
    step_every: int
    gamma: float
    cycle_start: float
    cycle_peak: float
    cycles: int
    warmup: WarmupName
    warmup_iterations: int
    warmup_factor: float

    def rate(self, iteration: int, full: float) -> float:
        """Return the learning rate of an iteration, counted from 0.

        Args:
            iteration: Which one.
            full: The group's full rate.
        """
        if self.end_lr is None or self.name not in {"poly", "cosine"} or iteration < self.warmup_iterations:
            return full * self.factor(iteration)
        return full * self._shape(iteration, self.end_lr / full)

    def factor(self, iteration: int) -> float:
        """Return the rate of an iteration over the full one, without ``end_lr``."""
        if iteration < self.warmup_iterations:
            return self._warmup(iteration)
        return self._shape(iteration, self.end_factor)

    def _warmup(self, iteration: int) -> float:
        share = iteration / max(self.warmup_iterations - 1, 1)
        match self.warmup:
            case "linear":
                return self.warmup_factor + (1 - self.warmup_factor) * share
            case "exponential":
                return float(self.warmup_factor ** (1 - share))
            case "constant":
                return self.warmup_factor if share < 1 else 1.0

    def _shape(self, iteration: int, end: float) -> float:
        since, length = iteration - self.warmup_iterations, self.iterations - self.warmup_iterations
        match self.name:
            case "poly":
                left = 1 - min(since / max(length - 1, 1), 1.0)
                return float((1 - end) * left**self.power + end)
            case "cosine":
                through = since * self.cycles / length
                return _wave(1.0, end, through % 1.0 if through < self.cycles else 1.0)
            case "step":
                steps = since // self.step_every if self.step_every else bisect_right(self.milestones, iteration)
                return float(self.gamma**steps)
            case "exponential":
                return float(self.gamma ** min(since, length - 1))
            case "one_cycle":
                return self._cycle(since, length, end)
            case "constant":
                return 1.0

    def _cycle(self, since: int, length: int, end: float) -> float:
        peak, last = self.cycle_peak * length - 1, length - 1
        if since <= peak:
            return _wave(self.cycle_start, 1.0, since / peak if peak > 0 else 1.0)
        return _wave(1.0, end, min((since - peak) / max(last - peak, 1e-9), 1.0))


def _wave(first: float, last: float, share: float) -> float:
    """Go from one value to another along half a cosine."""
    return last + (first - last) * ((1 + math.cos(math.pi * share)) / 2)
