"""COCO's instance JSON: polygons and run lengths, made into one mask an image.

    annotations/instances_train2017.json       "images", "annotations", "categories"
    annotations/person_keypoints_...           left out where there is an instances file
    train2017/000000000009.jpg                 anywhere: found by the end of its path, or by its name alone
    valid/_annotations.coco.json               Roboflow: the folder is the split

Classes: background, then the categories in the order of their ids; a category called background is class 0, one name
is one class. ``data.mask_values`` joins and drops categories by name. An unused category that is only the supercategory
of another one, as Roboflow writes it, is left out. Smaller instances cover larger ones. Run lengths are read plain and
compressed, in a list of one too; polygons with their points as pairs, or a polygon in no list, as others write them.
Crowds are taken as their class. Annotations without an outline, and outlines of one or two points, mark
nothing. All of that is told in remarks. Every image in a JSON file must be there, with annotations or without (it is
background then); images that none lists are left out, with a remark. A JSON file whose name has the word train, val or
test in it, or that lies in a folder of such a name, is that split; else the split is the folder of the image, where all
have one (``file_name: train/3.jpg``); else there are none. An image that several files list, with annotations of other
categories in each, is one image with all of them. Each image is a group.

Source: Lin et al., "Microsoft COCO: Common Objects in Context", ECCV 2014; format: cocodataset.org/#format-data.
Annotations CC BY 4.0, photographs under Flickr's terms; many archives, so no address here.
"""

import reprlib
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, NotRequired

import numpy as np
from numpy.typing import NDArray
from pydantic import PositiveInt, TypeAdapter, ValidationError
from typing_extensions import TypedDict  # pydantic wants this one on Python 3.11

from maskline.convert.format_parts import polygons
from maskline.convert.format_parts.documents import load_json
from maskline.convert.format_parts.finding import visible
from maskline.convert.format_parts.labels_lost import LostLabels, some, spellings
from maskline.convert.format_parts.mask_values import GROUNDS, free_ignore
from maskline.convert.format_parts.named_images import NamedImages, split_in, split_of
from maskline.convert.format_parts.tree import Tree
from maskline.convert.records import LayoutSettings, Record, SourceSet
from maskline.core.errors import DataError
from maskline.data.labels import LabelSet, bit_palette
from maskline.data.manifest import Split
from maskline.reading import masks
from maskline.reading.images import check_pixels
from maskline.reading.masks import read_area

_LEAST_NUMBERS = 6  # of a polygon: three points
_MOST_BITS = 60  # of a run length: longer ones would take time by the square of the text


class _Image(TypedDict):
    id: int | str
    file_name: str
    height: PositiveInt
    width: PositiveInt


class _Category(TypedDict):
    id: int
    name: str
    supercategory: NotRequired[Any]


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
    """An image's size (h, w) and its instances: class id, segmentation and what the annotation is called."""

    shape: tuple[int, int]
    instances: list[tuple[int, Any, str]]


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
        for id_, segmentation, name in image.instances:
            try:
                areas.append((id_, decode(segmentation, image.shape)))
            except (ValueError, TypeError, KeyError, IndexError, OverflowError) as error:
                problem = f"annotation {name}: segmentation that cannot be read ({error})"
                raise DataError(path, problem, "fix it, or remove it") from error
        mask = np.zeros(image.shape, np.int32)
        for id_, inside in sorted(areas, key=lambda instance: -int(instance[1].sum())):
            mask[inside] = id_
        return mask


def read(folder: Path, settings: LayoutSettings) -> SourceSet:
    """Read the JSON files and find their images.

    Raises:
        DataError: No COCO file is there, or one is damaged.
    """
    images = NamedImages(folder)
    files = [(path, place, _load(path, place)) for path, place in visible(folder, (".json",))]
    files = [(path, place, content) for path, place, content in files if "categories" in content]
    named = [file for file in files if file[1].name.lower().startswith("instances")]
    files = named or files  # beside them, COCO has the same images with key points
    if not files:
        raise DataError("coco", "no JSON file with categories in the archive", "give images with COCO's JSON file")
    categories = _Categories([(place, content) for _, place, content in files], settings)
    listed: list[tuple[Split | None, PurePosixPath, Path]] = []
    drawn: dict[Path, _Drawn] = {}
    problems: list[DataError] = []
    remarks = categories.remarks
    parts = _Parts(drawn)
    for path, place, content in files:
        instances = _instances(content, categories, place, problems, remarks)
        used = {categories.name(place, each.get("category_id")) for each in content["annotations"]} - {None}
        split = _split(place)
        for image in content["images"]:
            try:
                file = images.find(image["file_name"], place=place, beside=place.parent, split=split)
            except DataError as error:
                problems.append(error)
                continue
            mask = path / f"{image['id']}" / file.name
            own = _Drawn(shape=(int(image["height"]), int(image["width"])), instances=instances[image["id"]])
            if parts.add(mask, own, key=(split, file), place=place, used=used):
                listed.append((split, images.place(file), mask))
    problems += parts.problems.values()
    remarks += parts.remarks()
    if rest := [id_ for id_, _ in images.unused()]:  # COCO's own test images are tens of thousands
        remarks.append(("images", f"{len(rest)} images that no JSON file lists, left out as follows: {some(rest)}"))
    return SourceSet(
        labels=categories.labels,
        records=_records(folder, listed),
        read_mask=InstanceMasks(drawn),
        read_area=partial(read_area, exif=settings.exif),
        problems=problems,
        remarks=remarks,
    )


class _Parts:
    """Images that several files list, such as one file for each class: their annotations are joined.

    Args:
        drawn: Mask -> what is drawn in it; filled by ``add``.

    Attributes:
        problems: Pair of files -> why their annotations are not joined.
    """

    def __init__(self, drawn: dict[Path, _Drawn]) -> None:
        self.problems: dict[tuple[PurePosixPath, PurePosixPath], DataError] = {}
        self._drawn = drawn
        self._first: dict[tuple[Split | None, Path], tuple[Path, list[tuple[PurePosixPath, set[str | None]]]]] = {}

    def add(
        self, mask: Path, own: _Drawn, *, key: tuple[Split | None, Path], place: PurePosixPath, used: set[str | None]
    ) -> bool:
        """Add an image of a file; return whether it is the first one of this key.

        Args:
            mask: Its name.
            own: What is drawn in it.
            key: Split and image.
            place: The file.
            used: The categories that the file has annotations of.
        """
        first, files = self._first.setdefault(key, (mask, []))
        for other, others in files:
            both = ", ".join(sorted(map(str, used & others)))
            if other == place:
                problem = DataError(place, f"lists {key[1].name} twice", "remove one of the two")
            elif both or self._drawn[first].shape != own.shape:
                why = f"the same images, {f'and annotations of {both} in both' if both else 'of another size in each'}"
                problem = DataError(f"{other} and {place}", why, "leave one of the two files out")
            else:
                continue
            self.problems.setdefault((other, place), problem)
            return False
        files.append((place, used))
        if first == mask:
            self._drawn[mask] = own
            return True
        self._drawn[first].instances.extend(own.instances)
        return False

    def remarks(self) -> list[tuple[str, str]]:
        """Return which files were joined."""
        joined = {tuple(str(place) for place, _ in files) for _, files in self._first.values() if len(files) > 1}
        return [
            ("images", f"annotations of one image in {len(each)} files, joined as follows: {', '.join(each)}")
            for each in sorted(joined)
        ]


def _records(folder: Path, listed: Sequence[tuple[Split | None, PurePosixPath, Path]]) -> list[Record]:
    """Return a record for each image; its id is its name, or its path where two have one name."""
    if not any(split for split, _, _ in listed):
        folders = [split_of(place) for _, place, _ in listed]
        if all(folders):
            listed = [(split, place, mask) for split, (_, place, mask) in zip(folders, listed, strict=True)]
    short = [f"{split}/{place.stem}" if split else place.stem for split, place, _ in listed]
    twice = {id_ for id_, count in Counter(short).items() if count > 1}
    records = []
    for id_, (split, place, mask) in zip(short, listed, strict=True):
        whole = place.with_suffix("").as_posix()
        if id_ in twice:
            id_ = f"{split}/{whole}" if split and not whole.startswith(f"{split}/") else whole  # noqa: PLW2901
        records.append(Record(id=id_, group=id_, split=split, image=folder / place, mask=mask))
    return records


class _Categories:
    """The categories of all files as classes.

    Args:
        files: Path and content of each.
        settings: What the user says.

    Attributes:
        labels: The classes.
        remarks: What was joined or left out.
    """

    def __init__(self, files: Sequence[tuple[PurePosixPath, dict[str, Any]]], settings: LayoutSettings) -> None:
        entries = [(int(each["id"]), each, place) for place, content in files for each in content["categories"]]
        self._names = {(place, id_): str(each["name"]) for id_, each, place in entries}
        used = Counter(
            self._names.get((place, annotation.get("category_id")), "")
            for place, content in files
            for annotation in content["annotations"]
        )
        supers = {str(each.get("supercategory")) for _, each, _ in entries}
        dropped = {
            name
            for id_, each, _ in entries
            if (name := str(each["name"])) in supers and id_ == 0 and self._is_unused(id_, files)
        }
        kept = {(id_, str(each["name"])) for id_, each, _ in entries if not (id_ == 0 and str(each["name"]) in dropped)}
        mapped = {line.key: line.class_name for line in settings.mask_values}
        self._class_of: dict[str, str | None] = {name: mapped.get(name, name.strip()) for _, name in kept}
        chosen = [self._class_of[label] for _, label in sorted(kept)]
        classes = list(dict.fromkeys(name for name in chosen if name is not None))
        ground = next((name for name in classes if name.lower() in GROUNDS), "background")
        names = (ground, *(name for name in classes if name != ground))
        ignored = free_ignore(settings, len(names))
        self.labels = LabelSet(class_names=names, palette=bit_palette(len(names)), ignore_index=ignored)
        self._ids = {name: i for i, name in enumerate(names)}
        self.remarks = [
            ("categories", f"unused category left out as follows: {name}, the supercategory of others")
            for name in sorted(dropped)
        ]
        counts = {name: used[name] for _, name in kept if name not in mapped}
        self.remarks += spellings(counts, place="categories")

    @staticmethod
    def _is_unused(id_: int, files: Sequence[tuple[PurePosixPath, dict[str, Any]]]) -> bool:
        return all(each.get("category_id") != id_ for _, content in files for each in content["annotations"])

    def name(self, place: PurePosixPath, id_: Any) -> str | None:
        """Return the name of a file's category; None: it has none of this id, or one that was left out."""
        name = self._names.get((place, id_))
        return name if name in self._class_of else None

    def id(self, name: str) -> int:
        """Return the class id of a category, or the ignore index."""
        chosen = self._class_of[name]
        return self.labels.ignore_index if chosen is None else self._ids[chosen]


def recognise(tree: Tree) -> str | None:
    """Return why a folder is such a set; None: it is none."""
    place = next((place for place, content in tree.json_files if _is_coco(content)), None)
    return None if place is None else f"{place} has images, annotations and categories"


def _is_coco(content: Any) -> bool:
    """Return whether this is the form, and not the panoptic one."""
    if not isinstance(content, dict) or not {"images", "annotations", "categories"} <= content.keys():
        return False
    annotations = content["annotations"]
    first = annotations[0] if isinstance(annotations, list) and annotations else None
    return not (isinstance(first, dict) and "segments_info" in first)


def decode(segmentation: Any, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Return (h, w) of a COCO segmentation: a list of polygons, or run lengths, plain or compressed.

    Raises:
        ValueError: Wrong size or form.
    """
    if _are_polygons(segmentation):
        outlines = [list(zip(flat[::2], flat[1::2], strict=True)) for flat in segmentation]
        if any(len(points) < 3 for points in outlines):
            raise ValueError("a polygon of less than three points")
        return polygons.fill(shape, outlines)
    if not isinstance(segmentation, dict) or not {"counts", "size"} <= segmentation.keys():
        found = reprlib.repr(segmentation)
        raise ValueError(f"neither polygons [[x1, y1, x2, y2, ...]] nor run lengths {{counts, size}}, but {found}")
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
    content = load_json(path, place.as_posix())
    if not _is_coco(content):
        return {}
    try:
        return dict(_FORM.validate_python(content))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise DataError(place.as_posix(), f"not COCO's form ({where}: {first['msg']})", "fix the file") from error


def _instances(
    content: dict[str, Any],
    categories: _Categories,
    place: PurePosixPath,
    problems: list[DataError],
    remarks: list[tuple[str, str]],
) -> dict[Any, list[tuple[int, Any, str]]]:
    """Return the instances of each image id; annotations of unknown images and categories are problems."""
    sizes = {image["id"]: (int(image["width"]), int(image["height"])) for image in content["images"]}
    instances_by_image: dict[Any, list[tuple[int, Any, str]]] = defaultdict(list)
    lost = LostLabels(place.as_posix())
    for annotation in content["annotations"]:
        where = f"{place} annotation {annotation.get('id')}"
        name = categories.name(place, annotation.get("category_id"))
        if annotation.get("image_id") not in sizes:
            problems.append(DataError(where, f"of no image ({annotation.get('image_id')})", "remove it"))
        elif name is None:
            problems.append(DataError(where, f"of no category ({annotation.get('category_id')})", "fix it"))
        else:
            outline = _usual(annotation.get("segmentation"))
            lost.seen(name)
            if not outline or outline == [[]]:
                lost.lost(name, "without an outline")
                continue
            outline, whole = _with_areas(outline)
            if not whole:
                lost.lost(name, "with outlines of less than three points")
            if not outline:
                continue
            if _is_outside(outline, sizes[annotation["image_id"]]):
                lost.lost(name, "outside of their images")
            instances_by_image[annotation["image_id"]].append((categories.id(name), outline, str(annotation.get("id"))))
    remarks += lost.remarks()
    return instances_by_image


def _usual(outline: Any) -> Any:
    """Return a flat list of numbers for each polygon, and run lengths that are in a list of one; other forms stay.

    Others write the points as pairs, ``[[[x, y], ...]]``, or but one polygon in place of a list of them.
    """
    if not isinstance(outline, list) or not outline:
        return outline
    if isinstance(outline[0], dict) and len(outline) == 1:
        return outline[0]
    if _are_pairs(outline) or all(isinstance(value, int | float) for value in outline):
        outline = [outline]
    return [[value for point in each for value in point] if _are_pairs(each) else each for each in outline]


def _are_pairs(points: Any) -> bool:
    return isinstance(points, list) and all(
        isinstance(point, list) and len(point) == 2 and not isinstance(point[0], list) for point in points
    )


def _are_polygons(outline: Any) -> bool:
    """Return whether this is a list of lists that hold no lists; whether of numbers, shows when they are drawn."""
    return isinstance(outline, list) and all(
        isinstance(flat, list) and not isinstance(next(iter(flat), None), list | dict) for flat in outline
    )


def _with_areas(outline: Any) -> tuple[Any, bool]:
    """Return the polygons of at least three points, and whether these are all; what is no polygon stays."""
    if not _are_polygons(outline):
        return outline, True
    kept = [flat for flat in outline if len(flat) >= _LEAST_NUMBERS]
    return kept, len(kept) == len(outline)


def _is_outside(outline: Any, size: tuple[int, int]) -> bool:
    """Return whether polygons lie beside the image altogether; what is no polygon is looked at when it is drawn."""
    try:
        if not _are_polygons(outline):
            return False
        points = [(flat[::2], flat[1::2]) for flat in outline]
        return all(max(x) < 0 or max(y) < 0 or min(x) >= size[0] or min(y) >= size[1] for x, y in points)
    except (TypeError, ValueError):
        return False


def _split(place: PurePosixPath) -> Split | None:
    """Return the split that a JSON file's name, or else the nearest folder, is called by."""
    for name in (place.stem, *reversed(place.parts[:-1])):
        if (split := split_in(name)) is not None:
            return split
    return None
