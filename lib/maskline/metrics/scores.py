"""Scores of a confusion matrix, with MMSegmentation's definitions, as fractions from 0 to 1.

Every function takes matrices ... x C x C (rows actual, columns predicted) and works on the last two axes, so that
one call scores one data set, every image of it, or every resample of a bootstrap. A score that is not defined is
nan: the class is absent where the score's denominator is 0.

Source: the definitions of MMSegmentation 1.2.2's ``IoUMetric`` (Apache-2.0), written anew.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]

# Overall score -> the per-class score that it is the mean of. aAcc is over pixels and not among them.
MEANS = {
    "mIoU": "IoU",
    "mAcc": "Acc",
    "mDice": "Dice",
    "mFscore": "Fscore",
    "mPrecision": "Precision",
    "mRecall": "Recall",
}


def class_scores(confusion: npt.ArrayLike, *, beta: float) -> dict[str, Floats]:
    """Return IoU, Acc, Dice, Fscore, Precision and Recall of each class.

    With I the pixels that are the class in both, L those that are it in the labels and P in the prediction:
    IoU = I / (L + P - I), Acc = Recall = I / L, Dice = 2 I / (L + P), Precision = I / P,
    Fscore = (1 + beta^2) Precision Recall / (beta^2 Precision + Recall). A class that is in the labels and never
    predicted has Dice 0 but no Precision and hence no Fscore; likewise where I is 0.

    Args:
        confusion: ... x C x C counts.
        beta: Weight of recall in Fscore; 1 makes it Dice.

    Returns:
        Name -> ... x C, float64, 0..1 or nan.
    """
    return class_scores_of(*_marginals(confusion), beta=beta)


def class_scores_of(hits: Counts, labels: Counts, predictions: Counts, *, beta: float) -> dict[str, Floats]:
    """Return ``class_scores`` from pixels right, labelled and predicted, each ... x C."""
    recall = _ratio(hits, labels)
    precision = _ratio(hits, predictions)
    return {
        "IoU": _ratio(hits, labels + predictions - hits),
        "Acc": recall,
        "Dice": _ratio(2 * hits, labels + predictions),
        "Fscore": _ratio((1 + beta**2) * precision * recall, beta**2 * precision + recall),
        "Precision": precision,
        "Recall": recall,
    }


def overall_scores(confusion: npt.ArrayLike, *, beta: float) -> dict[str, Floats]:
    """Return aAcc and the means over classes: mIoU, mAcc, mDice, mFscore, mPrecision, mRecall.

    aAcc is the share of scored pixels that got their class. Each mean leaves out classes whose score is nan.

    Args:
        confusion: ... x C x C counts.
        beta: As in ``class_scores``.

    Returns:
        Name -> ..., float64, 0..1 or nan.
    """
    return overall_scores_of(*_marginals(confusion), beta=beta)


def overall_scores_of(hits: Counts, labels: Counts, predictions: Counts, *, beta: float) -> dict[str, Floats]:
    """Return ``overall_scores`` from pixels right, labelled and predicted, each ... x C."""
    by_class = class_scores_of(hits, labels, predictions, beta=beta)
    means = {name: _mean_of_defined(by_class[part]) for name, part in MEANS.items()}
    return {"aAcc": _ratio(hits.sum(-1), labels.sum(-1)), **means}


def foreground_scores(confusion: npt.ArrayLike) -> dict[str, Floats]:
    """Return Dice, sensitivity and specificity of class 1 of a two-class matrix.

    Args:
        confusion: ... x 2 x 2 counts; class 1 is the foreground.

    Returns:
        Name -> ..., float64, 0..1 or nan.
    """
    counts = to_counts(confusion)
    assert counts.shape[-1] == 2, "foreground scores are for two-class sets"
    true_negative, false_positive = counts[..., 0, 0], counts[..., 0, 1]
    false_negative, true_positive = counts[..., 1, 0], counts[..., 1, 1]
    return {
        "Dice": _ratio(2 * true_positive, 2 * true_positive + false_positive + false_negative),
        "sensitivity": _ratio(true_positive, true_positive + false_negative),
        "specificity": _ratio(true_negative, true_negative + false_positive),
    }


def all_scores(confusion: npt.ArrayLike, *, class_keys: tuple[str, ...]) -> dict[str, Any]:
    """Return the tree of scores that metrics files hold: overall, foreground of two-class sets, per class.

    Args:
        confusion: ... x C x C counts.
        class_keys: C names, fit for metric names.

    Returns:
        ``{"aAcc": ..., "mIoU": ..., ..., "foreground": {...}, "per_class": {key: {"IoU": ..., ...}}}``; leaves are
        float64 arrays of shape ``...``. Acc stands for Recall in ``per_class``, and Fscore (beta 1) is left out
        there: it is Dice wherever it is defined.
    """
    by_class = class_scores(confusion, beta=1)
    tree: dict[str, Any] = dict(overall_scores(confusion, beta=1))
    if len(class_keys) == 2:
        tree["foreground"] = foreground_scores(confusion)
    tree["per_class"] = {
        key: {name: by_class[name][..., i] for name in ("IoU", "Acc", "Dice", "Precision")}
        for i, key in enumerate(class_keys)
    }
    return tree


def flatten(tree: dict[str, Any], *, prefix: str = "") -> dict[str, Any]:
    """Return the tree's leaves by dotted name, in the tree's order."""
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        if isinstance(value, dict):
            flat |= flatten(value, prefix=f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value
    return flat


def to_counts(confusion: npt.ArrayLike) -> Counts:
    """Return the matrices as an int64 array (a CPU tensor, an array or nested lists)."""
    counts = np.asarray(confusion)
    assert np.issubdtype(counts.dtype, np.integer), f"counts are whole numbers, not {counts.dtype}"
    assert counts.ndim >= 2, "a confusion matrix has two axes"
    assert counts.shape[-1] == counts.shape[-2], "a confusion matrix is square"
    return counts.astype(np.int64, copy=False)


def _marginals(confusion: npt.ArrayLike) -> tuple[Counts, Counts, Counts]:
    """Return pixels right, labelled and predicted, each ... x C."""
    counts = to_counts(confusion)
    return np.diagonal(counts, axis1=-2, axis2=-1), counts.sum(-1), counts.sum(-2)


def _ratio(numerator: npt.ArrayLike, denominator: npt.ArrayLike) -> Floats:
    """Return the quotient, nan where the denominator is 0 or nan."""
    top, bottom = np.asarray(numerator, dtype=np.float64), np.asarray(denominator, dtype=np.float64)
    quotient: Floats = np.divide(top, bottom, out=np.full(bottom.shape, np.nan), where=bottom != 0)
    return quotient


def _mean_of_defined(values: Floats) -> Floats:
    """Return the mean over the last axis without nan; nan where all are."""
    defined = ~np.isnan(values)
    return _ratio(np.where(defined, values, 0).sum(-1), defined.sum(-1))
