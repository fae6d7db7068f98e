"""Labels that are legal and likely wrong: masks of other images, and ids that were blended when masks were resized."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from maskline.convert.splitting.near_duplicates import Fingerprint, are_alike
from maskline.data.labels import LabelSet

Remark = tuple[str, str]

_LEAST_PIXELS = 16  # outside of a mask's largest class, and of a rim: less is chance
_LEAST_COMMON = 4  # images with one mask that are called all of the set
_REACH = 2  # px: half of the blended border of masks that were made up to four times as large
_SAMPLED = 400  # pixels of a class that are looked at in a mask
_MOSTLY = 0.9  # of a class's pixels
_JUMPS = 1.0  # borders between ids that are no neighbors, for each pixel of a rim
_NAMED = 5

_SAME_MASK = "the same mask as "
_OTHER_MASK = "another mask though the same image as "
_BLENDED = "blended ids as by resizing: "
_KINDS = (
    (_SAME_MASK, "with the mask of another image"),
    (_OTHER_MASK, "with another mask than an equal image"),
    (_BLENDED, "with ids blended as by resizing other than by nearest neighbor"),
)


class Rim(NamedTuple):
    """A class of one mask that is but a rim between lower and higher ids.

    Args:
        class_id: The class.
        pixels: Its pixels with both around them.
        smooth: Whether hardly any ids that are no neighbors touch each other in this mask.
    """

    class_id: int
    pixels: int
    smooth: bool


def is_plain(mask: NDArray[np.int32], counts: NDArray[np.int64]) -> bool:
    """Return whether what is not of the largest class is one piece without dents in any row or column, such as a box.

    Args:
        mask: (h, w) class ids.
        counts: (classes,) pixels of each class.
    """
    inside = np.pad(mask != counts.argmax(), 1)
    begins = ((inside[1:] & ~inside[:-1]).sum(axis=0), (inside[:, 1:] & ~inside[:, :-1]).sum(axis=1))
    return all(int(each.max()) <= 1 for each in begins)


def rims(mask: NDArray[np.int32], counts: NDArray[np.int64]) -> list[Rim]:
    """Return the classes of a mask that lie between a lower and a higher one nearly everywhere.

    Args:
        mask: (h, w) class ids; others do not count.
        counts: (classes,) pixels of each class.
    """
    present = np.flatnonzero(counts)
    if len(present) < 3:
        return []
    num_classes, width = len(counts), mask.shape[1]
    wide = np.pad(mask, _REACH, mode="edge")
    down, right = (step.ravel() for step in np.mgrid[: 2 * _REACH + 1, : 2 * _REACH + 1])
    between = []
    for id_ in present[1:-1].tolist():
        at = np.flatnonzero(mask == id_)
        rows, columns = np.divmod(at[:: max(1, len(at) // _SAMPLED)], width)
        near = wide[rows[:, None] + down, columns[:, None] + right]
        lower, higher = ((near >= 0) & (near < id_)).any(axis=1), ((near > id_) & (near < num_classes)).any(axis=1)
        share = float((lower & higher).mean())
        if share >= _MOSTLY:
            between.append((id_, round(share * int(counts[id_]))))
    if not between:
        return []
    jumps = sum(
        int(((np.abs(one - other) > 1) & (np.maximum(one, other) < num_classes) & (np.minimum(one, other) >= 0)).sum())
        for one, other in ((mask[1:], mask[:-1]), (mask[:, 1:], mask[:, :-1]))
    )
    smooth = jumps <= _JUMPS * sum(pixels for _, pixels in between)
    return [Rim(id_, pixels, smooth) for id_, pixels in between]


def blended(rows: Sequence[Mapping[str, Any]], rims_of: Mapping[str, Sequence[Rim]], labels: LabelSet) -> list[Remark]:
    """Return remarks on classes that are but a rim in the whole set, and on masks in which others are.

    Args:
        rows: Manifest rows.
        rims_of: id -> ``rims``.
        labels: The classes.
    """
    between: dict[int, int] = defaultdict(int)
    for rim in (rim for rims_ in rims_of.values() for rim in rims_):
        between[rim.class_id] += rim.pixels
    remarks, told = [], set[int]()
    for class_id, pixels in sorted(between.items()):
        images = [row["id"] for row in rows if row[f"pixels_{class_id}"]]
        if pixels >= max(_LEAST_PIXELS, _MOSTLY * sum(int(row[f"pixels_{class_id}"]) for row in rows)):
            told.add(class_id)
            where = f"{labels.class_names[class_id]} in {len(images)} images ({_some(images)})"
            remark = f"1 classes that are but a rim between others as follows: {where}"
            remarks.append(("data set", f"{remark}; were masks resized other than by nearest neighbor?"))
    for id_, rims_ in sorted(rims_of.items()):
        names = [
            labels.class_names[rim.class_id]
            for rim in rims_
            if rim.smooth and rim.pixels >= _LEAST_PIXELS and rim.class_id not in told
        ]
        remarks += [(id_, f"{_BLENDED}{', '.join(names)} is but a rim between others")] if names else []
    return remarks


def shared_masks(
    rows: Sequence[Mapping[str, Any]],
    hashes: Mapping[str, str],
    prints: Mapping[str, Fingerprint],
    *,
    plain: Collection[str] = (),
) -> list[Remark]:
    """Return remarks on images with the mask of another one that is not nearly the same image.

    Masks of one class, or of hardly more, are equal by chance and do not count.

    Args:
        rows: Manifest rows.
        hashes: id -> hash of the image.
        prints: id -> fingerprint of the image, where it has one.
        plain: Ids of masks that are likely to be equal in other images too, and do not count.
    """
    ids_of: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        counts = [int(value) for key, value in row.items() if key.startswith("pixels_")]
        if sum(counts) - max(counts) >= _LEAST_PIXELS and row["id"] not in plain:
            ids_of[row["mask_sha256"]].append(row["id"])
    remarks = []
    for ids in ids_of.values():
        first = min(ids)
        others = [
            id_ for id_ in sorted(ids) if hashes[id_] != hashes[first] and not are_alike(prints, one=first, other=id_)
        ]
        if len(others) + 1 >= max(_LEAST_COMMON, len(rows) / 2):
            equal = [first, *others]
            remarks.append(("data set", f"{len(equal)} images with one and the same mask as follows: {_some(equal)}"))
        else:
            remarks += [(id_, f"{_SAME_MASK}{first}, on another image") for id_ in others]
    return remarks


def other_masks(pairs: Sequence[tuple[str, str]], rows: Sequence[Mapping[str, Any]]) -> list[Remark]:
    """Return a remark on each image that has another mask than an equal image.

    Args:
        pairs: Ids of equal images.
        rows: Manifest rows.
    """
    masks = {row["id"]: row["mask_sha256"] for row in rows}
    return [(other, f"{_OTHER_MASK}{one}") for one, other in pairs if masks[one] != masks[other]]


def counted(remarks: Sequence[Remark]) -> list[str]:
    """Return a line for each kind of fault that single images have, with their number and the first of them."""
    lines = []
    for start, what in _KINDS:
        ids = [id_ for id_, remark in remarks if remark.startswith(start)]
        lines += [f"{len(ids)} images {what}: {_some(ids)}"] if ids else []
    return lines


def _some(ids: Sequence[str]) -> str:
    more = f" and {len(ids) - _NAMED} more" if len(ids) > _NAMED else ""
    return ", ".join(ids[:_NAMED]) + more
