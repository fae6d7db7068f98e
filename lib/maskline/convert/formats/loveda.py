"""LoveDA: 4191 labelled aerial images of 1024x1024 px, urban and rural, seven classes.

    Train/Urban/images_png/1366.png      Train/Urban/masks_png/1366.png      and Val, Rural likewise

Masks are index PNGs of 0..7; 0 is "no data" and becomes the ignore index, the rest move down by one (reduce zero
label). The labels of Test are not published; its files are left out. Train.zip and Val.zip are separate: unpack both
into one folder and name that. Each image is a group.

Source: Wang et al., "LoveDA: A Remote Sensing Land-Cover Dataset for Domain Adaptive Semantic Segmentation", NeurIPS
2021. CC BY-NC-SA 4.0. zenodo.org/records/5706578
"""

from functools import partial
from pathlib import Path, PurePosixPath

from maskline.convert.format_parts.finding import above, find, records
from maskline.convert.format_parts.tree import Tree, both
from maskline.convert.records import LayoutSettings, SourceSet
from maskline.data.labels import LabelSet
from maskline.data.manifest import Split
from maskline.reading import masks

_NAMES = ("background", "building", "road", "water", "barren", "forest", "agricultural")
_PALETTE = (
    (255, 255, 255),
    (255, 0, 0),
    (255, 255, 0),
    (0, 0, 255),
    (159, 129, 183),
    (0, 255, 0),
    (255, 195, 128),
)
_KINDS = {"images_png": "image", "masks_png": "mask"}
_SPLITS: dict[str, Split] = {"train": "train", "val": "val"}


def read(folder: Path, settings: LayoutSettings) -> SourceSet:
    """Find images and masks of Train and Val.

    Raises:
        DataError: No file of this set is there.
    """
    expected = "Train/Urban/images_png/NAME.png, Train/Urban/masks_png/NAME.png and the like"
    set_files = find(folder, _meaning, name="loveda", expected=expected)
    table = {0: settings.ignore_index} | {i + 1: i for i in range(len(_NAMES))}
    return SourceSet(
        labels=LabelSet(
            class_names=_NAMES, palette=_PALETTE, ignore_index=settings.ignore_index, reduce_zero_label=True
        ),
        records=records(folder, set_files, split=lambda id_: _SPLITS[id_.split("/")[0]]),
        read_mask=partial(masks.read_mapped, table=table, exif=settings.exif),
        read_area=partial(masks.read_area, exif=settings.exif),
        problems=set_files.problems,
        published_splits=True,
    )


def recognise(tree: Tree) -> str | None:
    """Return why a folder is this set; None: it is not."""
    return both(
        tree, r"(?:Train|Val)/(?:Urban|Rural)/images_png/[^/]+", r"(?:Train|Val)/(?:Urban|Rural)/masks_png/[^/]+"
    )


def _meaning(place: PurePosixPath) -> tuple[str, str] | None:
    kind, scene, split = _KINDS.get(above(place)), above(place, 2), above(place, 3)
    if kind is None or split not in _SPLITS:
        return None
    return f"{split}/{scene}/{place.stem}", kind
