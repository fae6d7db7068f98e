"""The numbers of an evaluation as rows and trees, ready for files: rounded, finite, in a fixed order."""

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from maskline.errors import DataError
from maskline.files import write_text
from maskline.inference.scoring import ImageScore
from maskline.labels import LabelSet
from maskline.metrics.probabilities import calibration_error, ranking_scores
from maskline.metrics.scores import all_scores, class_scores, flatten
from maskline.metrics.statistics import bootstrap_intervals

LEVEL = 0.95
UNCERTAINTY = "uncertainty_95"
SECOND = "second_annotator"
STEPS = "steps"
EXTRA = "measures"
AREAS = "valid_area"

# Columns of per_image.csv, one a class: what every score derives from, so that two runs can be compared.
COUNTS = ("hits", "labelled", "predicted")

_DECIMALS = 6

Row = dict[str, str | int | float | None]


def metrics_tree(
    scores: Sequence[ImageScore], labels: LabelSet, *, resamples: int, seed: int, threshold: float | None
) -> dict[str, Any]:
    """Return what metrics.json holds.

    Overall scores come first, then the foreground's (two-class sets), ``per_class``, ``second_annotator`` (the
    second annotator against the first, where a set has one), ``steps`` (main scores after the network and after each
    step that follows it, where any does), ``measures`` (the measures asked for), ``uncertainty_95``: the same tree
    with ``low`` and ``high`` of each score's interval, and ``valid_area`` (main scores inside the valid-area mask and
    on the whole image, where a set has masks). The names are such that DVC, which sorts them, keeps this order.
    Scores that are not defined are left out.

    Args:
        scores: One an image.
        labels: Classes of the set.
        resamples: Bootstrap resamples behind each interval; 0: no intervals.
        seed: Of the resampling.
        threshold: Probability from which class 1 was chosen; None: the more likely class was.

    Raises:
        DataError: No pixel of the split has a label.
    """
    total = total_confusion(scores)
    if not total.any():
        raise DataError("evaluate", "no pixel of the split has a label", "check the masks and data.ignore_index")
    statistic = partial(all_scores, class_keys=labels.keys)
    tree = _plain(statistic(total))
    intervals = _intervals(scores, [one.confusion for one in scores], statistic, resamples, seed)
    annotated = [one for one in scores if one.second is not None]
    if annotated:
        matrices = [one.second for one in annotated if one.second is not None]
        tree[SECOND] = _plain(statistic(np.sum(matrices, axis=0)))
        intervals[SECOND] = _intervals(annotated, matrices, statistic, resamples, seed)
    extra = extra_scores(scores, labels)
    if extra:
        tree[EXTRA] = extra
    steps = step_scores(scores, labels)
    if steps:
        tree[STEPS] = steps
    if threshold is not None:
        tree["threshold"] = rounded(threshold)
    if resamples:
        tree[UNCERTAINTY] = intervals
    areas = area_scores(scores, labels)
    if areas:
        tree[AREAS] = areas
    return tree


def step_scores(scores: Sequence[ImageScore], labels: LabelSet) -> dict[str, Any]:
    """Return the main scores after each step of the inference, ``1_network`` first: what each step is worth."""
    return {
        f"{number}_{name}": _main_scores(np.sum([one.steps[name] for one in scores], axis=0), labels)
        for number, name in enumerate(scores[0].steps, 1)
    }


def area_scores(scores: Sequence[ImageScore], labels: LabelSet) -> dict[str, Any]:
    """Return the main scores ``inside`` the valid-area masks and on the ``whole`` images; empty without masks."""
    if not any(one.areas for one in scores):
        return {}
    return {
        name: _main_scores(np.sum([one.areas.get(name, one.confusion) for one in scores], axis=0), labels)
        for name in ("inside", "whole")
    }


def _main_scores(total: npt.NDArray[np.int64], labels: LabelSet) -> dict[str, Any]:
    flat = flatten(all_scores(total, class_keys=labels.keys))
    names = [key for key in ("foreground.Dice", "mDice", "mIoU") if key in flat]
    return _plain({key.rsplit(".", maxsplit=1)[-1]: flat[key] for key in names})


def extra_scores(scores: Sequence[ImageScore], labels: LabelSet) -> dict[str, Any]:
    """Return the measures beyond the confusion matrix.

    Shape scores are means over the images in which they are defined, AUC and AP are of all pixels; sets of more than
    two classes have each by class and its mean over classes. ECE is of all pixels.
    """
    by_class = [_shapes_of_class(scores, c) | _ranking_of_class(scores, c) for c in range(labels.num_classes)]
    if labels.num_classes == 2:
        tree: dict[str, Any] = dict(by_class[1])
    else:
        names = list(dict.fromkeys(name for found in by_class for name in found))
        tree = {name: _mean([found[name] for found in by_class if name in found]) for name in names}
        tree["per_class"] = dict(zip(labels.keys, by_class, strict=True))
    counts = reliability(scores)
    if counts is not None:
        tree["ECE"] = calibration_error(counts)
    return _plain(tree)


def reliability(scores: Sequence[ImageScore]) -> npt.NDArray[np.float64] | None:
    """Return the counts of the reliability diagram over all images; None where they were not asked for."""
    parts = [one.extras.reliability for one in scores if one.extras.reliability is not None]
    return np.sum(parts, axis=0) if parts else None


def _shapes_of_class(scores: Sequence[ImageScore], c: int) -> dict[str, float]:
    return {name: _mean([one.extras.shapes[name][c] for one in scores]) for name in scores[0].extras.shapes}


def _ranking_of_class(scores: Sequence[ImageScore], c: int) -> dict[str, float]:
    parts = [one.extras.ranks[c] for one in scores if one.extras.ranks is not None]
    return ranking_scores(np.sum(parts, axis=0)) if parts else {}


def _mean(values: Sequence[float]) -> float:
    defined = [value for value in values if not math.isnan(value)]
    return math.fsum(defined) / len(defined) if defined else math.nan


def total_confusion(scores: Sequence[ImageScore]) -> npt.NDArray[np.int64]:
    """Return the C x C matrix of all images."""
    total: npt.NDArray[np.int64] = np.sum([one.confusion for one in scores], axis=0)
    return total


def per_image_rows(scores: Sequence[ImageScore], labels: LabelSet) -> list[Row]:
    """Return one row an image: name, group, size, scored pixels, overall and foreground scores, IoU of each class."""
    annotated = any(one.second is not None for one in scores)
    rows = []
    for one in scores:
        found = flatten(all_scores(one.confusion, class_keys=labels.keys))
        row: Row = {
            "id": one.id,
            "group": one.group,
            "height": one.size[0],
            "width": one.size[1],
            "scored_px": int(one.confusion.sum()),
        }
        row |= {key: rounded(found[f"foreground.{key}"]) for key in _foreground_names(labels)}
        row |= {key: rounded(found[key]) for key in ("aAcc", "mIoU", "mAcc", "mDice")}
        row |= _second_score(one, labels) if annotated else {}
        row |= {f"IoU_{key}": rounded(found[f"per_class.{key}.IoU"]) for key in labels.keys}
        row |= _extra_columns(one, labels)
        row |= count_columns(one.confusion, labels)
        rows.append(row)
    return rows


def count_columns(confusion: npt.NDArray[np.int64], labels: LabelSet) -> Row:
    """Return the pixels of each class that are right, labelled and predicted: all that any score is made of."""
    counts = {"hits": np.diagonal(confusion), "labelled": confusion.sum(1), "predicted": confusion.sum(0)}
    return {f"{what}_{key}": int(counts[what][i]) for i, key in enumerate(labels.keys) for what in COUNTS}


def _extra_columns(one: ImageScore, labels: LabelSet) -> Row:
    chosen = slice(1, None) if labels.num_classes == 2 else slice(None)
    return {name: rounded(_mean(values[chosen].tolist())) for name, values in one.extras.shapes.items()}


def per_class_rows(scores: Sequence[ImageScore], labels: LabelSet, tree: Mapping[str, Any]) -> list[Row]:
    """Return one row a class: pixels, share, every score, intervals of IoU and Dice, the second annotator's."""
    total = total_confusion(scores)
    by_class = class_scores(total, beta=1)
    intervals = tree.get(UNCERTAINTY, {}).get("per_class", {})
    second = tree.get(SECOND, {}).get("per_class", {})
    rows = []
    for i, (name, key) in enumerate(zip(labels.class_names, labels.keys, strict=True)):
        pixels = int(total[i].sum())
        row: Row = {"class": name, "pixels": pixels, "share": rounded(pixels / total.sum())}
        for score, values in by_class.items():
            row[score] = rounded(values[i])
            if score in {"IoU", "Dice"} and intervals:
                bounds = intervals.get(key, {}).get(score, {})
                row |= {f"{score}_{end}": bounds.get(end) for end in ("low", "high")}
        if SECOND in tree:
            row |= {f"second_{score}": second.get(key, {}).get(score) for score in ("IoU", "Dice")}
        rows.append(row)
    return rows


def confusion_rows(confusion: npt.NDArray[np.int64], class_names: Sequence[str]) -> list[Row]:
    """Return one row a cell: actual, predicted, count (pixels)."""
    return [
        {"actual": actual, "predicted": predicted, "count": int(confusion[i, j])}
        for i, actual in enumerate(class_names)
        for j, predicted in enumerate(class_names)
    ]


def ranking_score(row: Row) -> float:
    """Return the score by which images are ranked: Dice of the foreground, or mIoU, or aAcc where that is undefined.

    An image without foreground and without false alarms has no Dice; its aAcc is 1.
    """
    for name in (ranking_name(row), "aAcc"):
        value = row.get(name)
        if isinstance(value, int | float):
            return float(value)
    return math.nan


def ranking_name(row: Row) -> str:
    """Return which column ``ranking_score`` reads."""
    return "Dice" if "Dice" in row else "mIoU"


def write_csv(path: Path, rows: Sequence[Row]) -> None:
    """Write rows as CSV: columns as in the first row, None as an empty field."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, stream.getvalue())


def rounded(value: Any) -> float | None:
    """Return a plain float of six decimals, None for nan."""
    number = float(value)
    return None if math.isnan(number) else round(number, _DECIMALS)


def _foreground_names(labels: LabelSet) -> Iterable[str]:
    return ("Dice", "sensitivity", "specificity") if labels.num_classes == 2 else ()


def _second_score(one: ImageScore, labels: LabelSet) -> Row:
    name, leaf = ("Dice", "foreground.Dice") if labels.num_classes == 2 else ("mIoU", "mIoU")
    if one.second is None:
        return {f"second_{name}": None}
    return {f"second_{name}": rounded(flatten(all_scores(one.second, class_keys=labels.keys))[leaf])}


def _intervals(
    scores: Sequence[ImageScore], matrices: Sequence[npt.NDArray[np.int64]], statistic: Any, resamples: int, seed: int
) -> dict[str, Any]:
    """Return the tree of ``{"low": ..., "high": ...}``; empty without resamples."""
    if not resamples:
        return {}
    found = bootstrap_intervals(
        np.stack(matrices),
        statistic=statistic,
        groups=[one.group for one in scores],
        resamples=resamples,
        level=LEVEL,
        seed=seed,
    )
    tree: dict[str, Any] = {}
    for name, (low, high) in found.items():
        *parents, leaf = name.split(".")
        branch = tree
        for parent in parents:
            branch = branch.setdefault(parent, {})
        branch[leaf] = {"low": rounded(low), "high": rounded(high)}
    return tree


def _plain(tree: dict[str, Any]) -> dict[str, Any]:
    """Return the tree with rounded floats, without what is nan and without branches left empty."""
    plain: dict[str, Any] = {}
    for name, value in tree.items():
        kept = _plain(value) if isinstance(value, dict) else rounded(value)
        if kept is not None and kept != {}:
            plain[name] = kept
    return plain
