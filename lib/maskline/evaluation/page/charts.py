"""Line charts as numbers for SVG: points, ticks and labels in the drawing's own coordinates."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from maskline.core.errors import DataError
from maskline.core.files import read_rows

WIDTH, HEIGHT = 560, 280
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 20, 12, 38

# More lines than colors and dashes that one can tell apart are a thicket.
_MAX_LINES = 8

Curves = dict[str, list[float | None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """A mark on an axis: where, and what it says."""

    position: float
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One curve.

    Args:
        name: For the legend.
        path: SVG path; gaps where values are missing.
        points: x and y of each value with its text.
        last: Text of the last value.
    """

    name: str
    path: str
    points: tuple[tuple[float, float, str], ...]
    last: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """Curves over one axis.

    Args:
        title: What the curves are.
        x_name: What runs along the horizontal axis.
        lines: At least one.
        x_ticks: From left to right.
        y_ticks: From bottom to top.
        marker: Horizontal position of the chosen point; None: none.
    """

    title: str
    x_name: str
    lines: tuple[Line, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    marker: float | None


def read_curves(path: Path) -> Curves:
    """Read a CSV of numbers; empty fields become None.

    Raises:
        DataError: A field is no number, or the file has no rows, or is no table.
    """
    rows = read_rows(Path(path), remedy="train again (dvc repro -f train)")
    if not rows:
        raise DataError(path, "no rows", "train again (dvc repro -f train)")
    try:
        return {name: [float(row[name]) if row[name] else None for row in rows] for name in rows[0]}
    except (TypeError, ValueError) as error:
        raise DataError(path, f"not a table of numbers ({error})", "train again (dvc repro -f train)") from error


def training_charts(curves: Curves, *, best_metric: str) -> list[Chart]:
    """Return a chart each of the losses, the overall scores and the classes' scores, as far as there are any.

    Args:
        curves: Columns of the training's CSV; the first is the horizontal axis.
        best_metric: Column whose highest value is marked.
    """
    x_name, *names = curves
    losses = [name for name in names if "loss" in name]
    classes = [name for name in names if "_" in name and name not in losses]
    overall = [name for name in names if name not in {*losses, *classes, "lr"}]
    best = _argmax(curves.get(best_metric, []))
    few = classes if len(classes) <= _MAX_LINES else []
    groups = {"Loss": losses, "Scores on the validation split": overall, "IoU by class": few}
    return [_chart(title, x_name, curves, chosen, best) for title, chosen in groups.items() if _any(curves, chosen)]


def plain_chart(title: str, x_name: str, curves: Curves) -> Chart:
    """Return a chart of curves without a marker.

    Args:
        title: What the curves are.
        x_name: What runs along the horizontal axis.
        curves: The first column is the horizontal axis.
    """
    first, *names = curves
    return _chart(title, x_name, {x_name: curves[first], **{name: curves[name] for name in names}}, names, None)


def nice_ticks(low: float, high: float, *, about: int) -> list[float]:
    """Return round numbers from at or below ``low`` to at or above ``high``, some ``about`` of them."""
    span = max(high - low, 1e-12 * max(1.0, abs(high)))
    raw = span / about
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= raw * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [index * step for index in range(first, max(last, first + 1) + 1)]


def _chart(title: str, x_name: str, curves: Curves, names: Sequence[str], best: int | None) -> Chart:
    shown = [name for name in names if _any(curves, [name])]
    xs = [value for value in curves[x_name] if value is not None]
    ys = [value for name in shown for value in curves[name] if value is not None]
    y_values = nice_ticks(min(ys), max(ys), about=5)
    x_axis = _Axis(low=min(xs), high=max(xs), start=_LEFT, end=WIDTH - _RIGHT)
    y_axis = _Axis(low=y_values[0], high=y_values[-1], start=HEIGHT - _BOTTOM, end=_TOP)
    x_values = [x for x in nice_ticks(min(xs), max(xs), about=5) if min(xs) <= x <= max(xs)]
    marked = curves[x_name][best] if best is not None else None
    return Chart(
        title=title,
        x_name=x_name,
        lines=tuple(_line(name, curves[x_name], curves[name], x_axis, y_axis) for name in shown),
        x_ticks=tuple(Tick(position=x_axis.at(x), text=f"{x:g}") for x in x_values),
        y_ticks=tuple(Tick(position=y_axis.at(y), text=f"{y:.4g}") for y in y_values),
        marker=x_axis.at(marked) if marked is not None else None,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Axis:
    """A range of values and the range of coordinates it is drawn to."""

    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        """Return the coordinate of a value."""
        share = (value - self.low) / (self.high - self.low) if self.high > self.low else 0.5
        return round(self.start + share * (self.end - self.start), 2)


def _line(name: str, xs: Sequence[float | None], ys: Sequence[float | None], x_axis: _Axis, y_axis: _Axis) -> Line:
    points, steps, pen = [], [], "M"
    for x, y in zip(xs, ys, strict=True):
        if x is None or y is None:
            pen = "M"  # a gap
            continue
        points.append((x_axis.at(x), y_axis.at(y), f"{name} at {x:g}: {y:.4f}"))
        steps.append(f"{pen}{points[-1][0]:g} {points[-1][1]:g}")
        pen = "L"
    last = next(f"{y:.3f}" for y in reversed(ys) if y is not None)
    return Line(name=name, path=" ".join(steps), points=tuple(points), last=last)


def _argmax(values: Sequence[float | None]) -> int | None:
    known = [(value, -index) for index, value in enumerate(values) if value is not None]
    return -max(known)[1] if known else None


def _any(curves: Curves, names: Iterable[str]) -> bool:
    return any(value is not None for name in names for value in curves[name])
