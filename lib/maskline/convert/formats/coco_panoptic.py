"""COCO's panoptic form: a JSON file, and a PNG for each image whose colors are the ids of segments.

    annotations/panoptic_train2017.json       "images", "annotations": file_name, segments_info; "categories"
    panoptic_train2017/000000000009.png       in a folder whose name begins with panoptic: red + 256 green + 65536 blue
    train2017/000000000009.jpg                anywhere else: found by the end of its path

Classes: those of ``data.classes``; else the categories in the order of their ids, things and stuff, in their colors;
``data.mask_values`` joins and drops them by name. The id 0 is nothing, and becomes the ignore index. A JSON file whose
name has the word train, val or test in it is that split; else there are no splits. Each image is a group.

Source: Kirillov et al., "Panoptic Segmentation", CVPR 2019; format: cocodataset.org/#format-data. Datumaro 1.13 (MIT)
reads it, but cannot be installed beside pandas 3 and Pillow 13; so the files are read here.
"""

from collections.abc import Mapping
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from maskline.convert.format_parts.annotations import label_ids
from maskline.convert.format_parts.documents import form_of, load_json
from maskline.convert.format_parts.finding import visible
from maskline.convert.format_parts.mask_values import free_ignore
from maskline.convert.format_parts.named_images import NamedImages, split_in
from maskline.convert.format_parts.tree import Tree
from maskline.convert.records import LayoutSettings, Record, SourceSet
from maskline.core.errors import DataError
from maskline.data.labels import LabelSet, Rgb, bit_palette
from maskline.reading import masks
from maskline.reading.images import open_image

_TOOL = "COCO panoptic"


def read(folder: Path, settings: LayoutSettings) -> SourceSet:
    """Read the JSON files and find images and PNG files.

    Raises:
        DataError: No such file is there, or one is damaged.
    """
    files = []
    for path, place in visible(folder, (".json",)):
        content = load_json(path, place.as_posix())
        if _is_panoptic(content):
            files.append((place, content))
    if not files:
        raise DataError("coco_panoptic", "no JSON file with segments_info in the archive", "give COCO's panoptic file")
    images = NamedImages(folder, only=lambda place: not _of_segments(place))
    segments = NamedImages(folder, only=_of_segments)
    with form_of(_TOOL, files[0][0].as_posix()):
        categories = {int(each["id"]): each for _, content in files for each in content["categories"]}
        labels = _labels(categories, settings)
    ids = label_ids(labels, settings.mask_values)
    classes = {id_: ids.get(str(each["name"])) for id_, each in categories.items()}
    records: list[Record] = []
    tables: dict[Path, dict[int, int]] = {}
    problems: list[DataError] = []
    for place, content in files:
        split = split_in(place.stem)
        with form_of(_TOOL, place.as_posix()):
            names = {each["id"]: str(each["file_name"]) for each in content["images"]}
            for each in content["annotations"]:
                try:
                    image = images.find(names[each["image_id"]], place=place)
                    mask = segments.find(f"{place.stem}/{each['file_name']}", place=place)
                    tables[mask] = _table(each, classes, labels, place)
                except DataError as error:
                    problems.append(error)
                    continue
                id_ = f"{split}/{image.stem}" if split else images.id(image)
                records.append(Record(id=id_, group=id_, split=split, image=image, mask=mask))
    return SourceSet(
        labels=labels,
        records=records,
        read_mask=partial(read_segments, tables=tables, exif=settings.exif),
        read_area=partial(masks.read_area, exif=settings.exif),
        problems=problems,
        remarks=images.unused(),
    )


def recognise(tree: Tree) -> str | None:
    """Return why a folder is such a set; None: it is none."""
    for place, content in tree.json_files:
        if _is_panoptic(content) and content["annotations"]:
            return f"{place} has annotations with segments_info"
    return None


def _is_panoptic(content: Any) -> bool:
    """Return whether all annotations of a JSON file have segments; true of a file with none."""
    annotations = content.get("annotations") if isinstance(content, dict) else None
    return isinstance(annotations, list) and all(
        isinstance(each, dict) and "segments_info" in each for each in annotations
    )


def read_segments(path: Path, *, tables: Mapping[Path, Mapping[int, int]], exif: masks.Exif) -> masks.Ids:
    """Return (h, w) class ids of a PNG of segments.

    Args:
        path: The PNG.
        tables: PNG -> segment id -> class id or ignore index.
        exif: What to do with an EXIF rotation.

    Raises:
        DataError: No RGB image, or a segment that the JSON file does not have.
    """
    image = open_image(path, exif=exif)
    if image.mode != "RGB":
        raise DataError(path, f"mode {image.mode}, not RGB", "replace the file")
    red, green, blue = np.moveaxis(np.array(image).astype(np.int32), -1, 0)
    return masks.mapped(red + 256 * green + 65536 * blue, tables[path], place=path)


def _of_segments(place: PurePosixPath) -> bool:
    return place.suffix.lower() == ".png" and any(part.lower().startswith("panoptic") for part in place.parts[:-1])


def _labels(categories: Mapping[int, Mapping[str, Any]], settings: LayoutSettings) -> LabelSet:
    if settings.classes:
        names, palette = zip(*settings.classes, strict=True)
        return LabelSet(class_names=names, palette=palette, ignore_index=free_ignore(settings, len(names)))
    mapped = {line.key: line.class_name for line in settings.mask_values}
    colors: dict[str, Rgb | None] = {}
    for _, each in sorted(categories.items()):
        name = mapped.get(str(each["name"]), str(each["name"]))
        if name is not None:
            red, green, blue = each.get("color") or (0, 0, 0)
            colors.setdefault(name, (int(red), int(green), int(blue)))
    palette = tuple(color for color in colors.values() if color is not None)
    if len(set(palette)) < len(colors):
        palette = bit_palette(len(colors))
    return LabelSet(class_names=tuple(colors), palette=palette, ignore_index=free_ignore(settings, len(colors)))


def _table(
    each: Mapping[str, Any], classes: Mapping[int, int | None], labels: LabelSet, place: PurePosixPath
) -> dict[int, int]:
    table = {0: labels.ignore_index}
    for segment in each["segments_info"]:
        id_ = classes.get(segment["category_id"])
        if id_ is None:
            where = f"{place} image {each['image_id']}"
            problem = f"segment {segment['id']} of the category {segment['category_id']}, which is no class"
            raise DataError(where, problem, "add it to data.classes, or name its class in data.mask_values")
        table[int(segment["id"])] = id_
    return table
