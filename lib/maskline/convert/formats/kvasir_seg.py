"""Kvasir-SEG: 1000 endoscopic images of polyps, mixed sizes.

    Kvasir-SEG/images/cju0qkwl35piu0993l0dewei2.jpg
    Kvasir-SEG/masks/cju0qkwl35piu0993l0dewei2.jpg

Classes: background, polyp. The masks are JPEGs: compression has made a few gray values of black and white, which are
snapped to the nearer of the two. Nothing is ignored. The set has no splits of its own; each image is a group.

Source: Jha et al., "Kvasir-SEG: A Segmented Polyp Dataset", MMM 2020. For research and education, with citation.
datasets.simula.no/downloads/kvasir-seg.zip
"""

from functools import partial
from pathlib import Path, PurePosixPath

from maskline.convert.format_parts.finding import above, find, records
from maskline.convert.format_parts.tree import Tree, both
from maskline.convert.records import LayoutSettings, SourceSet
from maskline.data.labels import LabelSet
from maskline.reading import masks

_KINDS = {"images": "image", "masks": "mask"}


def read(folder: Path, settings: LayoutSettings) -> SourceSet:
    """Find images and masks.

    Raises:
        DataError: No file of this set is there.
    """
    set_files = find(folder, _meaning, name="kvasir_seg", expected="images/NAME.jpg and masks/NAME.jpg")
    return SourceSet(
        labels=LabelSet(
            class_names=("background", "polyp"), palette=((0, 0, 0), (255, 160, 0)), ignore_index=settings.ignore_index
        ),
        records=records(folder, set_files, split=lambda _: None),
        read_mask=partial(masks.read_snapped, exif=settings.exif),
        read_area=partial(masks.read_area, exif=settings.exif),
        problems=set_files.problems,
    )


def recognise(tree: Tree) -> str | None:
    """Return why a folder is this set; None: it is not."""
    return both(tree, r"Kvasir-SEG/images/[^/]+\.jpg", r"Kvasir-SEG/masks/[^/]+\.jpg")


def _meaning(place: PurePosixPath) -> tuple[str, str] | None:
    kind = _KINDS.get(above(place))
    return (place.stem, kind) if kind else None
