"""Conformal risk control of misses in two-class sets: which threshold bears a promise.

Source: Angelopoulos, Bates, Fisch, Lei, Schuster, "Conformal Risk Control" (ICLR 2024); the form for losses in 0..1.
"""

import math

import numpy as np
import numpy.typing as npt

from maskline.core.errors import DataError

# Candidates are evenly spaced in the logit, since small promises need probabilities close to 0, and have six decimals,
# which scores.csv keeps: 1e-6 to 1 - 1e-6.
_LOGITS = np.arange(-13.8, 13.8, 1 / 128)
CANDIDATES: npt.NDArray[np.float32] = np.unique((1 / (1 + np.exp(-_LOGITS))).round(6).astype(np.float32))
"""Thresholds to choose from, rising; K of them."""


def miss_rate(confusion: npt.NDArray[np.int64]) -> float:
    """Return the share of class 1's pixels (2 x 2, rows actual) that was not predicted as such; 0 where it has none."""
    missed, hit = confusion[1]
    return float(missed / max(missed + hit, 1))


def check_number(images: int, *, at_most: float) -> None:
    """Refuse a promise that so few images cannot bear, whatever they show.

    Raises:
        DataError: Says how many are needed.
    """
    needed = math.ceil(1 / at_most - 1 - 1e-9)
    if images < needed:
        raise DataError(
            "evaluate.guarantee",
            f"a miss rate of at most {at_most:g} needs {needed} val images, there are {images}",
            "raise data.val_fraction or at_most",
        )


def miss_rates(probabilities: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Return the miss rate of one image at each of the K candidates, never falling; zeros without foreground.

    Args:
        probabilities: Of class 1 at the pixels that are of class 1, in any order.
    """
    ordered = np.sort(probabilities.astype(np.float32, copy=False))
    return np.searchsorted(ordered, CANDIDATES, side="left") / max(len(ordered), 1)


def certified(rates: npt.NDArray[np.float64], *, at_most: float) -> float | None:
    """Return the highest candidate t with (sum of miss rates at t, plus 1) / (n + 1) <= ``at_most``; None: none has.

    Used from t on, the mean miss rate of a further image is at most ``at_most``, in expectation over the n images and
    that one, where all of them can be exchanged for one another (drawn alike, none chosen); and not below ``at_most``
    - 2 / (n + 1) where the rates rise by no jump of all images at once.

    Args:
        rates: n x K, of ``miss_rates``.
        at_most: 0..1.
    """
    bound = (rates.sum(axis=0) + 1) / (len(rates) + 1)
    fit = np.flatnonzero(bound <= at_most)
    return round(float(CANDIDATES[fit[-1]]), 6) if len(fit) else None
