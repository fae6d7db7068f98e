"""The numbers of an evaluation as rows, ready for files: rounded, finite, in a fixed order."""

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from maskline.core.files import write_text
from maskline.core.text import cell, chart_cell
from maskline.data.labels import LabelSet
from maskline.evaluation.page.tree import rounded, total_confusion
from maskline.evaluation.scoring import ImageScore
from maskline.metrics.extra_scores import extra_scores
from maskline.metrics.scores import all_scores, class_scores, flatten
from maskline.metrics.scores_table import SECOND, UNCERTAINTY

# Columns of per_image.csv, one a class: what every score derives from, so that two runs can be compared.
COUNTS = ("hits", "labelled", "predicted")

Row = dict[str, str | int | float | None]


def per_image_rows(scores: Sequence[ImageScore], labels: LabelSet) -> list[Row]:
    """Return one row an image: name, group, size, scored pixels, overall and foreground scores, IoU of each class."""
    annotated = any(one.second is not None for one in scores)
    rows = []
    for one in scores:
        flat = flatten(all_scores(one.confusion, class_keys=labels.keys))
        row: Row = {
            "id": one.id,
            "group": one.group,
            "height": one.size[0],
            "width": one.size[1],
            "scored_px": int(one.confusion.sum()),
        }
        row |= {key: rounded(flat[f"foreground.{key}"]) for key in _foreground_names(labels)}
        row |= {key: rounded(flat[key]) for key in ("aAcc", "mIoU", "mAcc", "mDice")}
        row |= _second_score(one, labels) if annotated else {}
        row |= {f"IoU_{key}": rounded(flat[f"per_class.{key}.IoU"]) for key in labels.keys}
        row |= _extra_columns(one, labels)
        row |= count_columns(one.confusion, labels)
        rows.append(row)
    return rows


def count_columns(confusion: npt.NDArray[np.int64], labels: LabelSet) -> Row:
    """Return the pixels of each class that are right, labelled and predicted: all that any score is made of."""
    counts = {"hits": np.diagonal(confusion), "labelled": confusion.sum(1), "predicted": confusion.sum(0)}
    return {f"{what}_{key}": int(counts[what][i]) for i, key in enumerate(labels.keys) for what in COUNTS}


def _extra_columns(one: ImageScore, labels: LabelSet) -> Row:
    shapes = replace(one.own.extras, counts={})
    scores = extra_scores([shapes], class_keys=labels.keys, weights=np.ones((1, 1)))
    return {key: rounded(value[0]) for key, value in scores.items() if key != "per_class"}


def per_class_rows(scores: Sequence[ImageScore], labels: LabelSet, tree: Mapping[str, Any]) -> list[Row]:
    """Return one row a class: pixels, share, every score, intervals of IoU and Dice, the second observer's."""
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
    writer.writerows({name: _safe(name, value) for name, value in row.items()} for row in rows)
    write_text(path, stream.getvalue())


def _safe(column: str, value: str | int | float | None) -> str | int | float | None:
    """Return what no spreadsheet and no chart of DVC's takes for a command; ids can be read back."""
    if not isinstance(value, str):
        return value
    return cell(value) if column in {"id", "group"} else chart_cell(value)


def _foreground_names(labels: LabelSet) -> Iterable[str]:
    return ("Dice", "sensitivity", "specificity") if labels.num_classes == 2 else ()


def _second_score(one: ImageScore, labels: LabelSet) -> Row:
    name, leaf = ("Dice", "foreground.Dice") if labels.num_classes == 2 else ("mIoU", "mIoU")
    if one.second is None:
        return {f"second_{name}": None}
    return {f"second_{name}": rounded(flatten(all_scores(one.second.confusion, class_keys=labels.keys))[leaf])}
