"""HRF: 45 retinal photographs of 3504x2336 px, 15 each of healthy, diabetic and glaucomatous eyes.

    images/01_h.jpg   images/01_dr.JPG   images/01_g.jpg
    manual1/01_h.tif                                        vessels, 0/255
    mask/01_h_mask.tif                                      field of view

Classes: background, vessel. The field of view becomes the valid area; nothing is ignored. The first five of each kind
are train, the other thirty test, as in MMSegmentation.

Source: Budai et al., "Robust Vessel Segmentation in Fundus Images", International Journal of Biomedical Imaging,
2013. CC BY 4.0. www5.cs.fau.de/research/data/fundus-images
"""

import re
from pathlib import Path, PurePosixPath

from maskline.convert.format_parts.finding import above, find, records
from maskline.convert.format_parts.retina import vessel_set
from maskline.convert.format_parts.tree import Tree, both
from maskline.convert.records import LayoutSettings, SourceSet
from maskline.data.manifest import Split

_NAME = re.compile(r"(\d{2}_(?:h|dr|g))(_mask)?$", re.IGNORECASE)
_LAST_TRAIN = 5


def read(folder: Path, settings: LayoutSettings) -> SourceSet:
    """Find images, masks and fields of view.

    Raises:
        DataError: No file of this set is there.
    """
    expected = "images/01_h.jpg, manual1/01_h.tif, mask/01_h_mask.tif and the like"
    set_files = find(folder, _meaning, name="hrf", expected=expected)
    return vessel_set(records(folder, set_files, split=_split), set_files, settings)


def recognise(tree: Tree) -> str | None:
    """Return why a folder is this set; None: it is not."""
    return both(tree, r"\d\d_(?:h|dr|g)\.[^/]+", r"manual1/\d\d_(?:h|dr|g)\.[^/]+")


def _meaning(place: PurePosixPath) -> tuple[str, str] | None:
    name = _NAME.match(place.stem)
    if not name:
        return None
    if name[2]:
        return name[1].lower(), "valid"
    return name[1].lower(), "mask" if "manual" in above(place) else "image"


def _split(id_: str) -> Split:
    return "train" if int(id_[:2]) <= _LAST_TRAIN else "test"
