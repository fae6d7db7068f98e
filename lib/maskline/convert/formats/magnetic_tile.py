"""Magnetic tile surface defects: 1344 gray images, mixed sizes, five defects and none.

    MT_Blowhole/Imgs/exp1_num_108719.jpg       image
    MT_Blowhole/Imgs/exp1_num_108719.png       mask of the same stem, in the same folder

Classes: background, and the defect that the folder names: blowhole, break, crack, fray, uneven. The masks have gray
values between black and white at the edges of defects; they are snapped to the nearer of the two. Masks in MT_Free are
empty. Nothing is ignored. The set has no splits of its own; a tile, by the number in its name, is a group.

Source: Huang, Qiu and Yuan, "Surface defect saliency of magnetic tile", The Visual Computer 36, 2020. No licence is
stated: cite the paper. github.com/abin24/Magnetic-tile-defect-datasets.
"""

import re
from functools import partial
from pathlib import Path, PurePosixPath

from maskline.convert.format_parts.finding import find, records
from maskline.convert.format_parts.tree import Tree, both
from maskline.convert.records import LayoutSettings, SourceSet
from maskline.core.errors import DataError
from maskline.data.labels import LabelSet
from maskline.reading import masks

_CLASSES = ("background", "blowhole", "break", "crack", "fray", "uneven")
_PALETTE = ((60, 60, 60), (230, 60, 60), (240, 160, 40), (70, 200, 90), (70, 130, 240), (200, 80, 220))
_FREE = "free"
_FOLDER = re.compile(r"MT_(blowhole|break|crack|fray|free|uneven)$", re.IGNORECASE)
_TILE = re.compile(r"num_(\d+)", re.IGNORECASE)
_MOST_GRAY = 0.02  # of a mask's pixels; the most in the set is under a tenth of it


def read(folder: Path, settings: LayoutSettings) -> SourceSet:
    """Find images and masks.

    Raises:
        DataError: No file of this set is there.
    """
    expected = "MT_Blowhole/Imgs/NAME.jpg with NAME.png, and the like"
    set_files = find(folder, _meaning, name="magnetic_tile", expected=expected)
    return SourceSet(
        labels=LabelSet(class_names=_CLASSES, palette=_PALETTE, ignore_index=settings.ignore_index),
        records=records(folder, set_files, split=lambda _: None, group=_group),
        read_mask=partial(read_defect, exif=settings.exif),
        read_area=partial(masks.read_area, exif=settings.exif),
        problems=set_files.problems,
    )


def recognise(tree: Tree) -> str | None:
    """Return why a folder is this set; None: it is not."""
    return both(tree, r"MT_[^/]+/Imgs/[^/]+\.jpg", r"MT_[^/]+/Imgs/[^/]+\.png")


def read_defect(path: Path, *, exif: masks.Exif) -> masks.Ids:
    """Read a mask as 0 and the class that its folder names.

    Raises:
        DataError: A defect in a mask of MT_Free, or a mask that is not black and white.
    """
    white = masks.read_snapped(path, exif=exif, most_between=_MOST_GRAY)
    defect = _defect(PurePosixPath(path.as_posix()))
    if defect == _FREE:
        if white.any():
            raise DataError(path, f"{int(white.sum())} white pixels, but MT_Free has no defects", "move or fix it")
        return white
    assert defect is not None
    return white * _CLASSES.index(defect)


def _meaning(place: PurePosixPath) -> tuple[str, str] | None:
    defect = _defect(place)
    if defect is None:
        return None
    return f"{defect}/{place.stem}", "mask" if place.suffix.lower() == ".png" else "image"


def _defect(place: PurePosixPath) -> str | None:
    matches = (_FOLDER.match(part) for part in reversed(place.parts[:-1]))
    return next((match[1].lower() for match in matches if match), None)


def _group(id_: str) -> str:
    tile = _TILE.search(id_)
    return tile[1] if tile else id_
