"""PASCAL Context, its 59 frequent classes with or without background.

    VOC2010/JPEGImages/2008_000002.jpg
    VOC2010/SegmentationClassContext/2008_000002.png            index PNG of 0..59
    VOC2010/ImageSets/SegmentationContext/train.txt             and val.txt
    trainval/2008_000002.mat                                    or the set's own files, of 459 classes

The PNG files and lists are those of MMSegmentation's converter; they count where .mat files are there too. 0, and of
the .mat files all of the other 400 classes, is background: a class of its own, or the ignore index. Without lists there
are no splits. Each image is a group.

Source: Mottaghi et al., "The Role of Context for Object Detection and Semantic Segmentation in the Wild", CVPR 2014.
Photographs under Flickr's terms. cs.stanford.edu/~roozbeh/pascal-context
"""

from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np

from maskline.convert.format_parts.finding import above, find, records
from maskline.convert.format_parts.pascal_context_classes import IDS, NAMES, PALETTE
from maskline.convert.format_parts.tree import Tree, both
from maskline.convert.format_parts.voc_lists import read_lists
from maskline.convert.records import LayoutSettings, SourceSet
from maskline.core.errors import DataError
from maskline.data.labels import LabelSet
from maskline.reading import masks
from maskline.reading.images import IMAGE_SUFFIXES

_KINDS = {"jpegimages": "image", "segmentationclasscontext": "mask"}
_BACKGROUND = (120, 120, 120)
_MOST = 459


def read_context(folder: Path, settings: LayoutSettings, *, name: str, background: bool) -> SourceSet:
    """Find masks, their images and the lists.

    Args:
        folder: Of the set.
        settings: Of the layout.
        name: Of the set, for messages.
        background: A class of its own, the first; else it becomes the ignore index.

    Raises:
        DataError: No file of this set is there.
    """
    expected = "JPEGImages/NAME.jpg and SegmentationClassContext/NAME.png, or trainval/NAME.mat"
    set_files = find(folder, _meaning, name=name, expected=expected, suffixes=(*IMAGE_SUFFIXES, ".mat"))
    for files in set_files.files.values():
        own = files.pop("mask of 459", None)
        if own is not None:
            files.setdefault("mask", own)
    set_files.files = {id_: files for id_, files in set_files.files.items() if "mask" in files}
    if not set_files.files:
        raise DataError(name, "no masks in SegmentationClassContext or trainval", f"give {expected}")
    listed, problems = read_lists(
        folder, set_files.files, within="segmentationcontext", masks="SegmentationClassContext"
    )
    ids = (0, *range(1, len(NAMES) + 1)) if background else (settings.ignore_index, *range(len(NAMES)))
    return SourceSet(
        labels=LabelSet(
            class_names=("background", *NAMES) if background else NAMES,
            palette=(_BACKGROUND, *PALETTE) if background else PALETTE,
            ignore_index=settings.ignore_index,
            reduce_zero_label=not background,
        ),
        records=records(folder, set_files, split=lambda id_: listed.get(id_, "train") if listed else None),
        read_mask=partial(read_classes, ids=ids, exif=settings.exif),
        read_area=partial(masks.read_area, exif=settings.exif),
        problems=set_files.problems + problems,
        published_splits=bool(listed),
    )


def recognise(tree: Tree) -> str | None:
    """Return why a folder is this set; None: it is not."""
    return both(tree, r"JPEGImages/[^/]+", r"SegmentationClassContext/[^/]+\.png") or both(
        tree, r"JPEGImages/[^/]+", r"trainval/\d{4}_\d{6}\.mat"
    )


def read_classes(path: Path, *, ids: tuple[int, ...], exif: masks.Exif) -> masks.Ids:
    """Read a mask of 0..59, or a .mat file of 459 classes.

    Args:
        path: The file.
        ids: What background and the 59 classes become.
        exif: What to do with an EXIF rotation.

    Raises:
        DataError: Unreadable, or another value.
    """
    if path.suffix.lower() != ".mat":
        return masks.read_mapped(path, table=dict(enumerate(ids)), exif=exif)
    table = dict.fromkeys(range(_MOST + 1), ids[0]) | dict(zip(IDS, ids[1:], strict=True))
    return masks.mapped(np.asarray(masks.read_index(path, exif=exif)), table, place=path)


def _meaning(place: PurePosixPath) -> tuple[str, str] | None:
    if place.suffix.lower() == ".mat":
        return (place.stem, "mask of 459") if above(place) == "trainval" else None
    kind = _KINDS.get(above(place))
    return (place.stem, kind) if kind else None
