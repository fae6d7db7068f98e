"""The user's own images and masks in folders.

    images/a.jpg      masks/a.png                      no splits: convert makes them
    train/images/...  train/masks/...  test/images/... a split folder above
    images/train/...  masks/train/...  images/test/... or below
    train_images/...  train_masks/...  val_images/...  or in their names (``SPLIT_images`` and ``SPLIT_masks``)
    train/...         train_masks/...  val/...         (``SPLIT`` and ``SPLIT_masks``)
    one/images/...    one/masks/...    two/images/...  parts with equal names: the folders around are part of the ids

``second/`` (a second observer's masks) and ``valid/`` (pixels that can be scored) may stand beside ``masks/``.
Masks are images, or arrays of class ids in .npy or .mat files. An image and its mask have the same path but for these
folders and the suffix; that path is the image's id, and each image is a group of its own. Split folders are train
(training), val (validation, valid) and test (testing); one in which no image has a mask is left out, with a remark.
Letter case does not matter; folders around all of this are ignored, hidden files too. Other names of the two folders,
and what the names of images or masks begin and end with, are those of ``data.image_dir``, ``mask_dir``,
``image_prefix``, ``mask_prefix``, ``image_suffix`` and ``mask_suffix``; images in other folders, or called otherwise,
are left out, with a remark. Binary masks side by side with their image that go on with a number, ``a_mask_1.png``
beside ``a_mask.png``, are one mask: what any of them has is class 1.
"""

from collections import defaultdict
from functools import partial
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np

from maskline.convert.detecting import detect
from maskline.convert.format_parts import mask_values
from maskline.convert.format_parts.finding import visible_files
from maskline.convert.format_parts.tree import Tree
from maskline.convert.pairing import HERE, PairNames, left_out, meanings, more_masks, without_masks
from maskline.convert.records import LayoutSettings, ReadMask, Record, SourceSet
from maskline.core.errors import DataError
from maskline.data.labels import LabelSet
from maskline.data.manifest import Split
from maskline.reading import masks
from maskline.reading.arrays import ARRAY_SUFFIXES
from maskline.reading.images import IMAGE_SUFFIXES

_DOCUMENTS = frozenset((".txt", ".csv", ".json", ".xml", ".yaml", ".yml", ".md", ".html", ".pdf", ""))
"""Types of files that are left out where no image or mask is called alike; "" is for LICENSE and README."""

Found = dict[str, dict[str, list[Path]]]  # id -> kind -> files


class _Files(NamedTuple):
    """What a folder holds.

    Args:
        by_id: Files by id and kind.
        splits: Split of each id.
        problems: Files that are no images and no documents.
        remarks: What is left out of images, masks and documents, and what is merged.
        more: The first of several masks that are one, and the others.
    """

    by_id: Found
    splits: dict[str, Split | None]
    problems: list[DataError]
    remarks: list[tuple[str, str]]
    more: dict[Path, list[Path]]


def read(folder: Path, settings: LayoutSettings) -> SourceSet:
    """Pair images and masks by name.

    Raises:
        DataError: No images, no masks, or classes that do not fit the encoding.
    """
    labels = mask_values.label_set(settings)
    reader = mask_values.value_reader(settings, labels) or mask_reader(settings)
    return read_pairs(folder, labels=labels, read_mask=reader, settings=settings)


def read_pairs(folder: Path, *, labels: LabelSet, read_mask: ReadMask, settings: LayoutSettings) -> SourceSet:
    """Pair images and masks by name, for any set that is laid out as this module says.

    Raises:
        DataError: No images or no masks.
    """
    files_by_id, splits, problems, remarks, more = _find(folder, settings)
    for kind, name in (("image", settings.names.image_dir), ("mask", settings.names.mask_dir)):
        if not any(kinds.get(kind) for kinds in files_by_id.values()):
            remedy = f"put the {kind} files into a folder called {name}, or set data.{kind}_dir to the name that it has"
            raise DataError(f"{name}/", "no images in it", remedy)
    bare = without_masks((splits[id_], bool(kinds.get("mask"))) for id_, kinds in files_by_id.items())
    records = []
    for split in sorted(filter(None, bare)):
        count = sum(splits[id_] == split for id_ in files_by_id)
        remarks.append((split, f"left out as follows: {count} images, none of this split has a mask"))
    for id_, kinds in sorted(files_by_id.items()):
        if splits[id_] is not None and splits[id_] in bare:
            continue
        wrong = _second_mask(folder, id_, files_by_id, settings.names) or _pair_problem(folder, kinds)
        if wrong:
            problems.append(wrong)
            continue
        files = {kind: paths[0] for kind, paths in kinds.items()}
        records.append(
            Record(
                id=id_,
                group=id_,
                split=splits[id_],
                image=files["image"],
                mask=files["mask"],
                second=files.get("second"),
                valid=files.get("valid"),
            )
        )
    if any(splits.values()):
        problems += [
            DataError(record.image.relative_to(folder).as_posix(), "in no split folder, others are", "move it into one")
            for record in records
            if record.split is None
        ]
    return SourceSet(
        labels=labels,
        records=records,
        read_mask=partial(_read_merged, read_mask=read_mask, more=more) if more else read_mask,
        read_area=partial(masks.read_area, exif=settings.exif),
        problems=problems,
        remarks=remarks,
    )


def recognise(tree: Tree) -> str | None:
    """Return why a folder is such a set; None: it is none."""
    rule = detect(tree.places)
    return None if rule is None else f"{rule.pairs} pairs of {rule.names.describe()}"


def mask_reader(settings: LayoutSettings) -> ReadMask:
    """Return the reader that ``settings.mask_encoding`` asks for.

    Raises:
        DataError: ``binary`` or ``binary_snapped`` with other than two classes; ``color`` with one color twice.
    """
    colors = tuple(color for _, color in settings.classes)
    match settings.mask_encoding:
        case "index":
            return partial(masks.read_index, exif=settings.exif)
        case "palette":
            return partial(masks.read_palette, exif=settings.exif, colors=colors)
        case "binary" | "binary_snapped":
            if len(colors) != 2:
                raise DataError("data.classes", f"{len(colors)} classes with 0/255 masks", "give two classes")
            reader = masks.read_binary if settings.mask_encoding == "binary" else masks.read_snapped
            return partial(reader, exif=settings.exif)
        case "color":
            if len(set(colors)) != len(colors):
                raise DataError("data.classes", "two classes have one color", "give each class its own color")
            return partial(masks.read_color, colors=colors, exif=settings.exif)


def _find(folder: Path, settings: LayoutSettings) -> _Files:
    """Sort all files under ``folder`` by id and kind, and tell those that are left out."""
    names = settings.names
    files_by_id: Found = defaultdict(lambda: defaultdict(list))
    splits: dict[str, Split | None] = {}
    problems = []
    others = list[tuple[PurePosixPath, str]]()
    places = {place: path for path, place in visible_files(folder)}
    known = meanings(places, names)
    further = more_masks(known, names) if merges(settings.mask_encoding, settings.mask_values) else {}
    more = defaultdict[Path, list[Path]](list)
    for place, first in further.items():
        more[places[first]].append(places[place])
        del known[place]
    for place, (kind, split, id_) in known.items():
        array = place.suffix.lower() in ARRAY_SUFFIXES and kind in ("mask", "second")
        if place.suffix.lower() not in IMAGE_SUFFIXES and not array:
            if names.image_dir != HERE:
                others.append((place, id_))
            continue
        files_by_id[id_][kind].append(places[place])
        splits[id_] = split
    documents = []
    for place, id_ in others:
        if place.suffix.lower() in _DOCUMENTS and id_ not in files_by_id:
            documents.append(place.as_posix())
        else:
            problems.append(DataError(place.as_posix(), "not an image file by its name", "move it out of this folder"))
    remarks = [f"left out as follows: {line}" for line in left_out(places, names)]
    if further:
        remarks.append(merged_line(further))
    if documents:
        rest = f" and {len(documents) - 1} more" if len(documents) > 1 else ""
        remarks.append(f"{len(documents)} files that are no images left out as follows: {documents[0]}{rest}")
    return _Files(files_by_id, splits, problems, [("data set", remark) for remark in remarks], dict(more))


def merges(encoding: object, values: object) -> bool:
    """Return whether several masks of an image can be one: what any of them has is class 1."""
    return encoding in ("binary", "binary_snapped") and not values


def merged_line(more: dict[PurePosixPath, PurePosixPath]) -> str:
    """Return what a user is told of ``more_masks``."""
    one, first = next(iter(more.items()))
    return f"{len(more)} further masks merged into the first of their images, such as {one.name} into {first.name}"


def _read_merged(path: Path, *, read_mask: ReadMask, more: dict[Path, list[Path]]) -> masks.Ids:
    merged = read_mask(path)
    for file in more.get(path, ()):
        mask = read_mask(file)
        if mask.shape != merged.shape:
            sizes = f"{mask.shape[1]}x{mask.shape[0]} pixels, {path.name} has {merged.shape[1]}x{merged.shape[0]}"
            raise DataError(file, sizes, "replace the file")
        merged = np.maximum(merged, mask)
    return merged


def _second_mask(folder: Path, id_: str, files_by_id: Found, names: PairNames) -> DataError | None:
    """Return that a file without a mask is one more mask of another image, side by side with it: a_mask_1.png."""
    at = id_.rfind(names.mask_suffix) if names.mask_suffix and names.image_dir == HERE else -1
    own, other = files_by_id[id_], files_by_id.get(id_[:at], {}) if at > 0 else {}
    if set(own) != {"image"} or not {"image", "mask"} <= other.keys():
        return None
    place = own["image"][0].relative_to(folder).as_posix()
    return DataError(place, f"one more mask beside {other['mask'][0].name}", "merge them into one file, or remove one")


def _pair_problem(folder: Path, kinds: dict[str, list[Path]]) -> DataError | None:
    """Return what is wrong with the files of one id."""
    for kind, paths in kinds.items():
        if len(paths) > 1:
            names = " and ".join(path.name for path in paths)
            place = paths[1].relative_to(folder).as_posix()
            return DataError(place, f"two {kind} files of one name ({names})", "rename or remove one")
    if "image" in kinds and "mask" in kinds:
        return None
    place = next(iter(kinds.values()))[0].relative_to(folder).as_posix()
    if "image" in kinds:
        return DataError(place, "image without a mask", "add its mask, or remove the image")
    return DataError(place, "mask without an image", "add its image, or remove the file")
