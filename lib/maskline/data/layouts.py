"""Data set name -> the function that finds its images and masks."""

from maskline.data.formats import (
    ade20k,
    camvid,
    chase_db1,
    cityscapes,
    coco,
    drive,
    dsb2018,
    folder,
    hrf,
    kvasir_seg,
    labelme,
    loveda,
    magnetic_tile,
    oxford_pets,
    stare,
    synthetic_fundus,
    voc2012,
)
from maskline.data.records import Layout
from maskline.errors import DataError

_LAYOUTS: dict[str, Layout] = {
    "ade20k": ade20k.read,
    "camvid": camvid.read,
    "chase_db1": chase_db1.read,
    "cityscapes": cityscapes.read,
    "coco": coco.read,
    "drive": drive.read,
    "dsb2018": dsb2018.read,
    "folder": folder.read,
    "hrf": hrf.read,
    "kvasir_seg": kvasir_seg.read,
    "labelme": labelme.read,
    "loveda": loveda.read,
    "magnetic_tile": magnetic_tile.read,
    "oxford_pets": oxford_pets.read,
    "stare": stare.read,
    "synthetic_fundus": synthetic_fundus.read,
    "voc2012": voc2012.read,
}


def layout(name: str) -> Layout:
    """Return the layout of a data set.

    Raises:
        DataError: Unknown name.
    """
    if name not in _LAYOUTS:
        raise DataError("data.name", f"unknown data set {name!r}", f"choose one of {', '.join(_LAYOUTS)}")
    return _LAYOUTS[name]
