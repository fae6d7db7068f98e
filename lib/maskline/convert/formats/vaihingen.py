"""ISPRS Vaihingen: 33 labelled aerial images of near infrared, red and green, six classes.

    top/top_mosaic_09cm_area1.tif
    ISPRS_semantic_labeling_Vaihingen_ground_truth_eroded_COMPLETE/top_mosaic_09cm_area1_noBoundary.tif
    gts_for_participants/top_mosaic_09cm_area1.tif                      or with borders
    img_dir/train/area1_0_0_512_512.png                                 or tiles of 512x512 px, as MMSegmentation
    ann_dir/train/area1_0_0_512_512.png                                 cuts them, and val likewise

Colors as published, or 0..6 in tiles; black, and 0, are borders and become the ignore index. The archives are separate:
unpack all into one folder and name that. Areas of val are those of MMSegmentation, the contest's test areas. A mask
without borders counts where both are there. An area and its tiles are one group.

Source: Cramer, "The DGPF-test on digital airborne camera evaluation", PFG 2010; ISPRS Commission II/4 benchmark, for
research, after registration.
"""

import re
from pathlib import Path, PurePosixPath

from maskline.convert.format_parts.finding import above
from maskline.convert.format_parts.isprs import read_areas
from maskline.convert.format_parts.tree import Tree, both
from maskline.convert.records import LayoutSettings, SourceSet

_NAME = re.compile(r"top_mosaic_09cm_(area\d+)(_noBoundary)?$", re.IGNORECASE)
_VAL = frozenset(f"area{i}" for i in (2, 4, 6, 8, 10, 12, 14, 16, 20, 22, 24, 27, 29, 31, 33, 35, 38))


def read(folder: Path, settings: LayoutSettings) -> SourceSet:
    """Find images and masks.

    Raises:
        DataError: No file of this set is there.
    """
    expected = "top/top_mosaic_09cm_area1.tif and gts_for_participants/top_mosaic_09cm_area1.tif, or img_dir"
    return read_areas(folder, settings, name="vaihingen", expected=expected, original=_original, val=_VAL)


def recognise(tree: Tree) -> str | None:
    """Return why a folder is this set; None: it is not."""
    tiles = both(tree, r"img_dir/train/area\d+(?:_\d+){4}\.png", r"ann_dir/train/area\d+(?:_\d+){4}\.png")
    return both(tree, r"top/top_mosaic_09cm_area\d+\.tif", r"(?!top/)[^/]+/top_mosaic_09cm_area\d+\w*\.tif") or tiles


def _original(place: PurePosixPath) -> tuple[str, str] | None:
    name = _NAME.match(place.stem)
    if not name:
        return None
    kind = "mask" if name[2] else "image" if above(place) == "top" else "mask with borders"
    return name[1].lower(), kind
