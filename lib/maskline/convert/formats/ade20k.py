"""ADE20K, the scene parsing challenge of 2016: 20210 + 2000 photographs, 150 classes.

    ADEChallengeData2016/images/training/ADE_train_00000001.jpg
    ADEChallengeData2016/annotations/training/ADE_train_00000001.png     and validation likewise

Masks are index PNGs of 0..150; 0 is "other" and becomes the ignore index, the rest move down by one (reduce zero
label). ``objectInfo150.txt`` is not read; the class names are its first words. training is train, validation is val;
there is no labelled test split.

Source: Zhou et al., "Scene Parsing through ADE20K Dataset", CVPR 2017. BSD-3 for the annotations, photographs for
research. data.csail.mit.edu/places/ADEchallenge/ADEChallengeData2016.zip
"""

from functools import partial
from pathlib import Path, PurePosixPath

from maskline.convert.format_parts.ade20k_classes import NAMES, PALETTE
from maskline.convert.format_parts.finding import above, find, records
from maskline.convert.format_parts.tree import Tree, both
from maskline.convert.records import LayoutSettings, SourceSet
from maskline.data.labels import LabelSet
from maskline.data.manifest import Split
from maskline.reading import masks

_KINDS = {"images": "image", "annotations": "mask"}
_SPLITS: dict[str, Split] = {"training": "train", "validation": "val"}


def read(folder: Path, settings: LayoutSettings) -> SourceSet:
    """Find images and masks.

    Raises:
        DataError: No file of this set is there.
    """
    expected = "images/training/NAME.jpg, annotations/training/NAME.png and the like"
    set_files = find(folder, _meaning, name="ade20k", expected=expected)
    image_records = records(folder, set_files, split=lambda id_: _SPLITS[id_.split("/")[0]])
    table = {0: settings.ignore_index} | {i + 1: i for i in range(len(NAMES))}
    return SourceSet(
        labels=LabelSet(class_names=NAMES, palette=PALETTE, ignore_index=settings.ignore_index, reduce_zero_label=True),
        records=image_records,
        read_mask=partial(masks.read_mapped, table=table, exif=settings.exif),
        read_area=partial(masks.read_area, exif=settings.exif),
        problems=set_files.problems,
        published_splits=True,
    )


def recognise(tree: Tree) -> str | None:
    """Return why a folder is this set; None: it is not."""
    return both(
        tree, r"images/(?:training|validation)/ADE_[^/]+\.jpg", r"annotations/(?:training|validation)/ADE_[^/]+\.png"
    )


def _meaning(place: PurePosixPath) -> tuple[str, str] | None:
    kind, split = _KINDS.get(above(place, 2)), above(place)
    return (f"{split}/{place.stem}", kind) if kind and split in _SPLITS else None
