"""Learning rates as pure functions of the iteration.

Source: mmengine 0.10.7 (Apache-2.0) PolyLR, CosineAnnealingLR, LinearLR, MultiStepLR. The last iteration of poly
has the end value exactly, and a warm-up's last iteration the full rate; cosine would have its end value one iteration
after the last. A decay begins where the warm-up ends. torch's PolynomialLR differs: no end value, one step longer.
"""

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """Factor on each group's learning rate, by iteration.

    Args:
        name: Shape after the warm-up.
        iterations: Length of the run.
        power: Exponent (poly).
        end_factor: Factor of the last iteration (poly, cosine).
        milestones: Rising iterations at which the factor is multiplied by gamma (step).
        gamma: See milestones.
        warmup_iterations: Length of the linear warm-up; 0 is none.
        warmup_factor: Factor of iteration 0 of the warm-up.
    """

    name: Literal["poly", "cosine", "step", "constant"]
    iterations: int
    power: float
    end_factor: float
    milestones: Sequence[int]
    gamma: float
    warmup_iterations: int
    warmup_factor: float

    def factor(self, iteration: int) -> float:
        """Return the factor of an iteration, counted from 0."""
        if iteration < self.warmup_iterations:
            share = iteration / max(self.warmup_iterations - 1, 1)
            return self.warmup_factor + (1 - self.warmup_factor) * share
        since, length = iteration - self.warmup_iterations, self.iterations - self.warmup_iterations
        match self.name:
            case "poly":
                left = 1 - min(since / max(length - 1, 1), 1.0)
                return float((1 - self.end_factor) * left**self.power + self.end_factor)
            case "cosine":
                wave = (1 + math.cos(math.pi * min(since / length, 1.0))) / 2
                return self.end_factor + (1 - self.end_factor) * wave
            case "step":
                return float(self.gamma ** bisect_right(self.milestones, iteration))
            case "constant":
                return 1.0
