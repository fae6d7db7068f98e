"""VGG Image Annotator 1, 2 and 3: one JSON file of regions.

    via_project.json or via_region_data.json     {"a.jpg12345": {"filename": "a.jpg", "regions": [...]}}
    via_project_1Jan2026_10h00m00s.json          VIA 3: {"attribute": ..., "file": ..., "view": ..., "metadata": ...}
    a.jpg                                        anywhere: found by the end of its path

Classes: those of ``data.classes``; else background and the values of the region attribute that names the class, in
alphabetical order: the only attribute, or the one called class, label, name, type or category. Without any attribute
in the whole set, all regions are the class "object", with a remark; with one, regions without it mark nothing, with a
remark too. Later regions cover earlier ones. Polygons, rectangles, circles and ellipses; polylines are drawn
``data.line_width`` px wide, points as discs of that width. Images without regions are background. Split folders of the
images count, where all have one.

Source: Dutta and Zisserman, "The VIA Annotation Software for Images, Audio and Video", ACM Multimedia 2019
(the program, BSD-2-Clause). Datumaro has no reader; so the file is read here.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
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
from maskline.convert.format_parts.labels_lost import some
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
    regions: list[Any] = []
    for path, place in visible(folder, (".json",)):
        content = load_json(path, place.as_posix())
        entries = _entries(content)
        if entries:
            files.append((path, place, entries))
            with form_of("VIA", place.as_posix()):
                regions += [region for entry in entries for region in _regions(entry)]
    if not files:
        raise DataError("via", "no JSON file of VIA in the archive", "export annotations as JSON, or save the project")
    named = NamedImages(folder)
    images: list[Annotated] = []
    problems: list[DataError] = []
    remarks: list[tuple[str, str]] = []
    unnamed = Counter[str]()
    attribute = _attribute(regions)
    for path, place, entries in files:
        remarks += [] if attribute else [(place.as_posix(), f'no attributes: all regions are the class "{_ONE}"')]
        for entry in entries:
            try:
                with form_of("VIA", f"{place} {entry['filename']}"):
                    image = named.find(str(entry["filename"]), place=place, beside=place.parent)
                    objects = []
                    for region in _regions(entry):
                        label = _label(region, attribute, f"{place} {entry['filename']}")
                        if label is None:
                            unnamed[named.id(image)] += 1
                            continue
                        objects.append(Drawn(label, _area(region["shape_attributes"], settings.line_width)))
                    images.append(Annotated(id=named.id(image), image=image, file=path, objects=objects))
            except DataError as error:
                problems.append(error)
    if unnamed:
        problem = f"{unnamed.total()} regions without {attribute}, which mark nothing, as follows: {some(unnamed)}"
        remarks.append(("regions", problem))
    remarks += named.unused()
    return source_set(with_splits(images, named), settings, problems=problems, remarks=remarks)


def recognise(tree: Tree) -> str | None:
    """Return why a folder is such a set; None: it is none."""
    place = next((place for place, content in tree.json_files if _entries(content)), None)
    return None if place is None else f"{place} has file names with regions"


def _entries(content: Any) -> list[dict[str, Any]]:
    """Return what a file of VIA says of each image; none: it is no such file."""
    if isinstance(content, dict) and {"attribute", "file", "view", "metadata"} <= content.keys():
        with form_of("VIA", "project of VIA 3"):
            return _of_version_3(content)
    entries = content.get("_via_img_metadata", content) if isinstance(content, dict) else None
    images = list(entries.values()) if isinstance(entries, dict) else []
    return (
        images if all(isinstance(entry, dict) and {"filename", "regions"} <= entry.keys() for entry in images) else []
    )


def _of_version_3(content: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return what a project of VIA 3 says, in the form of VIA 2; regions of videos, which have times, are left out."""
    names = {key: str(each["aname"]) for key, each in content["attribute"].items()}
    options = {key: each.get("options") or {} for key, each in content["attribute"].items()}
    regions: dict[str, list[dict[str, Any]]] = {key: [] for key in content["view"]}
    for each in content["metadata"].values():
        if each.get("xy") and not each.get("z"):
            given = {names[key]: options[key].get(str(value), value) for key, value in each.get("av", {}).items()}
            regions[str(each["vid"])].append({"shape_attributes": _shape(each["xy"]), "region_attributes": given})
    files = {str(key): str(each.get("fname") or each["src"]) for key, each in content["file"].items()}
    return [
        {"filename": files[str(view["fid_list"][0])], "regions": regions[key]} for key, view in content["view"].items()
    ]


def _shape(numbers: Sequence[Any]) -> dict[str, Any]:
    """Return the shape that VIA 3 writes as the number of its kind and coordinates, as VIA 2 does."""
    kind, rest = int(numbers[0]), numbers[1:]
    plain = {1: ("point", "cx cy"), 2: ("rect", "x y width height"), 3: ("circle", "cx cy r")}
    plain |= {4: ("ellipse", "cx cy rx ry")}
    if kind in plain:
        name, keys = plain[kind]
        return {"name": name, **dict(zip(keys.split(), rest, strict=True))}
    name = {5: "polyline", 6: "polyline", 7: "polygon"}[kind]  # 5: a line of two points
    return {"name": name, "all_points_x": list(rest[::2]), "all_points_y": list(rest[1::2])}


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


def _label(region: Mapping[str, Any], attribute: str, where: str) -> str | None:
    """Return the class of a region; None: nobody has said one.

    Raises:
        DataError: Several.
    """
    if not attribute:
        return _ONE
    value = region["region_attributes"].get(attribute)
    if isinstance(value, dict):  # a checkbox
        chosen = [str(name) for name, on in value.items() if on]
        if len(chosen) > 1:
            raise DataError(where, f"a region with {len(chosen)} values of {attribute}", "leave one of them in VIA")
        return chosen[0] if chosen else None
    if value is not None and not isinstance(value, str):
        raise ValueError(f"a region whose {attribute} is no text")
    return value if value and value.strip() else None


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
