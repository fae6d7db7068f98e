"""Data set name, or the user's own file -> the function that finds images and masks."""

from pathlib import Path

from maskline.convert.formats import (
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
from maskline.convert.records import Layout, LayoutSettings, SourceSet
from maskline.core import own_code
from maskline.core.errors import DataError, ParamsError

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


def layout_key(text: str) -> str:
    """Return what tells a layout from all others: a data set's name, or the hash of the user's own file."""
    return f"{text} {own_code.hashes([text], place='data.layout')}" if own_code.is_own(text) else text


def own_layout(text: str) -> Layout:
    """Return the function that ``path/to/file.py:function`` names.

    Raises:
        ParamsError: No such file or function, or the file cannot be imported.
    """
    place = f"data.layout: {text}"
    function = own_code.load(text, place="data.layout")
    if not callable(function):
        raise ParamsError(place, "no function", "name a function of the unpacked folder and LayoutSettings")

    def read(folder: Path, settings: LayoutSettings) -> SourceSet:
        source = function(folder, settings)
        if not isinstance(source, SourceSet):
            raise DataError(place, f"returned {type(source).__name__}", "return a maskline.convert.records.SourceSet")
        return source

    return read
