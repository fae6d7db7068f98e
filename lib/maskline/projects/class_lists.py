"""Names of classes in the tables that tools and contests put beside masks."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from maskline.convert.format_parts.tree import Tree
from maskline.projects.mask_meaning import Wishes
from maskline.projects.mask_survey import Survey, Value

_MOST_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """What a table says.

    Args:
        place: The file.
        wish: Its names and values, as if the user had given them.
    """

    place: str
    wish: Wishes


def read(tree: Tree, seen: Survey) -> Listed | None:
    """Return the names of the values or colors that the masks hold; None: no table names them all.

    Tables: ``_classes.csv`` of Roboflow's masks (Pixel Value, Class), and ``class_dict.csv`` (name, r, g, b).

    Args:
        tree: The set.
        seen: What the masks hold.
    """
    for place in (place for place in tree.places if place.name.lower() in ("_classes.csv", "class_dict.csv")):
        values = _values(tree.folder / place)
        named = {value: name for value, name in values.items() if value in seen.pixels}
        if len(named) == len(seen.pixels) and len(set(values.values())) >= 2:
            return Listed(place=place.as_posix(), wish=Wishes(values=values))
    return None


def _values(path: Path) -> dict[Value, str]:
    """Return value or color -> name; empty: no such table."""
    if path.stat().st_size > _MOST_BYTES:
        return {}
    try:
        with path.open(encoding="utf-8-sig", errors="replace", newline="") as stream:
            header, *rows = ([cell.strip() for cell in row] for row in csv.reader(stream) if row)
            return dict(entry for row in rows if (entry := _entry([name.lower() for name in header], row)))
    except (ValueError, IndexError, csv.Error):
        return {}


def _entry(header: Sequence[str], row: Sequence[str]) -> tuple[Value, str]:
    cells = dict(zip(header, row, strict=True))
    if "pixel value" in cells:
        return int(cells["pixel value"]), cells["class"]
    red, green, blue = (int(cells[name]) for name in ("r", "g", "b"))
    return (red, green, blue), cells["name"]
