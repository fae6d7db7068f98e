"""The curves of a run that is training, for a terminal."""

from collections.abc import Sequence
from pathlib import Path

from maskline.core.files import read_rows

_BLOCKS = "▁▂▃▄▅▆▇█"
_TABLES = {"steps.csv": ("loss", "lr"), "curves.csv": ("val_loss", "mIoU", "mDice")}


def find(folder: Path, name: str | None) -> Path | None:
    """Return the folder of a run; without a name that of the run that has measured last; None: there is none."""
    runs = [path for path in folder.glob("*") if any((path / table).is_file() for table in _TABLES)]
    if name is not None:
        return next((path for path in runs if path.name == name), None)
    return max(runs, key=_changed, default=None)


def curves(folder: Path) -> dict[str, list[float]]:
    """Return name -> values of what has been measured."""
    found: dict[str, list[float]] = {}
    for table, names in _TABLES.items():
        rows = _rows(folder / table)
        for name in names:
            values = [float(row[name]) for row in rows if row.get(name)]
            if values:
                found[name] = values
    return found


def progress(folder: Path) -> str:
    """Return in words how far a run has come."""
    last = max((float(row["iteration"]) for table in _TABLES for row in _rows(folder / table)), default=0.0)
    return f"{last:.0f} iterations"


def sparkline(values: Sequence[float], *, width: int) -> str:
    """Return a line of blocks as high as the values, the newest at the right; several values of one block averaged."""
    count = min(width, len(values))
    parts = [values[i * len(values) // count : (i + 1) * len(values) // count] for i in range(count)]
    means = [sum(part) / len(part) for part in parts]
    low, high = min(means), max(means)
    scale = (len(_BLOCKS) - 1) / (high - low) if high > low else 0.0
    return "".join(_BLOCKS[round((mean - low) * scale)] for mean in means)


def _rows(path: Path) -> list[dict[str, str]]:
    """Return the rows of a table; empty where the run has just ended, the last one left out while it is written."""
    try:
        rows = read_rows(path, remedy="train again (dvc repro -f train)")
    except FileNotFoundError:
        return []
    return [row for row in rows if None not in row.values() and row.get("iteration")]


def _changed(folder: Path) -> float:
    return max((path.stat().st_mtime for path in folder.glob("*.csv")), default=0.0)
