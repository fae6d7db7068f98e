"""All that the reports of a run say in numbers, as tables for a terminal."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maskline.core.errors import DataError
from maskline.core.files import parse_rows
from maskline.metrics import scores_table
from maskline.metrics.scores_table import SECOND, UNCERTAINTY, Tree
from maskline.projects.revisions import read_at

Cells = Sequence[Any]

_BLOCKS = ("per_class", "steps", "measures", "valid_area")
_TITLES = {"steps": "After each step", "measures": "Measures", "valid_area": "By area"}
_CLASS_SCORES = ("IoU", "Acc", "Dice", "Precision")
_CURVES = ("iteration", "train_loss", "val_loss", "aAcc", "mIoU", "mAcc", "mDice")
_AGREEMENT = ("file", "cases", "disagreement", "mIoU_torch", "mIoU_exported", "bytes")
_LATENCY = ("model", "median_ms", "p95_ms", "ratio")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunScores:
    """What a run's reports say.

    Args:
        scores: All scores of the evaluation; see ``maskline.metrics.scores_table``.
        splits: Images and groups of each split, as convert counted them; empty: not known.
        curves: One row a validation; empty: not known.
        agreement: One row an exported file and group of images; empty: not known.
        latency: One row a timed model; empty: not known.
    """

    scores: Tree
    splits: Sequence[Mapping[str, Any]]
    curves: Sequence[Mapping[str, Any]]
    agreement: Sequence[Mapping[str, Any]]
    latency: Sequence[Mapping[str, Any]]

    def as_dict(self) -> dict[str, Any]:
        """Return plain types for JSON."""
        return {
            "scores": self.scores,
            "splits": list(self.splits),
            "curves": list(self.curves),
            "agreement": list(self.agreement),
            "latency": list(self.latency),
        }

    def tables(self) -> Iterator[tuple[str, list[Cells]]]:
        """Yield title and rows of each table that has something in it; the first row is the header."""
        blocks = {UNCERTAINTY, SECOND, *_BLOCKS}
        overall = {name: branch for name, branch in self.scores.items() if name not in blocks}
        yield "Scores", self._scores(overall)
        if classes := self.scores.get("per_class"):
            yield "Classes", self._classes(classes)
        for name, title in _TITLES.items():
            if name in self.scores:
                yield title, self._scores({name: self.scores[name]}, without=f"{name}.")
        for title, rows, columns in (
            ("Images", self.splits, ("split", "images", "groups")),
            ("Validations", self.curves, _CURVES),
            ("Exported files beside torch", self.agreement, _AGREEMENT),
            ("Times", self.latency, _LATENCY),
        ):
            if rows:
                known = [name for name in columns if name in rows[0]]
                yield title, [known, *([row.get(name) for name in known] for row in rows)]

    def _scores(self, branch: Tree, *, without: str = "") -> list[Cells]:
        human = SECOND in self.scores
        rows: list[Cells] = [["score", "value", "95 % interval", *(["second annotator"] if human else [])]]
        for path, value in _leaves(branch):
            second = [_at(self.scores.get(SECOND, {}), path)] if human else []
            rows.append([".".join(path).removeprefix(without), value, self._interval(path), *second])
        return rows

    def _classes(self, classes: Mapping[str, Any]) -> list[Cells]:
        human = SECOND in self.scores
        rows: list[Cells] = [["class", "IoU", "95 % interval", *_CLASS_SCORES[1:], *(["second IoU"] if human else [])]]
        for name, scores in classes.items():
            path = ("per_class", name, "IoU")
            second = [_at(self.scores.get(SECOND, {}), path)] if human else []
            others = [scores.get(key) for key in _CLASS_SCORES[1:]]
            rows.append([name, scores.get("IoU"), self._interval(path), *others, *second])
        return rows

    def _interval(self, path: tuple[str, ...]) -> str:
        ends = _at(self.scores.get(UNCERTAINTY, {}), path) or {}
        low, high = ends.get("low"), ends.get("high")
        return "" if low is None or high is None else f"{low:.4f} to {high:.4f}"


def read(revision: str, scores: Path, *, reports: Path) -> RunScores:
    """Return what the reports of a revision say; only the evaluation's table has to be there.

    Args:
        revision: See ``maskline.projects.revisions.read_at``.
        scores: The evaluation's table.
        reports: Folder of all reports.

    Raises:
        DataError: No such revision; it has no such table; a table cannot be read.
    """
    summary = _optional(revision, reports / "convert" / "summary.json")
    try:
        splits = json.loads(summary).get("splits", []) if summary else []
    except ValueError as error:
        raise DataError(
            reports / "convert" / "summary.json", "not JSON", "convert again (dvc repro convert)"
        ) from error
    return RunScores(
        scores=scores_table.from_csv(read_at(revision, scores), place=f"{revision}: {scores}"),
        splits=splits,
        curves=_rows(revision, reports / "train" / "curves.csv"),
        agreement=_rows(revision, reports / "export" / "agreement.csv"),
        latency=_rows(revision, reports / "export" / "latency.csv"),
    )


def _optional(revision: str, path: Path) -> str:
    try:
        return read_at(revision, path)
    except DataError:
        return ""


def _rows(revision: str, path: Path) -> list[dict[str, Any]]:
    place, remedy = f"{revision}: {path}", "restore it (git checkout), or run its stage again (dvc repro)"
    rows = parse_rows(_optional(revision, path), place=place, remedy=remedy)
    return [{name: _number(value) for name, value in row.items()} for row in rows]


def _number(text: str) -> str | int | float | None:
    if not text:
        return None
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _leaves(tree: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, (*path, name))
        else:
            yield (*path, name), value


def _at(tree: Any, path: tuple[str, ...]) -> Any:
    for key in path:
        tree = tree.get(key) if isinstance(tree, Mapping) else None
    return tree
