"""STARE: 20 retinal photographs of 700x605 px, vessels by two observers.

    stare-images/im0001.ppm
    labels-ah/im0001.ah.ppm        first observer, the label
    labels-vk/im0001.vk.ppm        second observer

The three folders are published as three tars of .ppm.gz files: put them into one folder or archive, unpacked or not
(``gunzip`` is done here). Classes: background, vessel; masks are 0/255, nothing is ignored. The first ten by name are
train, the other ten test, as in MMSegmentation.

Source: Hoover et al., "Locating blood vessels in retinal images", IEEE Transactions on Medical Imaging 19(3), 2000.
No licence is stated. cecas.clemson.edu/~ahoover/stare/probing
"""

import gzip
import re
import zlib
from pathlib import Path, PurePosixPath

from maskline.convert.format_parts.finding import find, records, visible
from maskline.convert.format_parts.retina import vessel_set
from maskline.convert.format_parts.tree import Tree, both
from maskline.convert.records import LayoutSettings, SourceSet
from maskline.core.errors import DataError
from maskline.data.manifest import Split

_NAME = re.compile(r"(im\d{4})(?:\.(ah|vk))?$", re.IGNORECASE)
_KINDS = {None: "image", "ah": "mask", "vk": "second"}
_TRAIN = frozenset((1, 2, 3, 4, 5, 44, 77, 81, 82, 139))
_MOST_BYTES = 64 * 2**20  # of one image; those of the set have 1.3 MB


def read(folder: Path, settings: LayoutSettings) -> SourceSet:
    """Find images and both observers' masks.

    Raises:
        DataError: No file of this set is there.
    """
    problems = [problem for path, _ in visible(folder, (".gz",)) for problem in _gunzip(path, folder)]
    set_files = find(folder, _meaning, name="stare", expected="im0001.ppm, im0001.ah.ppm, im0001.vk.ppm and the like")
    set_files.problems += problems
    return vessel_set(records(folder, set_files, split=_split), set_files, settings)


def recognise(tree: Tree) -> str | None:
    """Return why a folder is this set; None: it is not."""
    return both(tree, r"stare-images/im\d{4}\.ppm(?:\.gz)?", r"labels-ah/im\d{4}\.ah\.ppm(?:\.gz)?")


def _meaning(place: PurePosixPath) -> tuple[str, str] | None:
    name = _NAME.match(place.stem)
    return (name[1].lower(), _KINDS[name[2].lower() if name[2] else None]) if name else None


def _split(id_: str) -> Split:
    return "train" if int(id_.removeprefix("im")) in _TRAIN else "test"


def _gunzip(path: Path, folder: Path) -> list[DataError]:
    """Unpack an image beside its .gz file."""
    place = path.relative_to(folder).as_posix()
    try:
        with gzip.open(path) as stream:
            content = stream.read(_MOST_BYTES + 1)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        return [DataError(place, f"unreadable gzip file ({error})", "replace the file")]
    if len(content) > _MOST_BYTES:
        return [DataError(place, f"unpacks to more than {_MOST_BYTES >> 20} MiB", "replace the file")]
    path.with_suffix("").write_bytes(content)
    return []
