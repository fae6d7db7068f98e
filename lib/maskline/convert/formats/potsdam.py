"""ISPRS Potsdam: 38 labelled aerial images of 6000x6000 px, six classes.

    2_Ortho_RGB/top_potsdam_2_10_RGB.tif
    5_Labels_all_noBoundary/top_potsdam_2_10_label_noBoundary.tif       or 5_Labels_all/top_potsdam_2_10_label.tif
    img_dir/train/2_10_0_0_512_512.png                                  or tiles of 512x512 px, as MMSegmentation
    ann_dir/train/2_10_0_0_512_512.png                                  cuts them, and val likewise

Colors as published, or 0..6 in tiles; black, and 0, are borders and become the ignore index. The archives are separate:
unpack both into one folder and name that. Areas of val are those of MMSegmentation, the contest's test areas; IRRG and
RGBIR images are left out. A mask without borders counts where both are there. An area and its tiles are one group.

Source: ISPRS Commission II/4 benchmark on 2D semantic labelling (2014), for research, after registration.
"""

import re
from pathlib import Path, PurePosixPath

from maskline.convert.format_parts.isprs import read_areas
from maskline.convert.format_parts.tree import Tree, both
from maskline.convert.records import LayoutSettings, SourceSet

_NAME = re.compile(r"top_potsdam_(\d+)_0?(\d+)_(RGB|label|label_noBoundary)$", re.IGNORECASE)
_KINDS = {"rgb": "image", "label": "mask with borders", "label_noboundary": "mask"}
_VAL = frozenset(f"{row}_{column}" for row in range(2, 8) for column in (13, 14, 15)) - {"2_15", "3_15", "7_14", "7_15"}


def read(folder: Path, settings: LayoutSettings) -> SourceSet:
    """Find images and masks.

    Raises:
        DataError: No file of this set is there.
    """
    expected = "2_Ortho_RGB/top_potsdam_2_10_RGB.tif and 5_Labels_all_noBoundary/..._label_noBoundary.tif, or img_dir"
    return read_areas(folder, settings, name="potsdam", expected=expected, original=_original, val=_VAL)


def recognise(tree: Tree) -> str | None:
    """Return why a folder is this set; None: it is not."""
    tiles = both(tree, r"img_dir/train/\d_\d+(?:_\d+){4}\.png", r"ann_dir/train/\d_\d+(?:_\d+){4}\.png")
    return both(tree, r"top_potsdam_\d+_\d+_RGB\.tif", r"top_potsdam_\d+_\d+_label(?:_noBoundary)?\.tif") or tiles


def _original(place: PurePosixPath) -> tuple[str, str] | None:
    name = _NAME.match(place.stem)
    return (f"{name[1]}_{name[2]}", _KINDS[name[3].lower()]) if name else None
