"""What the page says beyond the main scores: areas, steps, measures, calibration; each only where a run has it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from maskline.evaluation.page.charts import Chart, Curves, plain_chart
from maskline.evaluation.page.tree import AREAS, EXTRA, STEPS
from maskline.metrics.extra import known_scores
from maskline.metrics.scores_table import SECOND, UNCERTAINTY

_AREA_NAMES = {"inside": "inside the valid area", "whole": "whole image"}
_STEP_NAMES = {
    "network": "network alone",
    "views": "with test-time augmentation",
    "crf": "with the dense CRF",
    "threshold": "with the threshold",
    "cleanup": "with clean-up",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """A score with its interval and the human reference.

    Args:
        value: None where not defined.
        low: Lower end of the interval; None: none.
        high: Upper end.
        human: The second observer's; None: none.
    """

    value: float | None
    low: float | None
    high: float | None
    human: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SmallTable:
    """A table of scores with a name for each row.

    Args:
        title: What it shows.
        columns: Names of the scores.
        rows: Name and scores.
        notes: Name of a row and what it says; empty: nothing more is to be said.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Cell, ...]], ...]
    notes: tuple[tuple[str, str], ...] = ()


def small_tables(metrics: Mapping[str, Any]) -> Iterator[SmallTable]:
    """Yield the tables that a tree of metrics has."""
    if AREAS in metrics:
        columns = _leaves(next(iter(metrics[AREAS].values())))
        rows = [
            (text, tuple(_cell(metrics, (AREAS, name, column)) for column in columns))
            for name, text in _AREA_NAMES.items()
        ]
        yield SmallTable(title="Valid area", columns=columns, rows=tuple(rows))
    if STEPS in metrics:
        columns = _leaves(next(iter(metrics[STEPS].values())))
        rows = [
            (
                _STEP_NAMES[name.split("_", maxsplit=1)[1]],
                tuple(_cell(metrics, (STEPS, name, column)) for column in columns),
            )
            for name in metrics[STEPS]
        ]
        yield SmallTable(title="What each step of the inference is worth", columns=columns, rows=tuple(rows))
    if _leaves(metrics.get(EXTRA, {})):
        yield _measures(metrics)


def conventions_table(rows: Sequence[Mapping[str, Any]]) -> Iterator[SmallTable]:
    """Yield the table of ``maskline.evaluation.conventions.rows``; nothing without rows."""
    if not rows:
        return
    named = ("convention", "rule", "area", "size", "average", "images")
    columns = tuple(name for name in rows[0] if name not in named)
    yield SmallTable(
        title="Under every convention",
        columns=columns,
        rows=tuple(
            (row["convention"], tuple(Cell(value=row[name], low=None, high=None, human=None) for name in columns))
            for row in rows
        ),
    )


def _measures(metrics: Mapping[str, Any]) -> SmallTable:
    """Return the measures, by area where a set has masks."""
    areas = {text: (AREAS, name, EXTRA) for name, text in _AREA_NAMES.items() if _at(metrics, (AREAS, name, EXTRA))}
    places = areas if areas else {"value": (EXTRA,)}
    scores = [known_scores()[key] for key in _leaves(metrics[EXTRA])]
    rows = [(score.title, tuple(_cell(metrics, (*place, score.key)) for place in places.values())) for score in scores]
    return SmallTable(
        title="Beyond the confusion matrix",
        columns=tuple(places),
        rows=tuple(rows),
        notes=tuple((score.title, score.note) for score in scores),
    )


def _leaves(tree: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(name for name, value in tree.items() if not isinstance(value, Mapping))


def _cell(metrics: Mapping[str, Any], path: tuple[str, ...]) -> Cell:
    ends = _at(metrics, (UNCERTAINTY, *path)) or {}
    return Cell(
        value=_at(metrics, path), low=ends.get("low"), high=ends.get("high"), human=_at(metrics, (SECOND, *path))
    )


def _at(tree: Any, path: tuple[str, ...]) -> Any:
    for key in path:
        tree = tree.get(key) if isinstance(tree, Mapping) else None
    return tree


def reliability_chart(counts: npt.NDArray[np.float64]) -> Chart:
    """Return accuracy over confidence, bin by bin, beside the line on which both are equal.

    Args:
        counts: As ``maskline.metrics.measures.probabilities.calibration`` returns them.
    """
    pixels, confidence, right = (part[counts[0] > 0] for part in counts)
    mean = [round(float(value), 6) for value in confidence / pixels]
    accuracy: list[float | None] = [round(float(value), 6) for value in right / pixels]
    curves: Curves = {
        "confidence": [0.0, *mean, 1.0],
        "accuracy": [None, *accuracy, None],
        "equal": [0.0, *mean, 1.0],
    }
    return plain_chart("Reliability", "probability of the chosen class", curves)
