"""CVAT for images 1.1: one XML file of polygons, boxes, ellipses, polylines and brush masks.

    annotations.xml           <image name="a.jpg" subset="train" width= height=> <polygon label= points="x,y;x,y">
    images/a.jpg              anywhere: found by the end of its path

Classes: those of ``data.classes``; else background and the labels of the task, in its order and colors. Objects of a
higher ``z_order`` cover others, then later ones do. Polylines are drawn ``data.line_width`` px wide, points as discs of
that width; skeletons and cuboids mark nothing, with a remark; tags are no objects. The subsets Train, Validation and
Test are splits, where all images have one; else there are none. Images without objects are background. CVAT's other
exports: ``voc`` (segmentation mask 1.1), ``coco``.

Source: docs.cvat.ai (the program, MIT). The reader of datumaro 1.13 (MIT) would lose ellipses, and it cannot be
installed beside pandas 3 and Pillow 13; so the file is read here.
"""

from dataclasses import replace
from functools import partial
from pathlib import Path
from xml.etree.ElementTree import Element

import numpy as np
from numpy.typing import NDArray

from maskline.convert.format_parts import polygons, run_lengths
from maskline.convert.format_parts.annotations import Annotated, Area, Drawn, dots, line, pasted, polygon, source_set
from maskline.convert.format_parts.documents import form_of, load_xml
from maskline.convert.format_parts.finding import visible
from maskline.convert.format_parts.labels_lost import LostLabels
from maskline.convert.format_parts.named_images import NamedImages, split_named
from maskline.convert.format_parts.tree import Tree
from maskline.convert.records import LayoutSettings, SourceSet
from maskline.core.errors import DataError
from maskline.data.labels import Rgb

_NO_OBJECTS = ("tag", "attribute")  # of the whole image
_OBJECTS = ("polygon", "box", "ellipse", "polyline", "points", "mask")


def read(folder: Path, settings: LayoutSettings) -> SourceSet:
    """Read the XML files and find their images.

    Raises:
        DataError: No file of CVAT is there, or one is damaged or of a video.
    """
    files = [(path, place, load_xml(path, place.as_posix())) for path, place in visible(folder, (".xml",))]
    files = [(path, place, root) for path, place, root in files if root.tag == "annotations"]
    if not files:
        raise DataError("cvat", "no XML file of CVAT in the archive", "export as CVAT for images 1.1, with images")
    named = NamedImages(folder)
    images: list[Annotated] = []
    problems: list[DataError] = []
    colors: dict[str, Rgb] = {}
    lost = LostLabels("labels")
    for path, place, root in files:
        if root.find("track") is not None:
            raise DataError(place.as_posix(), "tracks of a video", "export as CVAT for images 1.1")
        with form_of("CVAT", place.as_posix()):
            colors |= _labels(root)
        for element in root.iter("image"):
            try:
                with form_of("CVAT", f"{place} image {element.get('id')}"):
                    image = named.find(element.attrib["name"], place=place, beside=place.parent)
                    images.append(_annotated(element, image, path, named.id(image), settings.line_width))
                    _count(element, lost)
            except DataError as error:
                problems.append(error)
    if any(image.split is None for image in images):
        images = [replace(image, split=None) for image in images]
    remarks = lost.remarks() + named.unused()
    return source_set(images, settings, declared=list(colors), colors=colors, problems=problems, remarks=remarks)


def recognise(tree: Tree) -> str | None:
    """Return why a folder is such a set; None: it is none."""
    heads = (b"<image ", b"<meta>")  # many labels come before the first image; a video has none
    place = next((place for word in heads if (place := tree.first_with(".xml", b"<annotations", word))), None)
    return None if place is None else f"{place} has annotations as CVAT writes them"


def _labels(root: Element) -> dict[str, Rgb]:
    """Return the labels of a task, a job or a project in their order, with their colors."""
    colors: dict[str, Rgb] = {}
    for label in root.iterfind("meta//labels/label"):
        name, color = label.findtext("name"), label.findtext("color") or "#000000"
        if name and label.find("parent") is None:  # a point of a skeleton has one
            colors[name] = (int(color[1:3], 16), int(color[3:5], 16), int(color[5:7], 16))
    return colors


def _count(element: Element, lost: LostLabels) -> None:
    """Count the objects of an image, and those that are no areas."""
    for child in (child for child in element if child.tag not in _NO_OBJECTS):
        label = child.attrib.get("label", "no label")
        lost.seen(label)
        if child.tag not in _OBJECTS:
            lost.lost(label, f"that are no areas ({child.tag})")


def _annotated(element: Element, image: Path, path: Path, id_: str, line_width: float) -> Annotated:
    objects = [child for child in element if child.tag in _OBJECTS]
    objects.sort(key=lambda child: int(child.attrib.get("z_order", 0)))  # stable: later ones above
    return Annotated(
        id=id_,
        image=image,
        file=path,
        split=split_named(element.attrib.get("subset", "")),
        size=(int(element.attrib["height"]), int(element.attrib["width"])),
        objects=[Drawn(child.attrib["label"], _area(child, line_width)) for child in objects],
    )


def _area(element: Element, line_width: float) -> Area:
    given = element.attrib
    turn = float(given.get("rotation", 0))
    match element.tag:
        case "box":
            left, top, right, bottom = (float(given[key]) for key in ("xtl", "ytl", "xbr", "ybr"))
            corners = polygons.box(left, top, right, bottom, turn)
        case "ellipse":
            centre, radii = (float(given["cx"]), float(given["cy"])), (float(given["rx"]), float(given["ry"]))
            corners = polygons.ellipse(centre, radii, turn)
        case "mask":
            counts = tuple(int(count) for count in given["rle"].split(","))
            place = tuple(int(given[key]) for key in ("height", "width", "top", "left"))
            return partial(_mask, counts=counts, place=place)
        case kind:
            corners = [(float(x), float(y)) for x, y in (pair.split(",") for pair in given["points"].split(";"))]
            if kind == "polyline":
                return line(corners, line_width)
            if kind == "points":
                return dots(corners, line_width)
    return polygon(corners)


def _mask(shape: tuple[int, int], *, counts: tuple[int, ...], place: tuple[int, ...]) -> NDArray[np.bool_]:
    height, width, top, left = place
    if not (0 < height <= shape[0] and 0 < width <= shape[1]):
        raise ValueError(f"a mask of {width}x{height} pixels")
    return pasted(shape, run_lengths.by_rows(counts, (height, width)), left, top)
