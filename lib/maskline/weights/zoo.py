"""MMSegmentation's published checkpoints by name: address, score, licence; from there to a model folder.

``zoo.csv`` beside this file holds what the metafiles of MMSegmentation 1.2.2 (Apache-2.0) state; ``tools.zoo_table``
wrote it.
"""

import csv
import difflib
import re
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

from maskline.core.errors import ParamsError
from maskline.core.files import sha256_file
from maskline.download import published_file

BASE = "https://download.openmmlab.com/mmsegmentation/"
TABLE = Path(__file__).with_name("zoo.csv")
COLUMNS = ("name", "family", "data_set", "scores", "path")

_MAX_BYTES = 8 << 30
_HASH = re.compile(r"-([0-9a-f]{8})\.pth$")  # the first digits of the file's SHA-256

_USUAL = "Apache-2.0 as MMSegmentation gives it; the terms of the data it was trained on apply too"
# What is known to be narrower.
_NARROWER = {
    "segformer": "its backbone's weights are NVIDIA's, for research and evaluation only (NVIDIA Source Code License)",
    "segnext": "commercial use only by leave of its authors",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A published checkpoint.

    Args:
        name: Of its configuration.
        family: Folder of its configuration.
        data_set: What it was trained and scored on.
        scores: As published, percent, as text.
        path: Of the file, below ``BASE``.
    """

    name: str
    family: str
    data_set: str
    scores: str
    path: str

    @property
    def url(self) -> str:
        """Where it lies."""
        return BASE + self.path

    @property
    def file(self) -> str:
        """Its own name."""
        return self.path.rsplit("/", 1)[-1]

    @property
    def sha256_start(self) -> str | None:
        """The first eight digits of its SHA-256; None: its name does not tell."""
        told = _HASH.search(self.file)
        return told[1] if told else None

    @property
    def licence(self) -> str:
        """On which terms its weights may be used, as far as that is known; no advice."""
        return licence(self.family)


def licence(family: str) -> str:
    """Return on which terms the published weights of a family may be used, as far as that is known; no advice."""
    return _NARROWER.get(family, _USUAL)


@cache
def checkpoints() -> dict[str, Checkpoint]:
    """Return all by name, sorted."""
    with TABLE.open(encoding="utf-8", newline="") as stream:
        return {row["name"]: Checkpoint(**row) for row in csv.DictReader(stream)}


def find(name: str) -> Checkpoint:
    """Return one.

    Raises:
        ParamsError: There is none of that name; the nearest is told.
    """
    known = checkpoints()
    if name in known:
        return known[name]
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    raise ParamsError(
        name, "no checkpoint of this name", f"did you mean {near[0]}?" if near else "see maskline zoo list"
    )


def obtain(checkpoint: Checkpoint, *, mirror: Path | None, base: str = BASE) -> Path:
    """Return the file: of the mirror, of an earlier download, or downloaded now, with progress and going on.

    Args:
        checkpoint: Which.
        mirror: Folder that holds files by their own names; None: none.
        base: Address that ``checkpoint.path`` stands below.

    Raises:
        DataError: It cannot be had, or is not the file that its name says.
        StorageError: It cannot be written.
    """
    return published_file.obtain(
        f"{base.rstrip('/')}/{checkpoint.path}", mirror=mirror, fault=partial(_fault, checkpoint), max_bytes=_MAX_BYTES
    )


def _fault(checkpoint: Checkpoint, path: Path) -> str | None:
    actual, expected = sha256_file(path), checkpoint.sha256_start
    if expected is None or actual.startswith(expected):
        return None
    return f"SHA-256 begins with {actual[:8]}, not {expected}"
