"""Label Studio's JSON: tasks with brush strokes, polygons, rectangles and ellipses.

    project-1-at-....json     [{"data": {"image": "/data/upload/1/5f2a3b4c-a.jpg"}, "annotations": [{"result": [...]}]}]
    images/a.jpg              anywhere: found by the end of its address, with or without the eight digits of an upload

The exports JSON and JSON-MIN. Classes: those of ``data.classes``; else background and the labels that are drawn, in
alphabetical order. Labels of the tag Labels stand apart from their object, under its id. Later objects cover earlier
ones; key points and vectors mark nothing, with a remark. Of a task with several annotations the one changed last
counts, with a remark; cancelled ones and predictions do not. Tasks without an annotation are left out, those with an
empty one are background. Split folders of the images count, where all have one. Label Studio's COCO export: ``coco``.

Source: labelstud.io/guide/export (Apache-2.0). Its own converter needs the whole SDK of the program, and datumaro has
no reader; so the file is read here.
"""

from collections.abc import Mapping
from functools import partial
from pathlib import Path, PurePosixPath
from re import sub
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskline.convert.format_parts import polygons, run_lengths
from maskline.convert.format_parts.annotations import Annotated, Area, Drawn, polygon, source_set, with_splits
from maskline.convert.format_parts.documents import form_of, load_json
from maskline.convert.format_parts.finding import visible
from maskline.convert.format_parts.labels_lost import LostLabels
from maskline.convert.format_parts.named_images import NamedImages
from maskline.convert.format_parts.tree import Tree
from maskline.convert.records import LayoutSettings, SourceSet
from maskline.core.errors import DataError

_UPLOAD = r"^[0-9a-f]{8}-"
_APART = "labels"
_FORM = ("points", "rle", "x", "y", "width", "height", "radiusX", "radiusY", "rotation")


def read(folder: Path, settings: LayoutSettings) -> SourceSet:
    """Read the JSON files and find their images.

    Raises:
        DataError: No file of Label Studio is there, or one is damaged.
    """
    files = [(path, place, load_json(path, place.as_posix())) for path, place in visible(folder, (".json",))]
    files = [(path, place, tasks) for path, place, tasks in files if _is_export(tasks)]
    if not files:
        raise DataError("label_studio", "no JSON export of Label Studio in the archive", "export as JSON")
    named = NamedImages(folder)
    images: list[Annotated] = []
    problems: list[DataError] = []
    remarks: list[tuple[str, str]] = []
    lost = LostLabels("labels")
    for path, place, tasks in files:
        for task in tasks:
            where = f"{place} task {task.get('id')}"
            try:
                with form_of("Label Studio", where):
                    results, remark = _results(task)
                    image = _image(task, named, place, where)
                    id_ = named.id(image)
                    remarks += [(id_, remark)] if remark else []
                    images += [] if results is None else [_annotated(results, image, path, id_, where, lost)]
            except DataError as error:
                problems.append(error)
    remarks += lost.remarks() + named.unused()
    return source_set(with_splits(images, named), settings, problems=problems, remarks=remarks)


def recognise(tree: Tree) -> str | None:
    """Return why a folder is such a set; None: it is none."""
    place = next((place for place, content in tree.json_files if _is_told(content)), None)
    return None if place is None else f"{place} is a list of tasks"


def _is_told(content: Any) -> bool:
    """Return whether a list is sure to be of Label Studio."""
    return _is_export(content) and any(key in content[0] for key in ("data", "annotator", "lead_time"))


def _is_export(tasks: Any) -> bool:
    if not isinstance(tasks, list) or not tasks or not all(isinstance(task, dict) for task in tasks):
        return False
    return "annotations" in tasks[0] or "image" in tasks[0]


def _results(task: Mapping[str, Any]) -> tuple[list[Mapping[str, Any]] | None, str]:
    """Return the objects of a task, None if nobody has labelled it, and a remark; empty: none."""
    if "annotations" not in task:  # JSON-MIN: the objects stand under the name that the labelling page gives them
        lists = [value for value in task.values() if isinstance(value, list)]
        flat = [entry for value in lists for entry in value if isinstance(entry, dict) and "original_width" in entry]
        return [{"value": entry, **entry} for entry in flat], ""
    done = [each for each in task["annotations"] if not each.get("was_cancelled")]
    if not done:
        return None, "no annotation: left out"
    last = max(done, key=lambda each: str(each.get("updated_at") or each.get("created_at") or ""))
    return list(last["result"]), f"{len(done)} annotations, the last one counts" if len(done) > 1 else ""


def _image(task: Mapping[str, Any], named: NamedImages, place: PurePosixPath, where: str) -> Path:
    data = task.get("data", task)
    values = [data["image"]] if "image" in data else [value for value in data.values() if isinstance(value, str)]
    if len(values) != 1:
        raise DataError(where, f"{len(values)} texts in its data, one names the image", "call the variable image")
    address = str(values[0])
    head, _, name = address.rpartition("/")
    plain = f"{head}/{sub(_UPLOAD, '', name)}"
    return named.find(address if named.has(address) else plain, place=place, beside=place.parent)


def _annotated(
    results: list[Mapping[str, Any]], image: Path, path: Path, id_: str, where: str, lost: LostLabels
) -> Annotated:
    sizes, objects = set[tuple[int, int]](), []
    results = [result for result in results if isinstance(result.get("value"), dict)]  # relations have none
    apart = {_key(result): result["value"][_APART] for result in results if _APART in result["value"]}
    bare = {_key(result) for result in results if _is_area(result["value"]) and not _label_keys(result["value"])}
    own = {_key(result) for result in results if _label_keys(result["value"]) not in ([], [_APART])}
    for result in results:
        value, keys, key = result["value"], _label_keys(result["value"]), _key(result)
        if (keys == [_APART] and key in bare) or (not keys and key in own):
            continue  # the label of an object that is drawn by itself, or a choice or text about one
        labels = value[keys[0]] if keys else apart.get(key)
        if not _is_area(value):
            for label in labels or () if keys else ():
                lost.seen(str(label))
                lost.lost(str(label), f"that are no areas ({result.get('type') or keys[0]})")
            continue  # or of the whole image, such as a choice
        if not labels:
            raise DataError(where, f"an object without a label ({result.get('type')})", "give it a label")
        if result.get("image_rotation"):
            raise DataError(where, f"turned by {result['image_rotation']} degrees in Label Studio", "turn it back")
        size = (int(result["original_height"]), int(result["original_width"]))
        sizes.add(size)
        for label in map(str, labels):
            lost.seen(label)
            objects.append(Drawn(label, _area(value, size)))
    if len(sizes) > 1:
        raise DataError(where, f"objects of {len(sizes)} image sizes", "label the image anew")
    return Annotated(id=id_, image=image, file=path, size=next(iter(sizes), None), objects=objects)


def _label_keys(value: Mapping[str, Any]) -> list[str]:
    """Return under which names an object has labels: ``polygonlabels``, or ``labels`` of the tag Labels."""
    return [key for key in value if key.endswith(_APART)]


def _is_area(value: Mapping[str, Any]) -> bool:
    """Return whether this is an outline, strokes, a rectangle or an ellipse; key points have a width alone."""
    return "points" in value or "rle" in value or "radiusX" in value or {"width", "height"} <= value.keys()


def _key(result: Mapping[str, Any]) -> str:
    """Return what an object shares with the labels that stand apart from it: its id, or else its form (JSON-MIN)."""
    return str(result.get("id") or [result["value"].get(key) for key in _FORM])


def _area(value: Mapping[str, Any], size: tuple[int, int]) -> Area:
    if "rle" in value:
        return partial(_brush, content=bytes(value["rle"]))
    x_scale, y_scale = size[1] / 100, size[0] / 100  # all else is in percent of the image
    if "points" in value:
        return polygon([(float(x) * x_scale, float(y) * y_scale) for x, y in value["points"]])
    at = (float(value["x"]) * x_scale, float(value["y"]) * y_scale)
    turn = float(value.get("rotation") or 0)
    if "radiusX" in value:
        radii = (float(value["radiusX"]) * x_scale, float(value["radiusY"]) * y_scale)
        return polygon(polygons.ellipse(at, radii, turn))
    far = (at[0] + float(value["width"]) * x_scale, at[1] + float(value["height"]) * y_scale)
    return polygon(polygons.turned(polygons.box(*at, *far), at, turn))  # around the corner, not the centre


def _brush(shape: tuple[int, int], *, content: bytes) -> NDArray[np.bool_]:
    return run_lengths.of_brush(content, shape)
