"""Checks of pixel values, sizes, groups and equal images; each returns what is wrong instead of stopping."""

import hashlib
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskline.convert import label_faults
from maskline.convert.records import Record
from maskline.core.errors import DataError
from maskline.data.labels import LabelSet
from maskline.data.manifest import Split
from maskline.reading.masks import describe_values

_WHITE = 255
_MOST_NAMED = 20  # images in a remark
_ON_THE_SET = " as follows: "  # in remarks that count what many images have, or lack


def check_values(mask: NDArray[np.int32], labels: LabelSet, *, place: str) -> list[DataError]:
    """Return a problem if a pixel of ``mask`` (h, w) is neither a class id nor the ignore index."""
    bad = ((mask < 0) | (mask >= labels.num_classes)) & (mask != labels.ignore_index)
    if not bad.any():
        return []
    return [
        DataError(
            place,
            f"label {describe_values(mask, bad)}, classes are 0..{labels.num_classes - 1}, "
            f"ignore index {labels.ignore_index}",
            "fix the mask, or change data.classes, data.ignore_index or data.mask_encoding",
        )
    ]


def check_size(shape: tuple[int, ...], image_shape: tuple[int, ...], *, place: str) -> list[DataError]:
    """Return a problem if a mask's (h, w) is not its image's."""
    if shape[:2] == image_shape[:2]:
        return []
    sizes = f"{shape[1]}x{shape[0]} pixels, its image has {image_shape[1]}x{image_shape[0]}"
    return [DataError(place, sizes, "make the mask for this very image (width x height)")]


def check_groups(records: Sequence[Record]) -> list[DataError]:
    """Return a problem for each id that stands twice and each group that is in two of the set's own splits."""
    problems, ids = [], set[str]()
    seen: dict[str, tuple[str, str]] = {}
    for record in records:
        split, id_ = record.split or "train", record.id
        if id_ in ids:
            problems.append(DataError(id_, "two images of one id", "rename one"))
        ids.add(id_)
        other, other_id = seen.setdefault(record.group, (split, id_))
        if other != split:
            problems.append(
                DataError(
                    id_,
                    f"group {record.group} is in {split} and, with {other_id}, in {other}",
                    "keep each group in one split",
                )
            )
    return problems


def image_hash(pixels: NDArray[np.uint8]) -> str:
    """Return a hash of decoded pixels (h, w, 3): equal for equal images, whatever files they come from."""
    return hashlib.sha256(repr(pixels.shape).encode() + np.ascontiguousarray(pixels).tobytes()).hexdigest()


def same_images(hashes: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return pairs of ids with equal images: the first of each image with each other one.

    Args:
        hashes: id -> ``image_hash``.
    """
    ids = defaultdict(list)
    for id_, digest in sorted(hashes.items()):
        ids[digest].append(id_)
    return [(equal[0], other) for equal in ids.values() for other in equal[1:]]


def check_leaks(
    pairs: Sequence[tuple[str, str]],
    splits: Mapping[str, Split],
    sources: Mapping[str, str],
    *,
    how: str = "the same image as",
) -> list[DataError]:
    """Return a problem for each image that is in two splits.

    Args:
        pairs: As ``same_images`` returns them.
        splits: id -> split.
        sources: id -> file of the image.
        how: What joins the two.
    """
    return [
        DataError(
            sources[other],
            f"{how} {sources[one]}, but in {splits[other]} and that one in {splits[one]}",
            "remove one of the two, or set data.near_duplicates to warn",
        )
        for one, other in pairs
        if splits[one] != splits[other]
    ]


def check_classes(rows: Sequence[Mapping[str, Any]], labels: LabelSet) -> list[DataError]:
    """Return a problem if the masks of a whole set hold the first class and ignored pixels, and nothing else.

    That is how 0/255 masks look that are read as ids: their white is the ignore index.

    Args:
        rows: Manifest rows.
        labels: The classes.
    """
    others = sum(int(row[f"pixels_{i}"]) for row in rows for i in range(1, labels.num_classes))
    ignored = sum(int(row["pixels_ignored"]) for row in rows)
    if not rows or others or not ignored:
        return []
    problem = f"all masks hold {labels.class_names[0]} and the ignore index {labels.ignore_index} alone, no other class"
    if labels.num_classes == 2 and labels.ignore_index == _WHITE:
        zero, white = (json.dumps(name) for name in labels.class_names)
        remedy = f"if 255 is the second class, set data.mask_values to {{0: {zero}, 255: {white}}}"
    else:
        remedy = "if that value is a class, give each value its class in data.mask_values"
    return [DataError("masks", problem, remedy)]


def missing_classes(rows: Sequence[Mapping[str, Any]], labels: LabelSet) -> list[tuple[str, str]]:
    """Return (split, remark) for each split that lacks classes which another split has.

    Args:
        rows: Manifest rows.
        labels: The classes.
    """
    present: dict[str, set[int]] = {}
    for row in rows:
        classes = present.setdefault(row["split"], set())
        classes |= {i for i in range(labels.num_classes) if row[f"pixels_{i}"]}
    every = set().union(*present.values())
    remarks = []
    for split, classes in present.items():
        names = ", ".join(labels.class_names[i] for i in sorted(every - classes))
        if names:
            remarks.append((split, f"missing classes as follows: {names}"))
    return remarks


def left_out(ids: Sequence[str]) -> list[tuple[str, str]]:
    """Return the remark on train images that ``data.train_images`` leaves out; none: no remark."""
    if not ids:
        return []
    names = [*ids[:_MOST_NAMED], *(["..."] if len(ids) > _MOST_NAMED else [])]
    return [("train", f"{len(ids)} images left out by data.train_images as follows: {', '.join(names)}")]


def unused_classes(rows: Sequence[Mapping[str, Any]], labels: LabelSet) -> list[tuple[str, str]]:
    """Return a remark on the classes that no pixel of the whole set has.

    Args:
        rows: Manifest rows, without images that are left out: what only they hold cannot be learned either.
        labels: The classes.
    """
    names = [name for i, name in enumerate(labels.class_names) if rows and not any(row[f"pixels_{i}"] for row in rows)]
    return [("data set", f"{len(names)} classes without a pixel as follows: {', '.join(names)}")] if names else []


def on_the_set(remarks: Sequence[tuple[str, str]]) -> list[str]:
    """Return what a user should read after each conversion: remarks that are not on one image, and counts of faults."""
    lines = [f"{place}: {remark}" for place, remark in remarks if _ON_THE_SET in remark]
    faults = label_faults.counted(remarks)
    return lines + [f"data set: {line}; look at them: all stand in warnings.csv" for line in faults]


def check_counted(rows: Sequence[Mapping[str, Any]], labels: LabelSet) -> list[DataError]:
    """Return a problem for each of train and val in which no pixel counts; a public test split may have no labels.

    Args:
        rows: Of the manifest, with their splits.
        labels: The classes.
    """
    problems = []
    for split in ("train", "val"):
        own = [row for row in rows if row["split"] == split]
        if own and not any(int(row[f"pixels_{i}"]) for row in own for i in range(labels.num_classes)):
            problem = f"every pixel of its {len(own)} images is ignored, so that nothing could be learned or scored"
            problems.append(DataError(f"{split} split", problem, "label them, or give others to the split"))
    return problems


def content_warnings(counts: NDArray[np.int64], ignored: int, *, labels: LabelSet) -> list[str]:
    """Return remarks on a mask that is legal but odd.

    Args:
        counts: (classes,) pixels of each class.
        ignored: Pixels of the ignore index.
        labels: The classes.
    """
    present = np.flatnonzero(counts)
    if len(present) == 0:
        return ["every pixel is ignored" if ignored else "no pixel"]
    if len(present) == 1:
        only = f"single class: {labels.class_names[present[0]]}"
        if present[0] == 0 and ignored and labels.num_classes == 2:
            return [f"{only} and ignored pixels alone, as in a 0/255 mask that is read as ids"]
        return [f"empty mask, {only}" if present[0] == 0 else only]
    return []
