"""Outlines in text files, as ultralytics' YOLO reads them and Roboflow and CVAT export them for segmentation.

    data.yaml                  optional: names, a list or a mapping of numbers; any name, where no other has names
    classes.txt                instead: a name a line; or notes.json with categories (Label Studio)
    train/images/a.jpg         or images/train/a.jpg; split folders train, val (valid) and test, or none
    train/labels/a.txt         lines of CLASS X Y X Y ..., shares of width and height; none: an image without objects

Classes: those of ``data.classes``; else background and the names of these files in their order; without one, numbers.
``data.mask_values`` joins and drops them. Later outlines cover earlier ones. Lines of five numbers are boxes without an
outline: they mark nothing, with a remark. Label files without an image are problems; other text files beside them are
left out, with a remark. Each image is a group.

Source: docs.ultralytics.com/datasets/segment (the program is AGPL-3.0; nothing of it is used here).
"""

import re
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskline.convert.format_parts import polygons
from maskline.convert.format_parts.annotations import Annotated, Drawn, source_set, with_splits
from maskline.convert.format_parts.documents import form_of, load_json, load_lines, load_yaml
from maskline.convert.format_parts.finding import visible
from maskline.convert.format_parts.labels_lost import LostLabels
from maskline.convert.format_parts.named_images import NamedImages
from maskline.convert.format_parts.tree import Tree
from maskline.convert.pairing import composed_place
from maskline.convert.records import LayoutSettings, SourceSet
from maskline.core.errors import DataError
from maskline.reading.images import IMAGE_SUFFIXES

_LINE = re.compile(rb"(?:\xef\xbb\xbf)?\s*\d+(?:\.0*)?(?:\s+-?(?:\d+(?:\.\d*)?|\.\d+)(?:e-?\d+)?){6,}\s*")
_LOOKED_AT = 5  # lines of a file
_FOLDER = "labels"
_LISTS = ("data.yaml", "data.yml", "dataset.yaml")
_NAMES, _NOTES = "classes.txt", "notes.json"


def read(folder: Path, settings: LayoutSettings) -> SourceSet:
    """Read the label files of all images.

    Raises:
        DataError: No image beside a folder of labels is there, or a damaged data.yaml.
    """
    named = NamedImages(folder)
    names, source = _names(folder)
    texts = {
        composed_place(place): path
        for path, place in visible(folder, (".txt",))
        if _FOLDER in place.parts[:-1] and place.name.lower() != _NAMES
    }
    lost = LostLabels("labels")
    images: list[Annotated] = []
    problems: list[DataError] = []
    for path, place in visible(folder, IMAGE_SUFFIXES):
        label = _label_place(place)
        if label is None:
            continue
        text = texts.pop(composed_place(label), None)
        try:
            objects = [] if text is None else _objects(text, label, (names, source), lost)
        except DataError as error:
            problems.append(error)
            continue
        images.append(
            Annotated(id=named.id(path), image=path, file=text or path, alone=text is not None, objects=objects)
        )
    if not images and not problems:
        raise DataError("yolo", "no images/ beside labels/ with text files", "give images, labels and data.yaml")
    others = {place for place, path in texts.items() if _is_other(path)}  # classes.txt
    problems += [
        DataError(place.as_posix(), "labels without an image", "add the image")
        for place in sorted(texts.keys() - others)
    ]
    remarks = [*lost.remarks(), *((place.as_posix(), "no label file: left out") for place in sorted(others))]
    used = {each.label for image in images for each in image.objects}
    declared = list(names.values()) or sorted(used, key=lambda name: (len(name), name))
    return source_set(with_splits(images, named), settings, declared=declared, problems=problems, remarks=remarks)


def recognise(tree: Tree) -> str | None:
    """Return why a folder is such a set; None: it is none."""
    for place in (place for place in tree.places if place.suffix.lower() == ".txt" and _FOLDER in place.parts[:-1]):
        with (tree.folder / place).open("rb") as stream:
            first = [stream.readline(1 << 16) for _ in range(_LOOKED_AT)]
        if any(map(_LINE.match, first)):
            return f"{place} has a class and the points of an outline in a line"
    return None


def _names(folder: Path) -> tuple[dict[int, str], str]:
    """Return number -> name, and the file that says so; empty: there is none.

    Raises:
        DataError: A damaged file, or two with different names.
    """
    listed = list(visible(folder, (".yaml", ".yml", ".txt", ".json")))
    usual = [(path, place) for path, place in listed if place.name.lower() in _LISTS]
    named = {place.name: _of_yaml(path, place) for path, place in usual[:1]}
    if not named:
        others = [(path, place) for path, place in listed if place.suffix.lower() in (".yaml", ".yml")]
        named = {place.as_posix(): _of_yaml(path, place) for path, place in others if _has_names(path, place)}
    for path, place in listed if not named else ():
        if place.name.lower() == _NAMES:
            named[place.as_posix()] = dict(enumerate(line.strip() for line in load_lines(path) if line.strip()))
    for path, place in listed if not named else ():
        if place.name.lower() == _NOTES:
            with form_of("Label Studio", place):
                entries = load_json(path, place)["categories"]
                named[place.as_posix()] = {int(each["id"]): str(each["name"]) for each in entries}
    places = list(named)
    odd = next((place for place in places[1:] if named[place] != named[places[0]]), None)
    if odd is not None:
        raise DataError(odd, f"other names of classes than {places[0]}", "remove the one that is not of this set")
    return (named[places[0]], places[0]) if named else ({}, "")


def _of_yaml(path: Path, place: PurePosixPath) -> dict[int, str]:
    with form_of("YOLO", place.name):
        listed: Any = load_yaml(path, place.name)["names"]
        pairs = listed.items() if isinstance(listed, dict) else enumerate(listed)
        return {int(number): str(name) for number, name in sorted(pairs)}


def _has_names(path: Path, place: PurePosixPath) -> bool:
    """Return whether a YAML file, of whatever program, lists names of classes."""
    try:
        content = load_yaml(path, place.name)
    except DataError:
        return False
    return isinstance(content, dict) and isinstance(content.get("names"), dict | list)


def _label_place(place: PurePosixPath) -> PurePosixPath | None:
    """Return where the labels of an image are: in the folder ``labels`` instead of the last one called ``images``."""
    parts = list(place.with_suffix(".txt").parts)
    at = next((i for i in range(len(parts) - 2, -1, -1) if parts[i].lower() == "images"), None)
    if at is None:
        return None
    parts[at] = _FOLDER
    return PurePosixPath(*parts)


def _objects(path: Path, place: PurePosixPath, named: tuple[dict[int, str], str], lost: LostLabels) -> list[Drawn]:
    (names, source), objects = named, []
    for number, line in enumerate(load_lines(path), start=1):
        where = f"{place} line {number}"
        with form_of("YOLO", where):
            cells = line.split()
            if not cells:
                continue
            label, values = _number(cells[0]), [float(cell) for cell in cells[1:]]
            if names and label not in names:
                raise DataError(where, f"class {label}, which {source} does not name", "add it to the names")
            name = names.get(label, f"class_{label}")
            lost.seen(name)
            if len(values) == 4:
                lost.lost(name, "without an outline (boxes)")
                continue
            if len(values) == 2:
                lost.lost(name, "of too few points")
                continue
            if len(values) < 6 or len(values) % 2:
                raise DataError(where, f"{len(values)} coordinates", "export for segmentation, with outlines")
            objects.append(Drawn(name, partial(_area, shares=list(zip(values[::2], values[1::2], strict=True)))))
    return objects


def _number(text: str) -> int:
    """Return a class, which some scripts write as ``0.0``."""
    number = float(text)
    return int(number) if number.is_integer() else int(text)


def _is_other(path: Path) -> bool:
    """Return whether a text file holds no line of labels, such as a list of classes; an empty one may be labels."""
    lines = [line.split() for line in load_lines(path) if line.strip()]
    return bool(lines) and not any(len(cells) > 4 and cells[0][:1].isdigit() for cells in lines)


def _area(shape: tuple[int, int], *, shares: list[polygons.Point]) -> NDArray[np.bool_]:
    points = [(round(x * shape[1], 2), round(y * shape[0], 2)) for x, y in polygons.checked(shares, 3)]  # of few digits
    return polygons.fill(shape, [polygons.checked(points, 3)])
