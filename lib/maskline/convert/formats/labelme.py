"""Shapes drawn with labelme or X-AnyLabeling: a JSON file for each image.

    any/folder/NAME.json      "imagePath", "imageData", "imageHeight", "imageWidth", "shapes": label, points, shape_type
    any/folder/NAME.jpg       where imagePath says, beside the JSON file, anywhere by its name, or inside as imageData
    labels.txt                optional: class names, one a line; ``__ignore__`` and ``_background_`` as labelme has them

Classes: those of ``data.classes``; else the lines of labels.txt (or class_names.txt); else the labels that are drawn,
in alphabetical order. ``_background_``, added where none is named, is the ground where nothing is drawn. Later shapes
cover earlier ones. The label ``__ignore__`` becomes the ignore index. Shapes are polygons, rectangles (turned ones of
X-AnyLabeling too), circles and masks; lines and linestrips are drawn ``data.line_width`` px wide, points as discs of
that width, which is labelme's own rule at the default of 10. Flags and groups do not matter. Split folders (train, val,
test) above the images count, where all are in one. Each image is a group; images without a JSON file are problems only
if another file beside them has one.

Source: github.com/wkentaro/labelme (the program, GPL-3.0; nothing of it is used here).
"""

import base64
import io
from collections.abc import Mapping
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from maskline.convert.format_parts import polygons
from maskline.convert.format_parts.annotations import (
    Annotated,
    Area,
    Drawn,
    circle,
    dots,
    line,
    pasted,
    polygon,
    source_set,
    with_splits,
)
from maskline.convert.format_parts.documents import form_of, load_json, load_lines
from maskline.convert.format_parts.finding import visible
from maskline.convert.format_parts.named_images import NamedImages
from maskline.convert.format_parts.tree import Tree
from maskline.convert.records import LayoutSettings, MaskValue, SourceSet
from maskline.core.errors import DataError
from maskline.reading.images import FORMATS, IMAGE_SUFFIXES

_GROUND, _IGNORE = "_background_", "__ignore__"
_LISTS = ("labels.txt", "class_names.txt")
_TOOL = "labelme"


def read(folder: Path, settings: LayoutSettings) -> SourceSet:
    """Find JSON files and their images.

    Raises:
        DataError: No labelme file is there.
    """
    named = NamedImages(folder)
    images: list[Annotated] = []
    problems: list[DataError] = []
    files = list(visible(folder, (".json",)))
    for path, place in files:
        try:
            with form_of(_TOOL, place.as_posix()):
                content = load_json(path, place.as_posix())
                image = _image(path, place, content, named)
                images.append(_annotated(content, image, path, place, settings.line_width))
        except DataError as error:
            problems.append(error)
    if not files:
        raise DataError(_TOOL, "no JSON file of labelme in the archive", "give images with their JSON files")
    problems += _unlabelled(folder, {path for path, _ in files}, {image.image for image in images})
    ignored = MaskValue(_IGNORE, None, None, None)
    return source_set(
        with_splits(images, named),
        settings.with_value(ignored),
        declared=_declared(folder, images),
        ground=_GROUND,
        problems=problems,
    )


def recognise(tree: Tree) -> str | None:
    """Return why a folder is such a set; None: it is none."""
    for place, content in tree.json_files:
        if isinstance(content, dict) and {"shapes", "imagePath"} <= content.keys():
            return f"{place} has shapes and an imagePath"
    return None


def _annotated(
    content: Mapping[str, Any], image: Path, path: Path, place: PurePosixPath, line_width: float
) -> Annotated:
    sizes = [content.get(key) for key in ("imageHeight", "imageWidth")]
    objects = []
    for number, drawn in enumerate(content["shapes"] or (), start=1):
        if not isinstance(drawn["label"], str):
            raise TypeError(f"label of shape {number}")
        objects.append(Drawn(drawn["label"], _area(drawn, line_width)))
    return Annotated(
        id=place.with_suffix("").as_posix(),
        image=image,
        file=path,
        alone=True,
        size=None if None in sizes else (_size(sizes[0]), _size(sizes[1])),  # the oldest files have none
        objects=objects,
    )


def _size(value: Any) -> int:
    if int(value) < 1:
        raise ValueError(f"an image size of {value}")
    return int(value)


def _area(drawn: Mapping[str, Any], line_width: float) -> Area:
    kind, points = drawn.get("shape_type") or "polygon", list(drawn["points"])
    if kind == "rectangle" and len(points) == 2:
        (left, top), (right, bottom) = points
        return polygon(polygons.box(left, top, right, bottom))
    if kind in ("polygon", "rotation", "quadrilateral") or (kind == "rectangle" and len(points) != 2):
        return polygon(points)
    if kind == "circle" and len(points) == 2:
        return circle(points)
    if kind in ("line", "linestrip") or (kind == "circle" and len(points) < 2):
        return line(points, line_width)
    if kind in ("point", "points"):
        return dots(points, line_width)
    if kind == "mask":
        return partial(_mask, corners=points, data=str(drawn["mask"]))
    return partial(_refuse, problem=f"{kind} of {len(points)} points")


def _refuse(shape: tuple[int, int], *, problem: str) -> NDArray[np.bool_]:
    raise ValueError(problem)


def _mask(shape: tuple[int, int], *, corners: list[Any], data: str) -> NDArray[np.bool_]:
    """Return (h, w) of a PNG in base64 that lies in a box."""
    left, top = (round(value) for value in polygons.checked(corners)[0])
    try:
        with Image.open(io.BytesIO(base64.b64decode(data)), formats=("PNG",)) as image:
            if image.width > shape[1] or image.height > shape[0]:
                raise ValueError(f"a mask of {image.width}x{image.height} pixels")
            pixels = np.array(image.convert("L"))
    except (OSError, SyntaxError) as error:
        raise ValueError(f"a mask that is no PNG ({error})") from error
    return pasted(shape, pixels > 0, left, top)


def _image(path: Path, place: PurePosixPath, content: Mapping[str, Any], named: NamedImages) -> Path:
    """Return the image of a file: as it says, of its own name, or written out of it.

    Raises:
        DataError: It is nowhere.
    """
    name = str(content.get("imagePath") or place.with_suffix(".jpg").name)
    try:
        return named.find(name, place=place, beside=place.parent)
    except DataError:
        others = sorted(other for other in path.parent.iterdir() if other.stem == path.stem)
        beside = next((other for other in others if other.suffix.lower() in IMAGE_SUFFIXES and other.is_file()), None)
        if beside is None and not content.get("imageData"):
            raise
    return beside or _written(path, place, str(content["imageData"]))


def _written(path: Path, place: PurePosixPath, data: str) -> Path:
    """Write the image that a JSON file holds beside it, into the unpacked copy of the set.

    Only as a new file: what is there may be a link to a file of the user's.
    """
    try:
        pixels = base64.b64decode(data)
        with Image.open(io.BytesIO(pixels), formats=FORMATS) as image:
            target = path.with_suffix(f".{str(image.format).lower()}")
    except (ValueError, OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(place.as_posix(), f"imageData that is no image ({error})", "put the image beside it") from error
    try:
        with target.open("xb") as stream:
            stream.write(pixels)
    except FileExistsError as error:
        raise DataError(place.as_posix(), f"imageData, and {target.name} beside it", "put the image there") from error
    return target


def _unlabelled(folder: Path, files: set[Path], used: set[Path]) -> list[DataError]:
    folders = {path.parent for path in files}
    return [
        DataError(place.as_posix(), "image without a JSON file", "label it, or remove it")
        for path, place in visible(folder, IMAGE_SUFFIXES)
        if path.parent in folders and path not in used and path.with_suffix(".json") not in files
    ]


def _declared(folder: Path, images: list[Annotated]) -> list[str]:
    """Return the labels of the list beside the set, or those that are drawn, by alphabet."""
    lists = {place.name.lower(): path for path, place in visible(folder, (".txt",))}
    listed = next((lists[name] for name in _LISTS if name in lists), None)
    if listed is None:
        return sorted({each.label for image in images for each in image.objects})
    return [line.strip() for line in load_lines(listed) if line.strip()]
