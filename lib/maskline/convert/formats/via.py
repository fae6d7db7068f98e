"""VGG Image Annotator 2 (and 1): one JSON file of regions.

    via_project.json or via_region_data.json     {"a.jpg12345": {"filename": "a.jpg", "regions": [...]}}
    a.jpg                                        anywhere: found by the end of its path

Classes: those of ``data.classes``; else background and the values of the region attribute that names the class, in
alphabetical order: the only attribute, or the one called class, label, name, type or category. Without any attribute
in the whole set, all regions are the class "object", with a remark. Later regions cover earlier ones. Polygons,
rectangles, circles and ellipses; polylines are drawn ``data.line_width`` px wide, points as discs of that width. Images
without regions are background. Split folders of the images count, where all have one.

Source: Dutta and Zisserman, "The VIA Annotation Software for Images, Audio and Video", ACM Multimedia 2019
(the program, BSD-2-Clause). Datumaro has no reader; so the file is read here.
"""

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from maskline.convert.format_parts import polygons
from maskline.convert.format_parts.annotations import (
    Annotated,
    Area,
    Drawn,
    dots,
    line,
    polygon,
    source_set,
    with_splits,
)
from maskline.convert.format_parts.documents import form_of, load_json
from maskline.convert.format_parts.finding import visible
from maskline.convert.format_parts.named_images import NamedImages
from maskline.convert.format_parts.tree import Tree
from maskline.convert.records import LayoutSettings, SourceSet
from maskline.core.errors import DataError

_NAMES = ("class", "label", "name", "type", "category")
_ONE = "object"


def read(folder: Path, settings: LayoutSettings) -> SourceSet:
    """Read the JSON files and find their images.

    Raises:
        DataError: No file of VIA is there, or one is damaged.
    """
    files = []
    for path, place in visible(folder, (".json",)):
        content = load_json(path, place.as_posix())
        entries = _entries(content)
        if entries:
            files.append((path, place, entries))
    if not files:
        raise DataError("via", "no JSON file of VIA in the archive", "export annotations as JSON, or save the project")
    named = NamedImages(folder)
    images: list[Annotated] = []
    problems: list[DataError] = []
    remarks: list[tuple[str, str]] = []
    attribute = _attribute([region for *_, entries in files for entry in entries for region in _regions(entry)])
    for path, place, entries in files:
        remarks += [] if attribute else [(place.as_posix(), f'no attributes: all regions are the class "{_ONE}"')]
        for entry in entries:
            try:
                with form_of("VIA", f"{place} {entry['filename']}"):
                    image = named.find(str(entry["filename"]), place=place, beside=place.parent)
                    objects = [
                        Drawn(_label(region, attribute), _area(region["shape_attributes"], settings.line_width))
                        for region in _regions(entry)
                    ]
                    images.append(Annotated(id=named.id(image), image=image, file=path, objects=objects))
            except DataError as error:
                problems.append(error)
    return source_set(with_splits(images, named), settings, problems=problems, remarks=[*remarks, *named.unused()])


def recognise(tree: Tree) -> str | None:
    """Return why a folder is such a set; None: it is none."""
    place = next((place for place, content in tree.json_files if _entries(content)), None)
    return None if place is None else f"{place} has file names with regions"


def _entries(content: Any) -> list[dict[str, Any]]:
    """Return what a file of VIA says of each image; none: it is no such file."""
    entries = content.get("_via_img_metadata", content) if isinstance(content, dict) else None
    images = list(entries.values()) if isinstance(entries, dict) else []
    return (
        images if all(isinstance(entry, dict) and {"filename", "regions"} <= entry.keys() for entry in images) else []
    )


def _regions(entry: Mapping[str, Any]) -> list[Any]:
    """Return the regions: a list in VIA 2, a mapping in VIA 1."""
    regions = entry["regions"]
    return list(regions.values()) if isinstance(regions, dict) else list(regions)


def _attribute(regions: Iterable[Any]) -> str:
    """Return the region attribute that names the class; empty: there is none.

    Raises:
        DataError: Several, and none is called like a class.
    """
    attributes: dict[str, None] = {}
    for region in regions:
        given = region.get("region_attributes") if isinstance(region, dict) else None
        attributes |= dict.fromkeys(given) if isinstance(given, dict) else {}
    if len(attributes) < 2:
        return next(iter(attributes), "")
    for name in _NAMES:
        for attribute in attributes:
            if attribute.lower() == name:
                return attribute
    names = ", ".join(sorted(attributes))
    raise DataError("via", f"region attributes {names}: which is the class?", "call it class in VIA")


def _label(region: Mapping[str, Any], attribute: str) -> str:
    if not attribute:
        return _ONE
    value = region["region_attributes"].get(attribute)
    if isinstance(value, dict):  # a checkbox
        chosen = [str(name) for name, on in value.items() if on]
        if len(chosen) != 1:
            raise ValueError(f"{len(chosen)} values of {attribute} in one region")
        return chosen[0]
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"a region without {attribute}")
    return value


def _area(given: Mapping[str, Any], line_width: float) -> Area:
    kind = given["name"]
    match kind:
        case "polygon" | "polyline":
            points = list(zip(given["all_points_x"], given["all_points_y"], strict=True))
            return polygon(points) if kind == "polygon" else line(points, line_width)
        case "rect":
            left, top = float(given["x"]), float(given["y"])
            return polygon(polygons.box(left, top, left + float(given["width"]), top + float(given["height"])))
        case "point":
            return dots([(given["cx"], given["cy"])], line_width)
        case "circle":
            radius = float(given["r"])
            return polygon(polygons.ellipse((float(given["cx"]), float(given["cy"])), (radius, radius)))
        case "ellipse":
            centre, radii = (float(given["cx"]), float(given["cy"])), (float(given["rx"]), float(given["ry"]))
            return polygon(polygons.ellipse(centre, radii, math.degrees(float(given.get("theta") or 0))))
    raise ValueError(f"a region of the kind {kind}")
