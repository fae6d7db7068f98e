"""The measures beyond the confusion matrix over all images, or over resamples of them.

Shape scores are means over the images in which they are defined; ranking and calibration are of all pixels.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import vstack

from maskline.metrics.extra import ImageExtras
from maskline.metrics.probabilities import calibration_error, ranking_scores

Floats = npt.NDArray[np.float64]

# Numbers of resampled rank counts held at a time.
_CHUNK_VALUES = 1 << 21


def extra_scores(extras: Sequence[ImageExtras], *, class_keys: Sequence[str], weights: Floats) -> dict[str, Any]:
    """Return the measures of weighted images.

    Of two classes the scores are those of class 1. Sets of more have each by class under ``per_class``, and its mean
    over the classes in which it is defined.

    Args:
        extras: One an image, all with the same measures.
        class_keys: C names, fit for metric names.
        weights: R x N, how often each image counts in each of R results.

    Returns:
        Tree of scores; leaves R, nan where not defined.
    """
    by_class = [_shapes(extras, c, weights) | _ranking(extras, c, weights) for c in range(len(class_keys))]
    if len(class_keys) == 2:
        tree: dict[str, Any] = dict(by_class[1])
    else:
        tree = {name: _mean_of_defined(np.stack([found[name] for found in by_class])) for name in by_class[0]}
        if tree:
            tree["per_class"] = dict(zip(class_keys, by_class, strict=True))
    if extras[0].reliability is not None:
        counts = np.stack([one.reliability for one in extras if one.reliability is not None])
        tree["ECE"] = calibration_error(np.tensordot(weights, counts, axes=1))
    return tree


def _shapes(extras: Sequence[ImageExtras], c: int, weights: Floats) -> dict[str, Floats]:
    found = {}
    for name in extras[0].shapes:
        values = np.array([one.shapes[name][c] for one in extras])
        defined = ~np.isnan(values)
        number = weights @ defined.astype(np.float64)
        total = weights @ np.where(defined, values, 0)
        found[name] = np.divide(total, number, out=np.full(len(weights), np.nan), where=number > 0)
    return found


def _ranking(extras: Sequence[ImageExtras], c: int, weights: Floats) -> dict[str, Floats]:
    if extras[0].ranks is None:
        return {}
    counts = vstack([one.ranks[[c]] for one in extras if one.ranks is not None]).astype(np.float64)
    step = max(1, _CHUNK_VALUES // counts.shape[1])
    parts = [
        ranking_scores((weights[start : start + step] @ counts).reshape(-1, 2, counts.shape[1] // 2))
        for start in range(0, len(weights), step)
    ]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _mean_of_defined(values: Floats) -> Floats:
    """Return the mean over the first axis without nan; nan where all are."""
    defined = ~np.isnan(values)
    number = defined.sum(0)
    total = np.where(defined, values, 0).sum(0)
    return np.asarray(np.divide(total, number, out=np.full(number.shape, np.nan), where=number > 0))
