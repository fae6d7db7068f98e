"""iSAID: 1411 + 458 labelled aerial images of up to 4000x13000 px, fifteen kinds of objects and background.

    train/images/P0000.png
    train/Semantic_masks/P0000_instance_color_RGB.png                   and val likewise, in folders more or less
    img_dir/train/P0000_0_896_0_896.png                                 or tiles of 896x896 px, as MMSegmentation
    ann_dir/train/P0000_0_896_0_896_instance_color_RGB.png              cuts them, and val likewise

Masks are RGB as published, or 0..15 in tiles, whose padding is 255 and becomes the ignore index. Instance masks
(``_instance_id_RGB``) and the images of test are left out. An image and its tiles are one group.

Source: Waqas Zamir et al., "iSAID: A Large-scale Dataset for Instance Segmentation in Aerial Images", CVPR Workshops
2019. For research; the images are those of its object detection set. captain-whu.github.io/iSAID
"""

import re
from functools import partial
from pathlib import Path, PurePosixPath

from maskline.convert.format_parts.finding import find, records
from maskline.convert.format_parts.isprs import WHOLE
from maskline.convert.format_parts.tree import Tree, both
from maskline.convert.records import LayoutSettings, SourceSet
from maskline.data.labels import LabelSet
from maskline.data.manifest import Split
from maskline.reading import masks

_NAMES = (
    *("background", "ship", "store_tank", "baseball_diamond", "tennis_court", "basketball_court"),
    *("Ground_Track_Field", "Bridge", "Large_Vehicle", "Small_Vehicle", "Helicopter", "Swimming_pool"),
    *("Roundabout", "Soccer_ball_field", "plane", "Harbor"),
)
_PALETTE = (
    *((0, 0, 0), (0, 0, 63), (0, 63, 63), (0, 63, 0), (0, 63, 127), (0, 63, 191), (0, 63, 255), (0, 127, 63)),
    *((0, 127, 127), (0, 0, 127), (0, 0, 191), (0, 0, 255), (0, 191, 127), (0, 127, 191), (0, 127, 255)),
    (0, 100, 155),
)
_PADDING = 255
_FILE = re.compile(r"(?P<id>P\d+(?:_\d+){0,4})(?P<mask>_instance_color_RGB)?$", re.IGNORECASE)
_SPLITS: dict[str, Split] = {"train": "train", "val": "val"}


def read(folder: Path, settings: LayoutSettings) -> SourceSet:
    """Find images and masks of train and val.

    Raises:
        DataError: No file of this set is there.
    """
    expected = "train/images/P0000.png and train/Semantic_masks/P0000_instance_color_RGB.png, or img_dir and ann_dir"
    set_files = find(folder, _meaning, name="isaid", expected=expected, suffixes=(".png",))
    return SourceSet(
        labels=LabelSet(class_names=_NAMES, palette=_PALETTE, ignore_index=settings.ignore_index),
        records=records(folder, set_files, split=lambda id_: _SPLITS[id_.split("/")[0]], group=_group),
        read_mask=partial(read_classes, ignore_index=settings.ignore_index, exif=settings.exif),
        read_area=partial(masks.read_area, exif=settings.exif),
        problems=set_files.problems,
        remarks=[] if all("_" in id_ for id_ in set_files.files) else [("data set", WHOLE.format(896))],
        published_splits=True,
    )


def recognise(tree: Tree) -> str | None:
    """Return why a folder is this set; None: it is not."""
    return both(tree, r"P\d+(?:_\d+){0,4}\.png", r"P\d+(?:_\d+){0,4}_instance_color_RGB\.png")


def read_classes(path: Path, *, ignore_index: int, exif: masks.Exif) -> masks.Ids:
    """Read a mask of colors, or one of 0..15 and 255.

    Raises:
        DataError: Another color or value.
    """
    if masks.mode(path) in ("RGB", "RGBA"):
        return masks.read_color(path, colors=_PALETTE, exif=exif, remedy="replace the file with the set's own")
    table = {i: i for i in range(len(_NAMES))} | {_PADDING: ignore_index}
    return masks.read_mapped(path, table=table, exif=exif)


def _meaning(place: PurePosixPath) -> tuple[str, str] | None:
    name = _FILE.match(place.stem)
    split = next((part.lower() for part in reversed(place.parts[:-1]) if part.lower() in _SPLITS), None)
    return (f"{split}/{name['id']}", "mask" if name["mask"] else "image") if name and split else None


def _group(id_: str) -> str:
    return id_.split("/")[1].split("_", maxsplit=1)[0]
