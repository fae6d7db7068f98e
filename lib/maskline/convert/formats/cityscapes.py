"""Cityscapes, fine annotations: 2975 + 500 street scenes of 2048x1024 px, nineteen classes.

    leftImg8bit/train/aachen/aachen_000000_000019_leftImg8bit.png
    gtFine/train/aachen/aachen_000000_000019_gtFine_labelIds.png         or _labelTrainIds.png

Two archives (leftImg8bit_trainvaltest.zip, gtFine_trainvaltest.zip): unpack both into one folder and name that.
labelIds become the official train ids, all others the ignore index; labelTrainIds are taken where labelIds are
missing. train and val are used; the labels of test are not published, its files are left out, like those of
``train_extra`` and the coarse annotations. A city is a group.

Source: Cordts et al., "The Cityscapes Dataset for Semantic Urban Scene Understanding", CVPR 2016. Non-commercial
terms, download after registration (cityscapes-dataset.com), so no address here.
"""

import re
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np

from maskline.convert.format_parts.finding import find, records
from maskline.convert.format_parts.tree import Tree, both
from maskline.convert.records import LayoutSettings, SourceSet
from maskline.data.labels import LabelSet, Rgb
from maskline.data.manifest import Split
from maskline.reading import masks

_NAME = re.compile(
    r"(?P<id>(?P<city>[^_]+)_\d+_\d+)_(?P<kind>leftImg8bit|gtFine_labelIds|gtFine_labelTrainIds)$", re.IGNORECASE
)
_SPLITS: dict[str, Split] = {"train": "train", "val": "val"}
_CLASSES: tuple[tuple[int, str, Rgb], ...] = (  # id, name, color, in the order of train ids
    (7, "road", (128, 64, 128)),
    (8, "sidewalk", (244, 35, 232)),
    (11, "building", (70, 70, 70)),
    (12, "wall", (102, 102, 156)),
    (13, "fence", (190, 153, 153)),
    (17, "pole", (153, 153, 153)),
    (19, "traffic light", (250, 170, 30)),
    (20, "traffic sign", (220, 220, 0)),
    (21, "vegetation", (107, 142, 35)),
    (22, "terrain", (152, 251, 152)),
    (23, "sky", (70, 130, 180)),
    (24, "person", (220, 20, 60)),
    (25, "rider", (255, 0, 0)),
    (26, "car", (0, 0, 142)),
    (27, "truck", (0, 0, 70)),
    (28, "bus", (0, 60, 100)),
    (31, "train", (0, 80, 100)),
    (32, "motorcycle", (0, 0, 230)),
    (33, "bicycle", (119, 11, 32)),
)
_LAST_ID = 33


def read(folder: Path, settings: LayoutSettings) -> SourceSet:
    """Find images and masks of train and val.

    Raises:
        DataError: No file of this set is there.
    """
    expected = "leftImg8bit/train/CITY/..._leftImg8bit.png and gtFine/train/CITY/..._gtFine_labelIds.png"
    set_files = find(folder, _meaning, name="cityscapes", expected=expected)
    for files in set_files.files.values():
        train_ids = files.pop("train ids", None)
        if train_ids is not None:
            files.setdefault("mask", train_ids)
    image_records = records(folder, set_files, split=lambda id_: _SPLITS[id_.split("/")[0]], group=_group)
    return SourceSet(
        labels=LabelSet(
            class_names=tuple(name for _, name, _ in _CLASSES),
            palette=tuple(color for *_, color in _CLASSES),
            ignore_index=settings.ignore_index,
        ),
        records=image_records,
        read_mask=partial(read_ids, ignore_index=settings.ignore_index, exif=settings.exif),
        read_area=partial(masks.read_area, exif=settings.exif),
        problems=set_files.problems,
        published_splits=True,
    )


def recognise(tree: Tree) -> str | None:
    """Return why a folder is this set; None: it is not."""
    return both(tree, r"[^/]+_leftImg8bit\.png", r"[^/]+_gtFine_label(?:Train)?Ids\.png")


def read_ids(path: Path, *, ignore_index: int, exif: masks.Exif) -> masks.Ids:
    """Read labelIds, or labelTrainIds by their name, as train ids.

    Raises:
        DataError: A value that is neither.
    """
    if path.stem.lower().endswith("labeltrainids"):
        table = {i: i for i in range(len(_CLASSES))}
    else:
        table = dict.fromkeys(range(_LAST_ID + 1), ignore_index) | {id_: i for i, (id_, *_) in enumerate(_CLASSES)}
    return np.asarray(masks.read_mapped(path, table={**table, 255: ignore_index}, exif=exif))


def _meaning(place: PurePosixPath) -> tuple[str, str] | None:
    name = _NAME.match(place.stem)
    split = next((part.lower() for part in reversed(place.parts[:-1]) if part.lower() in _SPLITS), None)
    if not name or split is None:
        return None
    kinds = {"leftimg8bit": "image", "gtfine_labelids": "mask", "gtfine_labeltrainids": "train ids"}
    return f"{split}/{name['id']}", kinds[name["kind"].lower()]


def _group(id_: str) -> str:
    return id_.split("/")[1].split("_", maxsplit=1)[0]
