"""The scores of an evaluation as a table, one row a score, and the tree that they are in the program."""

import csv
import io
from collections.abc import Iterator, Mapping
from typing import Any

from maskline.core.errors import DataError

UNCERTAINTY = "uncertainty_95"
SECOND = "second_annotator"
PROMISE = "guarantee"
"""The branch of a promise: ``at_most``, ``images`` that chose the threshold, and ``miss_rate`` seen."""

_COLUMNS = ("score", "value", "low", "high", "second", "second_low", "second_high")
_SHORT = ("aAcc", "mIoU", "mDice")

Tree = dict[str, Any]


def short(tree: Mapping[str, Any], *, by_class: bool) -> Tree:
    """Return what DVC shows of an evaluation: four scores, which are also in the table.

    They are aAcc, mIoU, mDice and, of two classes, Dice of the foreground, else mAcc; each only where it is defined.

    Args:
        tree: All scores.
        by_class: IoU of each class too, under ``per_class``.
    """
    kept: Tree = {name: tree[name] for name in _SHORT if name in tree}
    if "foreground" in tree:
        kept["foreground"] = {"Dice": tree["foreground"]["Dice"]} if "Dice" in tree["foreground"] else {}
    elif "mAcc" in tree:
        kept["mAcc"] = tree["mAcc"]
    if by_class:
        classes = tree.get("per_class", {})
        kept["per_class"] = {key: {"IoU": scores["IoU"]} for key, scores in classes.items() if "IoU" in scores}
    return kept


def to_csv(tree: Mapping[str, Any]) -> str:
    """Return the table: dotted name, value, interval, and the same of the second annotator; empty: there is none."""
    plain = {name: branch for name, branch in tree.items() if name not in {UNCERTAINTY, SECOND}}
    sure = dict(tree.get(UNCERTAINTY, {}))
    second, second_sure = tree.get(SECOND, {}), sure.pop(SECOND, {})
    columns = [dict(_leaves(part)) for part in (plain, second)]
    ends = [dict(_leaves(part)) for part in (sure, second_sure)]
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for name in dict.fromkeys([*columns[0], *columns[1]]):
        cells: list[Any] = []
        for values, intervals in zip(columns, ends, strict=True):
            cells += [values.get(name), intervals.get(f"{name}.low"), intervals.get(f"{name}.high")]
        writer.writerow([name, *("" if cell is None else cell for cell in cells)])
    return stream.getvalue()


def from_csv(text: str, *, place: object) -> Tree:
    """Return the tree of scores that ``to_csv`` was given; ends of intervals that were None are left out.

    Args:
        text: The table.
        place: What to name in an error.

    Raises:
        DataError: It is no such table.
    """
    reader = csv.DictReader(io.StringIO(text))
    tree: Tree = {}
    try:
        if tuple(reader.fieldnames or ()) != _COLUMNS:
            raise ValueError("its columns are others")
        for row in reader:
            paths = {
                "value": row["score"],
                "low": f"{UNCERTAINTY}.{row['score']}.low",
                "high": f"{UNCERTAINTY}.{row['score']}.high",
                "second": f"{SECOND}.{row['score']}",
                "second_low": f"{UNCERTAINTY}.{SECOND}.{row['score']}.low",
                "second_high": f"{UNCERTAINTY}.{SECOND}.{row['score']}.high",
            }
            for column, path in paths.items():
                if row[column]:
                    _put(tree, path, float(row[column]))
    except (TypeError, ValueError, csv.Error) as error:
        raise DataError(place, f"not a table of scores ({error})", "evaluate again (dvc repro evaluate)") from error
    return tree


def _put(tree: Tree, path: str, value: float) -> None:
    *parents, leaf = path.split(".")
    for parent in parents:
        tree = tree.setdefault(parent, {})
    tree[leaf] = value


def _leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def promise_sentences(promise: Mapping[str, Any], *, threshold: float, scored: str) -> list[str]:
    """Return what was promised, on which condition, and what came of it, in three sentences.

    Args:
        promise: The branch of the scores.
        threshold: That was chosen.
        scored: What it was held against, as "the test split".
    """
    return [
        f"Promise: from probability {threshold:.4g} on, at most {promise['at_most']:.1%} of an image's foreground "
        f"pixels are missed, on average over new images; {promise['images']:g} images of the val split chose that "
        "threshold (conformal risk control).",
        "It holds for images that are drawn as those were and could stand in their place, on average over such draws: "
        "not for one image, and not for another camera, place or subject. Training kept the weights that were best on "
        "the val split, which makes the promise a little too good.",
        f"Seen on {scored}: {promise['miss_rate']:.1%}.",
    ]
