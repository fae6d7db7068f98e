"""Class weights from pixel counts: rare classes weigh more in a loss."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from maskline.core.errors import DataError

Rule = Literal["inverse_frequency", "enet_log", "effective_number"]

_ENET = 1.02
_BETA = 0.9999


def class_weights(pixels: Sequence[int], *, rule: Rule) -> list[float]:
    """Return a weight for each class; those of the classes that occur have the mean 1.

    ``inverse_frequency``: 1 / p. ``enet_log``: 1 / ln(1.02 + p). ``effective_number``: (1 - b) / (1 - b^n), b = 0.9999,
    n in thousands of pixels, since single pixels are far from independent. p is a class's share of the pixels that
    count. A class without a pixel gets 0: nothing is known of it.

    Args:
        pixels: Pixels of each class, ignored ones not among them.
        rule: How counts become weights.

    Raises:
        DataError: No pixel at all.

    Source: ENet (Paszke et al., 2016); Cui et al., "Class-Balanced Loss Based on Effective Number of Samples", 2019.
    """
    counts = np.asarray(pixels, dtype=np.float64)
    present = counts > 0
    if not present.any():
        raise DataError("class weights", "no pixel of any class", "convert a set with labelled pixels")
    share = counts[present] / counts.sum()
    match rule:
        case "inverse_frequency":
            raw = 1 / share
        case "enet_log":
            raw = 1 / np.log(_ENET + share)
        case "effective_number":
            raw = (1 - _BETA) / -np.expm1(counts[present] / 1000 * np.log(_BETA))
    weights = np.zeros(len(counts))
    weights[present] = raw / raw.mean()
    return [float(weight) for weight in weights]
