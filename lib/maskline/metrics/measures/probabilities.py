"""How well probabilities rank pixels, and whether they mean what they say.

Both come from counts in bins of the probability, which add: over images, tiles, processes.

Sources: average precision as the step sum over thresholds (no interpolation); expected calibration error and the
    reliability diagram of Guo et al., "On Calibration of Modern Neural Networks" (2017), with equal bins.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from maskline.metrics.measure import Score, counted_measure

# Probabilities that differ by less than this rank alike.
RANK_BINS = 10_000
RELIABILITY_BINS = 15

Counts = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


def ranking_scores(counts: npt.NDArray[Any]) -> dict[str, Floats]:
    """Return AUC (area under the ROC curve) and AP (average precision) of one class.

    Args:
        counts: ... x 2 x B pixels (other, this class) by rising probability. Pixels of one bin are ties: half a win
            each.

    Returns:
        Name -> ..., 0..1; nan where one of the two kinds is absent.
    """
    values = np.asarray(counts, dtype=np.float64)
    negatives, positives = values[..., 0, :], values[..., 1, :]
    others, own = negatives.sum(-1), positives.sum(-1)
    wins = (positives * (negatives.cumsum(-1) - negatives / 2)).sum(-1)
    hits, alarms = positives[..., ::-1].cumsum(-1), negatives[..., ::-1].cumsum(-1)
    precision = hits / np.maximum(hits + alarms, 1)
    defined = (own > 0) & (others > 0)
    summed = (precision * positives[..., ::-1]).sum(-1)
    return {
        "AUC": np.divide(wins, own * others, out=np.full(own.shape, np.nan), where=defined),
        "AP": np.divide(summed, own, out=np.full(own.shape, np.nan), where=defined),
    }


@counted_measure(
    Score(
        key="AUC",
        title="Area under the ROC curve",
        text="Share of the pairs of a pixel of the class and another one in which the former is more probable.",
    ),
    Score(
        key="AP",
        title="Average precision",
        text="Mean of the precision over all thresholds, each weighted by the recall that it adds.",
    ),
    score=ranking_scores,
    by_class=True,
)
def ranking(probabilities: npt.NDArray[np.float32], target: npt.NDArray[np.int64]) -> Counts:
    """Count pixels by class, by whether they are that class, and by bin of that class's probability.

    Args:
        probabilities: C x P, 0..1.
        target: P class ids, all of them to be counted.

    Returns:
        C x 2 x (RANK_BINS + 1); the second axis is other, this class.
    """
    num_classes = len(probabilities)
    counts = np.zeros((num_classes, 2, RANK_BINS + 1), dtype=np.int64)
    for c in range(num_classes):
        bins = np.clip(np.rint(probabilities[c].astype(np.float64) * RANK_BINS), 0, RANK_BINS).astype(np.int64)
        for own in (0, 1):
            counts[c, own] = np.bincount(bins[(target == c) == bool(own)], minlength=RANK_BINS + 1)
    return counts


def calibration_scores(counts: Floats) -> dict[str, Floats]:
    """Return ECE, the expected calibration error: mean distance of accuracy from confidence over pixels.

    Args:
        counts: ... x 3 x B, sums of what ``calibration`` returns.

    Returns:
        Name -> ..., 0..1; nan without any pixel.
    """
    pixels, confidence, right = (counts[..., i, :] for i in range(3))
    total, apart = pixels.sum(-1), np.abs(right - confidence).sum(-1)
    return {"ECE": np.asarray(np.divide(apart, total, out=np.full(total.shape, np.nan), where=total > 0))}


@counted_measure(
    Score(
        key="ECE",
        title="Expected calibration error",
        text="Mean distance of the probability of the chosen class from the share of pixels that are right.",
        better="lower",
    ),
    score=calibration_scores,
    by_class=False,
)
def calibration(probabilities: npt.NDArray[np.float32], target: npt.NDArray[np.int64]) -> Floats:
    """Sum up pixels by the probability of their most likely class.

    Args:
        probabilities: C x P, 0..1.
        target: P class ids, all of them to be counted.

    Returns:
        3 x RELIABILITY_BINS: pixels, summed probability, pixels whose most likely class is right.
    """
    confidence = probabilities.max(axis=0).astype(np.float64)
    right = probabilities.argmax(axis=0) == target
    bins = np.clip(np.ceil(confidence * RELIABILITY_BINS).astype(np.int64) - 1, 0, RELIABILITY_BINS - 1)
    weights = (None, confidence, right.astype(np.float64))
    return np.stack([np.bincount(bins, weights=w, minlength=RELIABILITY_BINS).astype(np.float64) for w in weights])
