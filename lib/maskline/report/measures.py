"""What the page says beyond the main scores: areas, steps, measures, calibration; each only where a run has it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from maskline.report.charts import Chart, Curves, plain_chart
from maskline.report.tables import AREAS, EXTRA, STEPS

_AREA_NAMES = {"inside": "inside the valid area", "whole": "whole image"}
_STEP_NAMES = {
    "network": "network alone",
    "views": "with test-time augmentation",
    "crf": "with the dense CRF",
    "threshold": "with the threshold",
    "cleanup": "with clean-up",
}
_MEASURE_NAMES = {
    "boundary_IoU": "Boundary IoU",
    "boundary_F": "Boundary F",
    "HD95": "95 % Hausdorff distance, px",
    "ASD": "Average surface distance, px",
    "clDice": "clDice",
    "AUC": "Area under the ROC curve",
    "AP": "Average precision",
    "ECE": "Expected calibration error",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SmallTable:
    """A table of numbers with a name for each row.

    Args:
        title: What it shows.
        columns: Names of the numbers.
        rows: Name and numbers.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[float | None, ...]], ...]


def small_tables(metrics: Mapping[str, Any]) -> Iterator[SmallTable]:
    """Yield the tables that a tree of metrics has."""
    if AREAS in metrics:
        yield _table("Valid area", {_AREA_NAMES[name]: scores for name, scores in metrics[AREAS].items()})
    if STEPS in metrics:
        steps = {_STEP_NAMES[name.split("_", maxsplit=1)[1]]: scores for name, scores in metrics[STEPS].items()}
        yield _table("What each step of the inference is worth", steps)
    found = {_MEASURE_NAMES[name]: value for name, value in metrics.get(EXTRA, {}).items() if name in _MEASURE_NAMES}
    if found:
        rows = tuple((name, (float(value),)) for name, value in found.items())
        yield SmallTable(title="Boundaries, ranking, calibration", columns=("value",), rows=rows)


def reliability_chart(counts: npt.NDArray[np.float64]) -> Chart:
    """Return accuracy over confidence, bin by bin, beside the line on which both are equal.

    Args:
        counts: As ``maskline.metrics.probabilities.reliability_counts`` returns them.
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


def _table(title: str, rows: Mapping[str, Mapping[str, float]]) -> SmallTable:
    columns = tuple(next(iter(rows.values())))
    cells = tuple((name, tuple(scores.get(column) for column in columns)) for name, scores in rows.items())
    return SmallTable(title=title, columns=columns, rows=cells)
