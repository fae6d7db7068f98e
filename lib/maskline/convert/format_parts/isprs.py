"""What the two aerial sets of the ISPRS labelling contest share: classes, colors, and tiles as converters cut them.

Masks are RGB of seven pure colors, or index images of 0..6 (the tiles of MMSegmentation's converters); black, and 0,
is the border between objects and becomes the ignore index.
"""

from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np

from maskline.convert.format_parts.finding import above, find, records
from maskline.convert.records import LayoutSettings, SourceSet
from maskline.core.errors import DataError
from maskline.data.labels import LabelSet
from maskline.data.manifest import Split
from maskline.reading import masks
from maskline.reading.images import open_image

_NAMES = ("impervious_surface", "building", "low_vegetation", "tree", "car", "clutter")
_PALETTE = ((255, 255, 255), (0, 0, 255), (0, 255, 255), (0, 255, 0), (255, 255, 0), (255, 0, 0))
_BORDER = (0, 0, 0)
_NEAR = 8  # gray levels; colors are 255 apart, so that what lies so near is no other class
_CUT = {"img_dir": "image", "ann_dir": "mask"}
_SPLITS: dict[str, Split] = {"train": "train", "val": "val"}

WHOLE = "images are whole areas; the recipes of MMSegmentation are for tiles of {0} x {0} px, which its converter cuts"
"""Of a set whose recipes scale and crop by the size of a tile."""

Original = Callable[[PurePosixPath], tuple[str, str] | None]
"""Path of a published file -> (area, kind: image, mask, or mask with borders); None: none of the set's."""


def read_areas(
    folder: Path, settings: LayoutSettings, *, name: str, expected: str, original: Original, val: Collection[str]
) -> SourceSet:
    """Find whole areas as published, or the tiles of ``img_dir/train``, ``ann_dir/train`` and the same of val.

    An area and its tiles are one group. Masks without borders count where both kinds are there.

    Args:
        folder: Of the set.
        settings: Of the layout.
        name: Of the set.
        expected: How the tree should look, for the message.
        original: Says what a published file is.
        val: Areas of the val split; all others are train. Tiles are of the split of their folder.

    Raises:
        DataError: No file of this set is there.
    """

    def meaning(place: PurePosixPath) -> tuple[str, str] | None:
        kind = _CUT.get(above(place, 2))
        if kind is not None:
            return (f"{above(place)}/{place.stem}", kind) if above(place) in _SPLITS else None
        return original(place)

    def split(id_: str) -> Split:
        return _SPLITS[id_.split("/", maxsplit=1)[0]] if "/" in id_ else "val" if id_ in val else "train"

    def group(id_: str) -> str:
        return id_.split("/")[1].rsplit("_", 4)[0] if "/" in id_ else id_

    set_files = find(folder, meaning, name=name, expected=expected)
    for files in set_files.files.values():
        bordered = files.pop("mask with borders", None)
        if bordered is not None:
            files.setdefault("mask", bordered)
    return SourceSet(
        labels=LabelSet(
            class_names=_NAMES, palette=_PALETTE, ignore_index=settings.ignore_index, reduce_zero_label=True
        ),
        records=records(folder, set_files, split=split, group=group),
        read_mask=partial(read_classes, ignore_index=settings.ignore_index, exif=settings.exif),
        read_area=partial(masks.read_area, exif=settings.exif),
        problems=set_files.problems,
        remarks=[] if all("/" in id_ for id_ in set_files.files) else [("data set", WHOLE.format(512))],
        published_splits=True,
    )


def read_classes(path: Path, *, ignore_index: int, exif: masks.Exif) -> masks.Ids:
    """Read a mask of colors, each channel within eight gray levels of 0 or 255, or one of 0..6.

    Raises:
        DataError: Another color or value.
    """
    ids = np.array([ignore_index, *range(len(_NAMES))], dtype=np.int32)
    if masks.mode(path) not in ("RGB", "RGBA"):
        return masks.read_mapped(path, table=dict(enumerate(ids.tolist())), exif=exif)
    pixels = np.array(open_image(path, exif=exif).convert("RGB"))
    table = np.full(8, -1, dtype=np.int32)
    table[[_code(color) for color in (_BORDER, *_PALETTE)]] = ids
    bits = pixels >= 128
    found = table[bits[..., 0] * 4 + bits[..., 1] * 2 + bits[..., 2]]
    bad = (found == -1) | ((pixels > _NEAR) & (pixels < 255 - _NEAR)).any(-1)
    if bad.any():
        row, column = np.argwhere(bad)[0]
        color = tuple(pixels[row, column].tolist())
        problem = f"color {color} at row {row}, column {column} is of no class ({int(bad.sum())} such pixels)"
        raise DataError(path, problem, "replace the file with the set's own")
    return np.asarray(found)


def _code(color: tuple[int, int, int]) -> int:
    return sum(bool(value) << shift for value, shift in zip(color, (2, 1, 0), strict=True))
