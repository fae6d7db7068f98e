"""COCO's instance JSON: polygons and run lengths, made into one mask an image.

    annotations/instances_train2017.json       "images", "annotations", "categories"
    annotations/person_keypoints_...           left out where there is an instances file
    train2017/000000000009.jpg                 anywhere: found by the end of its path

Classes: background, then the categories in the order of their ids. Smaller instances cover larger ones. Run lengths are
read plain and compressed; crowds are taken as their class. Every image in a JSON file must be there, with annotations
or without (it is background then). A JSON file whose name has train, val or test in it is that split; else there are no
splits. Each image is a group.

Source: Lin et al., "Microsoft COCO: Common Objects in Context", ECCV 2014; format: cocodataset.org/#format-data.
Annotations CC BY 4.0, photographs under Flickr's terms; many archives, so no address here.
"""

import json
from collections import defaultdict
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, NotRequired

import numpy as np
from numpy.typing import NDArray
from pydantic import PositiveInt, TypeAdapter, ValidationError
from typing_extensions import TypedDict  # pydantic wants this one on Python 3.11

from maskline.convert.format_parts import polygons
from maskline.convert.format_parts.finding import visible
from maskline.convert.format_parts.tree import Tree
from maskline.convert.records import LayoutSettings, Record, SourceSet
from maskline.core.errors import DataError
from maskline.data.labels import LabelSet, bit_palette
from maskline.data.manifest import Split
from maskline.reading import masks
from maskline.reading.images import IMAGE_SUFFIXES, check_pixels
from maskline.reading.masks import read_area

_MOST_BITS = 60  # of a run length: longer ones would take time by the square of the text


class _Image(TypedDict):
    id: int | str
    file_name: str
    height: PositiveInt
    width: PositiveInt


class _Category(TypedDict):
    id: int
    name: str


class _Annotation(TypedDict):
    id: NotRequired[Any]
    image_id: NotRequired[int | str | None]
    category_id: NotRequired[int | None]
    segmentation: NotRequired[Any]


class _File(TypedDict):
    images: list[_Image]
    annotations: list[_Annotation]
    categories: list[_Category]


_FORM = TypeAdapter(_File)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Drawn:
    """An image's size (h, w) and its instances: class id and segmentation."""

    shape: tuple[int, int]
    instances: list[tuple[int, Any]]


@dataclass(frozen=True, slots=True)
class InstanceMasks:
    """Draws the instances of an image; the path is the JSON file with the image's name behind it."""

    drawn: dict[Path, _Drawn]

    def __call__(self, path: Path) -> masks.Ids:
        """Return (h, w) class ids.

        Raises:
            DataError: A segmentation that is neither polygons nor run lengths of the image's size.
        """
        image = self.drawn[path]
        check_pixels(path, image.shape[1], image.shape[0])
        areas = []
        for id_, segmentation in image.instances:
            try:
                areas.append((id_, decode(segmentation, image.shape)))
            except (ValueError, TypeError, KeyError, IndexError, OverflowError) as error:
                raise DataError(path, f"segmentation that cannot be read ({error})", "fix the annotation") from error
        mask = np.zeros(image.shape, np.int32)
        for id_, inside in sorted(areas, key=lambda instance: -int(instance[1].sum())):
            mask[inside] = id_
        return mask


def read(folder: Path, settings: LayoutSettings) -> SourceSet:
    """Read the JSON files and find their images.

    Raises:
        DataError: No COCO file is there, or one is damaged.
    """
    images: dict[str, list[Path]] = defaultdict(list)
    for path, _ in visible(folder, IMAGE_SUFFIXES):
        images[path.name].append(path)
    files = [(path, place, _load(path, place)) for path, place in visible(folder, (".json",))]
    files = [(path, place, content) for path, place, content in files if "categories" in content]
    named = [file for file in files if file[1].name.lower().startswith("instances")]
    files = named or files  # beside them, COCO has the same images with key points
    if not files:
        raise DataError("coco", "no JSON file with categories in the archive", "give images with COCO's JSON file")
    categories = {int(entry["id"]): str(entry["name"]) for *_, content in files for entry in content["categories"]}
    ids = {category: i for i, category in enumerate(sorted(categories), start=1)}
    records: list[Record] = []
    drawn: dict[Path, _Drawn] = {}
    problems: list[DataError] = []
    for path, place, content in files:
        split, instances = _split(place), _instances(content, ids, place, problems)
        for image in content["images"]:
            name = PurePosixPath(str(image["file_name"]).replace("\\", "/"))
            matches = [file for file in images[name.name] if _ends(file, name, split)]
            if not matches:
                problems.append(DataError(place.as_posix(), f"its image {name} is not there", "add the image"))
                continue
            id_ = f"{split}/{name.stem}" if split else name.stem
            mask = path / name
            drawn[mask] = _Drawn(shape=(int(image["height"]), int(image["width"])), instances=instances[image["id"]])
            records.append(Record(id=id_, group=id_, split=split, image=matches[0], mask=mask))
    names = ("background", *(categories[category] for category in sorted(categories)))
    return SourceSet(
        labels=LabelSet(class_names=names, palette=bit_palette(len(names)), ignore_index=settings.ignore_index),
        records=records,
        read_mask=InstanceMasks(drawn),
        read_area=partial(read_area, exif=settings.exif),
        problems=problems,
    )


def recognise(tree: Tree) -> str | None:
    """Return why a folder is such a set; None: it is none."""
    place = next((place for place, content in tree.json_files if _is_coco(content)), None)
    return None if place is None else f"{place} has images, annotations and categories"


def _is_coco(content: Any) -> bool:
    return isinstance(content, dict) and {"images", "annotations", "categories"} <= content.keys()


def decode(segmentation: Any, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Return (h, w) of a COCO segmentation: a list of polygons, or run lengths, plain or compressed.

    Raises:
        ValueError: Wrong size or form.
    """
    if isinstance(segmentation, list):
        outlines = [list(zip(flat[::2], flat[1::2], strict=True)) for flat in segmentation]
        if any(len(points) < 3 for points in outlines):
            raise ValueError("a polygon of less than three points")
        return polygons.fill(shape, outlines)
    if tuple(segmentation["size"]) != shape:
        raise ValueError(f"run lengths for {segmentation['size']}, the image has {list(shape)}")
    counts = segmentation["counts"]
    runs = _runs(counts) if isinstance(counts, str) else [int(count) for count in counts]
    if min(runs, default=0) < 0 or sum(runs) != shape[0] * shape[1]:
        raise ValueError(f"run lengths sum to {sum(runs)}, the image has {shape[0] * shape[1]} pixels")
    values = np.arange(len(runs)) % 2 == 1
    return np.repeat(values, runs).reshape(shape[::-1]).T


def _runs(text: str) -> list[int]:
    """Return the run lengths of COCO's compressed text: five bits a letter, from the third run on as differences."""
    runs: list[int] = []
    value = shift = 0
    for letter in text:
        if shift > _MOST_BITS:
            raise ValueError("a run length of more bits than an image has pixels")
        bits = ord(letter) - 48
        value |= (bits & 0x1F) << shift
        shift += 5
        if bits & 0x20:
            continue
        if bits & 0x10:
            value -= 1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value = shift = 0
    if shift:
        raise ValueError("run lengths end too early")
    return runs


def _load(path: Path, place: PurePosixPath) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise DataError(place.as_posix(), f"not JSON ({error})", "replace the file") from error
    if not _is_coco(content):
        return {}
    try:
        return dict(_FORM.validate_python(content))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise DataError(place.as_posix(), f"not COCO's form ({where}: {first['msg']})", "fix the file") from error


def _instances(
    content: dict[str, Any], ids: dict[int, int], place: PurePosixPath, problems: list[DataError]
) -> dict[Any, list[tuple[int, Any]]]:
    """Return the instances of each image id; annotations of unknown images and categories are problems."""
    known = {image["id"] for image in content["images"]}
    instances_by_image: dict[Any, list[tuple[int, Any]]] = defaultdict(list)
    for annotation in content["annotations"]:
        where = f"{place} annotation {annotation.get('id')}"
        if annotation.get("image_id") not in known:
            problems.append(DataError(where, f"of no image ({annotation.get('image_id')})", "remove it"))
        elif annotation.get("category_id") not in ids:
            problems.append(DataError(where, f"of no category ({annotation.get('category_id')})", "fix it"))
        else:
            instances_by_image[annotation["image_id"]].append(
                (ids[annotation["category_id"]], annotation.get("segmentation"))
            )
    return instances_by_image


def _split(place: PurePosixPath) -> Split | None:
    name = place.stem.lower()
    splits: tuple[Split, ...] = ("train", "val", "test")
    return next((split for split in splits if split in name), None)


def _ends(file: Path, name: PurePosixPath, split: Split | None) -> bool:
    """Return whether a file is the one of that name; among files of several splits, the one in its split's folder."""
    if file.parts[-len(name.parts) :] != name.parts:
        return False
    folder = file.parent.name.lower()
    others = [other for other in ("train", "val", "test") if other != split and folder.startswith(other)]
    return split is None or not others
