"""Supervisely's own format: a project of datasets, a JSON file for each image, with polygons and bitmaps.

    meta.json                 "classes": title, shape, color
    DATASET/ann/a.jpg.json    "size", "objects": classTitle, geometryType, points or bitmap
    DATASET/img/a.jpg

Classes: those of ``data.classes``; else background and the classes of meta.json, in its order and colors. Later objects
cover earlier ones. Polygons with holes, bitmaps, rectangles; lines ``data.line_width`` px wide, points as discs of that
width; others (cuboids, graphs of key points) mark nothing, with a remark. Datasets called train, val (validation,
valid) and test are splits where all are; else there are none. Without meta.json, the classes are those that are drawn,
by alphabet.

Source: docs.supervisely.com, "Supervisely JSON format". The SDK (Apache-2.0) is a client of its server with some fifty
packages, and datumaro reads its point clouds alone; so the files are read here.
"""

import base64
import io
import zlib
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from maskline.convert.format_parts import polygons
from maskline.convert.format_parts.annotations import (
    Annotated,
    Area,
    Drawn,
    dots,
    line,
    pasted,
    polygon,
    source_set,
    with_splits,
)
from maskline.convert.format_parts.documents import form_of, load_json
from maskline.convert.format_parts.finding import above, visible
from maskline.convert.format_parts.labels_lost import LostLabels
from maskline.convert.format_parts.named_images import NamedImages
from maskline.convert.format_parts.tree import Tree
from maskline.convert.records import LayoutSettings, SourceSet
from maskline.core.errors import DataError
from maskline.data.labels import Rgb

_AREAS = ("bitmap", "polygon", "rectangle", "line", "polyline", "point")
_SPARE_BYTES = 2**16  # of a PNG beside its pixels


def read(folder: Path, settings: LayoutSettings) -> SourceSet:
    """Read the JSON files and find their images.

    Raises:
        DataError: No annotation is there, or one is damaged.
    """
    named = NamedImages(folder)
    images: list[Annotated] = []
    problems: list[DataError] = []
    colors: dict[str, Rgb] = {}
    lost = LostLabels("labels")
    for path, place in visible(folder, (".json",)):
        if place.name == "meta.json":
            with form_of("Supervisely", place.as_posix()):
                for entry in load_json(path, place.as_posix())["classes"]:
                    colors.setdefault(str(entry["title"]), _color(entry))
        if above(place) != "ann":
            continue
        try:
            with form_of("Supervisely", place.as_posix()):
                content = load_json(path, place.as_posix())
                image = named.find(place.stem, place=place, beside=place.parent.parent / "img")
                images.append(_annotated(content, image, path, named.id(image), settings.line_width))
                _count(content, lost)
        except DataError as error:
            problems.append(error)
    if not images and not problems:
        raise DataError("supervisely", "no DATASET/ann/NAME.json in the archive", "give the project as exported")
    return source_set(
        with_splits(images, named), settings, declared=list(colors), colors=colors, problems=problems,
        remarks=lost.remarks() + named.unused(),
    )  # fmt: skip


def recognise(tree: Tree) -> str | None:
    """Return why a folder is such a set; None: it is none."""
    for place, content in tree.json_files:
        if above(place) == "ann" and isinstance(content, dict) and {"size", "objects"} <= content.keys():
            return f"{place} has a size and objects"
    return None


def _color(entry: Mapping[str, Any]) -> Rgb:
    text = str(entry.get("color") or "#000000")
    return int(text[1:3], 16), int(text[3:5], 16), int(text[5:7], 16)


def _count(content: Mapping[str, Any], lost: LostLabels) -> None:
    """Count the objects of an image, and those that are no areas."""
    for each in content["objects"]:
        lost.seen(str(each["classTitle"]))
        if each["geometryType"] not in _AREAS:
            lost.lost(str(each["classTitle"]), f"that are no areas ({each['geometryType']})")


def _annotated(content: Mapping[str, Any], image: Path, path: Path, id_: str, line_width: float) -> Annotated:
    objects = [each for each in content["objects"] if each["geometryType"] in _AREAS]
    return Annotated(
        id=id_,
        image=image,
        file=path,
        alone=True,
        size=(int(content["size"]["height"]), int(content["size"]["width"])),
        objects=[Drawn(str(each["classTitle"]), _area(each, line_width)) for each in objects],
    )


def _area(each: Mapping[str, Any], line_width: float) -> Area:
    kind = each["geometryType"]
    if kind == "bitmap":
        left, top = each["bitmap"]["origin"]
        return partial(_bitmap, data=str(each["bitmap"]["data"]), left=int(left), top=int(top))
    exterior = each["points"]["exterior"]
    match kind:
        case "polygon":
            return polygon(exterior, each["points"].get("interior") or ())
        case "rectangle":
            (left, top), (right, bottom) = exterior
            return polygon(polygons.box(left, top, right, bottom))
        case "line" | "polyline":
            return line(exterior, line_width)
    return dots(exterior, line_width)


def _bitmap(shape: tuple[int, int], *, data: str, left: int, top: int) -> NDArray[np.bool_]:
    """Return (h, w) of a PNG, packed by zlib, in base64: its alpha channel, else what is not 0."""
    opened = zlib.decompressobj()
    most = shape[0] * shape[1] * 4 + _SPARE_BYTES
    try:
        content = opened.decompress(base64.b64decode(data, validate=True), most)
    except zlib.error as error:
        raise ValueError(f"a bitmap that cannot be unpacked ({error})") from error
    if opened.unconsumed_tail:
        raise ValueError("a bitmap of more bytes than the image has")
    try:
        with Image.open(io.BytesIO(content), formats=("PNG",)) as image:
            if image.width > shape[1] or image.height > shape[0]:
                raise ValueError(f"a bitmap of {image.width}x{image.height} pixels")
            pixels = np.array(image)
    except (OSError, SyntaxError) as error:
        raise ValueError(f"a bitmap that is no PNG ({error})") from error
    part = (
        pixels[..., 3] if pixels.ndim == 3 and pixels.shape[2] == 4 else pixels.reshape(*pixels.shape[:2], -1)[..., 0]
    )
    return pasted(shape, part > 0, left, top)
