"""Where the known data sets come from. What is inside of their archives is the business of ``formats``."""

from dataclasses import dataclass

from maskline.errors import DataError


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """An archive that its makers publish.

    Args:
        file: Its name, also in a mirror folder.
        url: Download address.
        sha256: Of the archive.
    """

    file: str
    url: str
    sha256: str


_PUBLISHED = {
    # CC BY 4.0. Fraz et al., "An Ensemble Classification-Based Approach Applied to Retinal Blood Vessel
    # Segmentation", IEEE Transactions on Biomedical Engineering 59(9), 2012.
    "chase_db1": Published(
        file="CHASEDB1.zip",
        url="https://researchdata.kingston.ac.uk/96/1/CHASEDB1.zip",
        sha256="6899d626325134c1f3957facb596f56cca245624161640046c89cbbe44870cef",
    ),
}

_WITHOUT_ADDRESS = ("folder",)
_DRAWN = ("synthetic_fundus",)


def published(name: str) -> Published | None:
    """Return the published archive of a set; None for sets that are drawn or the user's own.

    Raises:
        DataError: Unknown name.
    """
    if name in _WITHOUT_ADDRESS or name in _DRAWN:
        return None
    if name not in _PUBLISHED:
        known = ", ".join([*_DRAWN, *_PUBLISHED, *_WITHOUT_ADDRESS])
        raise DataError("data.name", f"unknown data set {name!r}", f"choose one of {known}")
    return _PUBLISHED[name]


def is_drawn(name: str) -> bool:
    """Return whether the project draws the set itself."""
    return name in _DRAWN
