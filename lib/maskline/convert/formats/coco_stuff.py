"""COCO-Stuff: 118,287 + 5000 photographs of COCO 2017, or 9000 + 1000 of its first edition (10k); 171 classes.

    images/train2017/000000000009.jpg
    annotations/train2017/000000000009.png              or 000000000009_labelTrainIds.png, and val2017 likewise
    images/train2014/COCO_train2014_000000000077.jpg
    annotations/train2014/COCO_train2014_000000000077_labelTrainIds.png                and test2014 likewise

The set's own PNG files (stuffthingmaps) hold ids of 0..181, of which eleven are not used. ``labelTrainIds`` are what
MMSegmentation's converters write: 0..170, taken where the set's own files are missing; of the first edition, whose own
files are for Matlab, 1..171, and 0 is no label. 255 is no label either. Both become the ignore index. test2014 is the
val split, as there. Each image is a group.

Source: Caesar et al., "COCO-Stuff: Thing and Stuff Classes in Context", CVPR 2018. CC BY 4.0 for the annotations,
photographs under Flickr's terms. github.com/nightrome/cocostuff
"""

import re
from functools import partial
from pathlib import Path, PurePosixPath

from maskline.convert.format_parts.coco_stuff_classes import NAMES, UNUSED
from maskline.convert.format_parts.finding import find, records
from maskline.convert.format_parts.tree import Tree, both
from maskline.convert.records import LayoutSettings, SourceSet
from maskline.data.labels import LabelSet, bit_palette
from maskline.data.manifest import Split
from maskline.reading import masks

_FILE = re.compile(r"(?P<id>(?:COCO_)?(?:[a-z]+2014_)?\d{12})(?P<ids>_labelTrainIds)?$", re.IGNORECASE)
_SPLITS: dict[str, Split] = {"train2017": "train", "val2017": "val", "train2014": "train", "test2014": "val"}
_OWN = [i for i in range(182) if i not in UNUSED]
_NONE = 255


def read(folder: Path, settings: LayoutSettings) -> SourceSet:
    """Find images and masks.

    Raises:
        DataError: No file of this set is there.
    """
    expected = "images/train2017/NAME.jpg, annotations/train2017/NAME.png and the like"
    set_files = find(folder, _meaning, name="coco_stuff", expected=expected, suffixes=(".jpg", ".png"))
    for files in set_files.files.values():
        ready = files.pop("train ids", None)
        if ready is not None:
            files.setdefault("mask", ready)
    palette = bit_palette(len(NAMES) + 1)[1:]
    return SourceSet(
        labels=LabelSet(class_names=NAMES, palette=palette, ignore_index=settings.ignore_index),
        records=records(folder, set_files, split=lambda id_: _SPLITS[id_.split("/")[0]]),
        read_mask=partial(read_ids, ignore_index=settings.ignore_index, exif=settings.exif),
        read_area=partial(masks.read_area, exif=settings.exif),
        problems=set_files.problems,
        published_splits=True,
    )


def recognise(tree: Tree) -> str | None:
    """Return why a folder is this set; None: it is not."""
    photographs = r"(?:train|val|test)201[47]/[^/]*\d{12}\.jpg"
    return both(tree, photographs, r"(?:train|val|test)201[47]/[^/]*\d{12}(?:_labelTrainIds)?\.png")


def read_ids(path: Path, *, ignore_index: int, exif: masks.Exif) -> masks.Ids:
    """Read a mask of the set's own ids, or of train ids by its name.

    Raises:
        DataError: Unreadable, or a value that the edition does not have.
    """
    ready, first = path.stem.lower().endswith("_labeltrainids"), "2014_" in path.stem
    table = {_NONE: ignore_index} | ({0: ignore_index} if first else {})
    table |= {value + first: i for i, value in enumerate(range(len(NAMES)) if ready else _OWN)}
    return masks.read_mapped(path, table=table, exif=exif)


def _meaning(place: PurePosixPath) -> tuple[str, str] | None:
    name, parts = _FILE.match(place.stem), [part.lower() for part in place.parts[:-1]]
    split = next((part for part in reversed(parts) if part in _SPLITS), None)
    if name is None or split is None:
        return None
    kind = "image" if place.suffix.lower() == ".jpg" else "train ids" if name["ids"] else "mask"
    return f"{split}/{name['id']}", kind
