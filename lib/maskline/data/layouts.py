"""Data set name -> the function that finds its images and masks."""

from maskline.data.formats import chase_db1, folder, synthetic_fundus
from maskline.data.records import Layout
from maskline.errors import DataError

_LAYOUTS: dict[str, Layout] = {
    "chase_db1": chase_db1.read,
    "folder": folder.read,
    "synthetic_fundus": synthetic_fundus.read,
}


def layout(name: str) -> Layout:
    """Return the layout of a data set.

    Raises:
        DataError: Unknown name.
    """
    if name not in _LAYOUTS:
        raise DataError("data.name", f"unknown data set {name!r}", f"choose one of {', '.join(_LAYOUTS)}")
    return _LAYOUTS[name]
