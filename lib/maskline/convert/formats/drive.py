"""DRIVE: 40 retinal photographs of 565x584 px, vessels by one observer, of the test images by two.

    DRIVE/training/images/21_training.tif          DRIVE/test/images/01_test.tif
    DRIVE/training/1st_manual/21_manual1.gif       DRIVE/test/1st_manual/01_manual1.gif
    DRIVE/training/mask/21_training_mask.gif       DRIVE/test/2nd_manual/01_manual2.gif
                                                   DRIVE/test/mask/01_test_mask.gif

Classes: background, vessel. Masks are GIFs of 0/255, or palette GIFs of 0/1. ``mask`` is the field of view: it becomes
the valid area, and nothing is ignored. 21 to 40 are train, 01 to 20 test. Any suffix will do. Where no test image has
a 1st_manual, as in the download of today, these are left out.

Source: Staal et al., "Ridge-based vessel segmentation in color images of the retina", IEEE Transactions on Medical
Imaging 23(4), 2004. For research; download after registration (drive.grand-challenge.org), so no address here.
"""

import re
from dataclasses import replace
from pathlib import Path, PurePosixPath

from maskline.convert.format_parts.finding import find, records
from maskline.convert.format_parts.retina import vessel_set
from maskline.convert.format_parts.tree import Tree, both
from maskline.convert.records import LayoutSettings, SourceSet
from maskline.data.manifest import Split

_NAME = re.compile(r"(\d{2})_(training|test|manual1|manual2|training_mask|test_mask)$", re.IGNORECASE)
_KINDS = {"manual1": "mask", "manual2": "second", "training": "image", "test": "image"}
_LAST_TEST = 20


def read(folder: Path, settings: LayoutSettings) -> SourceSet:
    """Find images, both observers' masks and fields of view.

    Raises:
        DataError: No file of this set is there.
    """
    set_files = find(folder, _meaning, name="drive", expected="training/images/21_training.tif and the like")
    test = [id_ for id_ in set_files.files if _split(id_) == "test"]
    unlabelled = test if not any({"mask", "second"} & set_files.files[id_].keys() for id_ in test) else []
    set_files.files = {id_: files for id_, files in set_files.files.items() if id_ not in unlabelled}
    source = vessel_set(records(folder, set_files, split=_split), set_files, settings)
    return replace(source, remarks=[(id_, "left out: no test image has a manual segmentation") for id_ in unlabelled])


def recognise(tree: Tree) -> str | None:
    """Return why a folder is this set; None: it is not."""
    return both(tree, r"\d\d_training\.[^/]+", r"\d\d_manual1\.[^/]+")


def _meaning(place: PurePosixPath) -> tuple[str, str] | None:
    name = _NAME.match(place.stem)
    return (name[1], _KINDS.get(name[2].lower(), "valid")) if name else None


def _split(id_: str) -> Split:
    return "test" if int(id_) <= _LAST_TEST else "train"
