"""Polygons drawn with labelme: a JSON file beside each image.

    any/folder/NAME.json      "imagePath", "imageHeight", "imageWidth", "shapes": label, points, shape_type
    any/folder/NAME.jpg
    labels.txt                optional: class names, one a line; ``__ignore__`` and ``_background_`` as labelme has them

Classes: those of ``data.classes``; else the lines of labels.txt (or class_names.txt); else the labels that are drawn,
in alphabetical order. The first is the ground where nothing is drawn; ``_background_`` is added where none is named.
Later shapes cover earlier ones. The label ``__ignore__`` becomes the ignore index. Shapes are polygons, rectangles and
circles. Split folders (train, val, test) right above the files count; else there are no splits. Each image is a group;
images without a JSON file are problems only if another file beside them has one.

Source: github.com/wkentaro/labelme (the program, GPL-3.0; nothing of it is used here).
"""

import json
from functools import partial
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np

from maskline.convert.format_parts import polygons
from maskline.convert.format_parts.finding import above, visible
from maskline.convert.format_parts.tree import Tree
from maskline.convert.records import LayoutSettings, Record, SourceSet
from maskline.core.errors import DataError
from maskline.data.labels import LabelSet, bit_palette
from maskline.data.manifest import Split
from maskline.reading import masks
from maskline.reading.images import IMAGE_SUFFIXES, check_pixels

_GROUND, _IGNORE = "_background_", "__ignore__"
_LISTS = ("labels.txt", "class_names.txt")
_SPLITS: dict[str, Split] = {"train": "train", "val": "val", "test": "test"}


def read(folder: Path, settings: LayoutSettings) -> SourceSet:
    """Find JSON files and their images.

    Raises:
        DataError: No labelme file is there.
    """
    json_files: list[tuple[Path, PurePosixPath, dict[str, Any]]] = []
    problems: list[DataError] = []
    for path, place in visible(folder, (".json",)):
        try:
            json_files.append((path, place, load(path)))
        except DataError as error:
            problems.append(DataError(place.as_posix(), error.problem, error.remedy))
    if not json_files:
        raise DataError("labelme", "no JSON file of labelme in the archive", "give images with their JSON files")
    records = []
    for path, place, content in json_files:
        image = _image(path, content)
        if image is None:
            problem = f"its image {content.get('imagePath')!r} is not there"
            problems.append(DataError(place.as_posix(), problem, "put the image beside it"))
            continue
        id_ = place.with_suffix("").as_posix()
        records.append(Record(id=id_, group=id_, split=_SPLITS.get(above(place)), image=image, mask=path))
    problems += _unlabelled(folder, {path for path, _, _ in json_files}, {record.image for record in records})
    labels = _labels(folder, [content for *_, content in json_files], settings)
    ids = {name: i for i, name in enumerate(labels.class_names)} | {_IGNORE: labels.ignore_index}
    return SourceSet(
        labels=labels,
        records=records,
        read_mask=partial(read_shapes, ids=ids),
        read_area=partial(masks.read_area, exif=settings.exif),
        problems=problems,
    )


def recognise(tree: Tree) -> str | None:
    """Return why a folder is such a set; None: it is none."""
    for place, content in tree.json_files:
        if isinstance(content, dict) and {"shapes", "imagePath"} <= content.keys():
            return f"{place} has shapes and an imagePath"
    return None


def load(path: Path) -> dict[str, Any]:
    """Return a labelme file's content.

    Raises:
        DataError: Not JSON, or without size or shapes.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        sizes = [int(content[key]) for key in ("imageHeight", "imageWidth")]
        whole = min(sizes) > 0 and all(isinstance(shape["label"], str) for shape in content["shapes"])
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise DataError(path, f"not a labelme file ({error!r})", "save it again with labelme") from error
    if not whole:
        raise DataError(path, "not a labelme file (no size)", "save it again with labelme")
    return dict(content)


def read_shapes(path: Path, *, ids: dict[str, int]) -> masks.Ids:
    """Draw the shapes of a file, later ones over earlier ones.

    Args:
        path: The JSON file.
        ids: Label -> class id.

    Raises:
        DataError: A label without a class, a shape without an area.
    """
    content = load(path)
    shape = (int(content["imageHeight"]), int(content["imageWidth"]))
    check_pixels(path, shape[1], shape[0])
    mask = np.zeros(shape, np.int32)
    for number, drawn in enumerate(content["shapes"], start=1):
        if drawn["label"] not in ids:
            known = ", ".join(ids)
            problem = f"shape {number} has the label {drawn['label']!r}, classes are {known}"
            raise DataError(path, problem, "fix the label, or add it to labels.txt or data.classes")
        try:
            points = [(float(x), float(y)) for x, y in drawn["points"]]
            inside = _inside(shape, drawn.get("shape_type") or "polygon", points)
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            problem = f"shape {number} ({drawn['label']}) has no area: {error}"
            raise DataError(path, problem, "draw it as a polygon, a rectangle or a circle") from error
        mask[inside] = ids[drawn["label"]]
    return mask


def _inside(shape: tuple[int, int], kind: str, points: list[tuple[float, float]]) -> Any:
    if kind == "polygon" and len(points) >= 3:
        return polygons.fill(shape, [points])
    if kind == "rectangle" and len(points) == 2:
        (left, top), (right, bottom) = points
        return polygons.fill(shape, [[(left, top), (right, top), (right, bottom), (left, bottom)]])
    if kind == "circle" and len(points) == 2:
        return polygons.disc(shape, points[0], points[1])
    raise ValueError(f"{kind} of {len(points)} points")


def _image(path: Path, content: dict[str, Any]) -> Path | None:
    """Return the image of a file: as it says, or else of its own name."""
    named = PureWindowsPath(str(content.get("imagePath", ""))).name  # knows / and \
    candidates = [path.parent / named] if named else []
    candidates += sorted(other for other in path.parent.iterdir() if other.stem == path.stem)
    return next((file for file in candidates if file.is_file() and file.suffix.lower() in IMAGE_SUFFIXES), None)


def _unlabelled(folder: Path, files: set[Path], used: set[Path]) -> list[DataError]:
    folders = {path.parent for path in files}
    return [
        DataError(place.as_posix(), "image without a JSON file", "label it, or remove it")
        for path, place in visible(folder, IMAGE_SUFFIXES)
        if path.parent in folders and path not in used and path.with_suffix(".json") not in files
    ]


def _labels(folder: Path, contents: list[dict[str, Any]], settings: LayoutSettings) -> LabelSet:
    if settings.classes:
        names, palette = zip(*settings.classes, strict=True)
        return LabelSet(class_names=names, palette=palette, ignore_index=settings.ignore_index)
    lists = {place.name.lower(): path for path, place in visible(folder, (".txt",))}
    listed = next((lists[name] for name in _LISTS if name in lists), None)
    if listed:
        class_names = [line.strip() for line in listed.read_text(encoding="utf-8", errors="replace").splitlines()]
    else:
        class_names = sorted({str(shape["label"]) for content in contents for shape in content["shapes"]})
    class_names = [name for name in dict.fromkeys(class_names) if name and name != _IGNORE]
    if not listed or not {_GROUND, "background"} & set(class_names):
        class_names = [_GROUND, *(name for name in class_names if name != _GROUND)]
    return LabelSet(
        class_names=tuple(class_names), palette=bit_palette(len(class_names)), ignore_index=settings.ignore_index
    )
