"""The measures beyond the confusion matrix over all images, or over resamples of them.

Of a measure of shapes the scores are means over the images in which they are defined, of a counted one they are of all
pixels together.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import vstack

from maskline.metrics.extra import ImageExtras, known_measures
from maskline.metrics.measure import CountedMeasure

Floats = npt.NDArray[np.float64]

# Numbers of resampled counts held at a time.
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
    counted = {
        name: measure for name in extras[0].counts if isinstance(measure := known_measures()[name], CountedMeasure)
    }
    by_class = [_shapes(extras, c, weights) for c in range(len(class_keys))]
    for name, measure in counted.items():
        if measure.by_class:
            by_class = [scores | _counted(extras, name, measure, c, weights) for c, scores in enumerate(by_class)]
    if len(class_keys) == 2:
        tree: dict[str, Any] = dict(by_class[1])
    else:
        tree = {name: _mean_of_defined(np.stack([scores[name] for scores in by_class])) for name in by_class[0]}
        if tree:
            tree["per_class"] = dict(zip(class_keys, by_class, strict=True))
    for name, measure in counted.items():
        if not measure.by_class:
            counts = np.stack([one.counts[name].values for one in extras])
            tree |= measure.score(np.tensordot(weights, counts, axes=1))
    return tree


def _shapes(extras: Sequence[ImageExtras], c: int, weights: Floats) -> dict[str, Floats]:
    means = {}
    for name in extras[0].shapes:
        values = np.array([one.shapes[name][c] for one in extras])
        defined = ~np.isnan(values)
        number = weights @ defined.astype(np.float64)
        total = weights @ np.where(defined, values, 0)
        means[name] = np.divide(total, number, out=np.full(len(weights), np.nan), where=number > 0)
    return means


def _counted(
    extras: Sequence[ImageExtras], name: str, measure: CountedMeasure, c: int, weights: Floats
) -> dict[str, Floats]:
    shape = extras[0].counts[name].shape
    counts = vstack([one.counts[name].values[[c]] for one in extras]).astype(np.float64)
    step = max(1, _CHUNK_VALUES // counts.shape[1])
    parts = [
        measure.score((weights[start : start + step] @ counts).reshape(-1, *shape))
        for start in range(0, len(weights), step)
    ]
    return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}


def _mean_of_defined(values: Floats) -> Floats:
    """Return the mean over the first axis without nan; nan where all are."""
    defined = ~np.isnan(values)
    number = defined.sum(0)
    total = np.where(defined, values, 0).sum(0)
    return np.asarray(np.divide(total, number, out=np.full(number.shape, np.nan), where=number > 0))
