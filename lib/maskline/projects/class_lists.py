"""Names of classes in the files that tools and contests put beside masks."""

import csv
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from maskline.convert.format_parts.tree import Tree
from maskline.data.labels import Rgb
from maskline.projects.mask_meaning import IGNORED, Wishes
from maskline.projects.mask_survey import Survey, Value

_MOST_BYTES = 1 << 20
_VOID = 255

_TABLE = re.compile(r".*(?:class|label|color|colour|palette).*\.csv")
_LINES = re.compile(r"(?:classes|class_names|labels|label_names|categories|label_?colors|labelmap)\.txt")
_DOCUMENTS = re.compile(
    r"(?:dataset|obj_class_to_machine_color|config(?:_v[\d.]+)?|classes|labels|label_map|id2label)\.json"
)
_MACHINE = "obj_class_to_machine_color.json"
_COLOR_LINE = re.compile(r"(\d{1,3})[\s,]+(\d{1,3})[\s,]+(\d{1,3})[\s,]+(\S.*)")
_NAME_COLOR_LINE = re.compile(r"([^:]+):(\d{1,3}),(\d{1,3}),(\d{1,3})(?::.*)?")
_NUMBER_LINE = re.compile(r"(\d{1,5})[\s:,=]+(\S.*)")


class _Entry(NamedTuple):
    """A class of a file: its name, and its value or its color, where the file has them."""

    name: str
    value: int | None = None
    color: Rgb | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """What the files say.

    Args:
        wish: Names and values, as if the user had given them; None: no file names all that the masks hold.
        remarks: Which file was taken, and which were not.
    """

    wish: Wishes | None
    remarks: list[str]


def read(tree: Tree, seen: Survey) -> Listed:
    """Return the names of the values or colors that the masks hold.

    Files: ``_classes.csv`` of Roboflow (Pixel Value, Class); tables of name, r, g, b, such as ``class_dict.csv``; a
    name a line, such as ``classes.txt`` and ``labels.txt``; ``label_colors.txt`` (R G B NAME) and ``labelmap.txt``
    (NAME:R,G,B::); nnU-Net's ``dataset.json``, Supervisely's ``obj_class_to_machine_color.json``, Mapillary's
    ``config_v1.2.json``. Colors are those of the masks or of their palettes, or grays that are the values; else the
    rows of a file are the ids from 0.

    Args:
        tree: The set.
        seen: What the masks hold.
    """
    taken: tuple[PurePosixPath, dict[Value, str]] | None = None
    remarks = []
    for place in tree.places:
        entries = _entries(tree.folder / place, place.name.lower())
        if len({entry.name for entry in entries}) < 2:
            continue
        named = _fitting(entries, seen)
        if named is None:
            problem = f"{place} names {len(entries)} classes, which do not fit what the masks hold: not used"
            remarks.append(f"{problem}; --class NAME=VALUE for each names them")
        elif taken is None:
            taken = place, named
        elif any(named.get(value) != taken[1].get(value) for value in seen.pixels):
            remarks.append(f"{place} has other names of classes than {taken[0]}: not used")
    if taken is None:
        return Listed(wish=None, remarks=remarks)
    return Listed(wish=_wish(taken[1], seen), remarks=[f"names of classes from {taken[0]}", *remarks])


def _wish(named: Mapping[Value, str], seen: Survey) -> Wishes:
    """Return names in the order of ids where all ids from 0 have one, else each name with its value."""
    never = tuple(value for value in seen.pixels if value not in named)  # 255
    never += tuple(value for value, name in named.items() if name.lower() == IGNORED)
    values = {value: name for value, name in named.items() if value not in never}
    ids = [value for value in seen.pixels if value != _VOID]
    plain = set(never) <= {_VOID} and list(values) == list(range(len(values))) and ids[-1:] == [len(values) - 1]
    if seen.kind != "color" and plain and len(set(values.values())) == len(values):
        return Wishes(names=tuple(values.values()))
    return Wishes(values=values, ignored=never)


def _fitting(entries: Sequence[_Entry], seen: Survey) -> dict[Value, str] | None:
    """Return value -> name; None: something that the masks hold has none."""
    held = [value for value in seen.pixels if value != _VOID or seen.kind == "color"]
    for way in (_by_value, _by_palette, _by_gray, _by_row):
        named = way(entries, seen)
        if named and all(value in named for value in seen.pixels):
            return named
        if named and way is not _by_gray and len(held) >= 2 and all(value in named for value in held):
            return named  # and 255, which never counts
    return None


def _by_value(entries: Sequence[_Entry], seen: Survey) -> dict[Value, str]:
    if seen.kind == "color":
        return {entry.color: entry.name for entry in entries if entry.color is not None}
    return {entry.value: entry.name for entry in entries if entry.value is not None}


def _by_palette(entries: Sequence[_Entry], seen: Survey) -> dict[Value, str]:
    if seen.kind != "palette":
        return {}
    names = {entry.color: entry.name for entry in entries if entry.color is not None}
    return {value: names[color] for value, color in sorted(seen.palette.items()) if color in names}


def _by_gray(entries: Sequence[_Entry], seen: Survey) -> dict[Value, str]:
    if seen.kind != "gray":
        return {}
    return {entry.color[0]: entry.name for entry in entries if entry.color is not None and len(set(entry.color)) == 1}


def _by_row(entries: Sequence[_Entry], seen: Survey) -> dict[Value, str]:
    if seen.kind == "color" or any(entry.value is not None for entry in entries):
        return {}
    if len(entries) == 2 and list(seen.pixels) == [0, _VOID]:
        return {0: entries[0].name, _VOID: entries[1].name}
    return {number: entry.name for number, entry in enumerate(entries)}


def _entries(path: Path, name: str) -> list[_Entry]:
    """Return the classes of a file; empty: it is no list of classes."""
    kinds: tuple[tuple[re.Pattern[str], Callable[[str, str], list[_Entry]]], ...] = (
        (_TABLE, _of_table),
        (_LINES, _of_lines),
        (_DOCUMENTS, _of_document),
    )
    parse = next((parse for pattern, parse in kinds if pattern.fullmatch(name)), None)
    if parse is None or path.stat().st_size > _MOST_BYTES:
        return []
    try:
        entries = parse(path.read_text(encoding="utf-8-sig", errors="replace"), name)
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError, csv.Error):
        return []
    return [entry for entry in entries if entry.color is None or max(entry.color) <= 255]


def _of_table(text: str, _: str) -> list[_Entry]:
    header, *rows = ([cell.strip() for cell in row] for row in csv.reader(text.splitlines()) if row)
    cells = [dict(zip([name.lower() for name in header], row, strict=True)) for row in rows]
    if cells and "pixel value" in cells[0]:
        return [_Entry(row["class"], value=int(row["pixel value"])) for row in cells]
    return [_Entry(row["name"], color=(int(row["r"]), int(row["g"]), int(row["b"]))) for row in cells]


def _of_lines(text: str, _: str) -> list[_Entry]:
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    for pattern, entry in (
        (_COLOR_LINE, lambda red, green, blue, name: _Entry(name, color=(int(red), int(green), int(blue)))),
        (_NAME_COLOR_LINE, lambda name, red, green, blue: _Entry(name, color=(int(red), int(green), int(blue)))),
        (_NUMBER_LINE, lambda value, name: _Entry(name, value=int(value))),
    ):
        matches = [pattern.fullmatch(line) for line in lines]
        if all(matches):
            return [entry(*match.groups()) for match in matches if match is not None]
    return [_Entry(line) for line in lines if line != "__ignore__"]  # labelme's, of what is not in the masks


def _of_document(text: str, name: str) -> list[_Entry]:
    content: Any = json.loads(text)
    content = content["labels"] if isinstance(content, dict) and "labels" in content else content
    if isinstance(content, list):
        return [
            _Entry(each)
            if isinstance(each, str)
            else _Entry(str(each.get("name") or each["readable"]), color=tuple(map(int, each["color"])))  # type: ignore[arg-type]
            for each in content
        ]
    if all(key.isdigit() for key in content):
        return [_Entry(str(named), value=int(key)) for key, named in content.items()]
    entries = [_Entry(key, value=_number(stored)) for key, stored in content.items()]
    if name == _MACHINE and all(entry.value != 0 for entry in entries):
        entries = [_Entry("background", value=0), *entries]  # where Supervisely draws nothing
    return entries


def _number(stored: Any) -> int:
    """Return a value, which may be written as a gray color."""
    first, *rest = stored if isinstance(stored, list) else [stored]
    if any(other != first for other in rest):
        raise ValueError("a color, or a region of several values")
    return int(first)
