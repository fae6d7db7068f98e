"""CHASE_DB1: 28 retinal photographs of 14 children, two observers.

The published zip is flat: ``Image_NN{L,R}.jpg``, ``_1stHO.png`` (first observer, the label), ``_2ndHO.png`` (second).
Another archive of the same files has the folders ``images``, ``1st_label``, ``2nd_label`` and ``mask``, where ``mask``
is the field of view. Names decide first, then folders; letter case, suffixes and folders around do not matter.

The first 20 images by name are train, the last 8 test, as in most published results; that is children 01 to 10 and
11 to 14, so no child is in both. Masks are black and white; white is vessel.
"""

import re
from collections import defaultdict
from functools import partial
from pathlib import Path

from maskline.convert.format_parts.tree import Tree, both
from maskline.convert.records import LayoutSettings, Record, SourceSet
from maskline.core.errors import DataError
from maskline.data.labels import LabelSet
from maskline.data.manifest import Split
from maskline.reading import masks
from maskline.reading.images import IMAGE_SUFFIXES

_NUM_CHILDREN, _LAST_TRAIN_CHILD = 14, 10
_NAME = re.compile(r"image[_ -]?(\d{1,2})[_ -]?([lr])(?![a-z])(.*)", re.IGNORECASE)


def read(folder: Path, settings: LayoutSettings) -> SourceSet:
    """Find the 28 images and what belongs to each.

    Raises:
        DataError: No file of this set is there.
    """
    files_by_id: dict[str, dict[str, Path]] = defaultdict(dict)
    problems = []
    for path in sorted(folder.rglob("*")):
        place = path.relative_to(folder)
        name = _NAME.match(path.stem)
        hidden = any(part.startswith(".") or part == "__MACOSX" for part in place.parts)
        if not name or hidden or path.suffix.lower() not in IMAGE_SUFFIXES or not path.is_file():
            continue
        id_, kind = f"Image_{int(name[1]):02d}{name[2].upper()}", _kind(place, name[3])
        if kind in files_by_id[id_]:
            other = files_by_id[id_][kind].relative_to(folder).as_posix()
            problems.append(DataError(place.as_posix(), f"a second {kind} file beside {other}", "remove one"))
        files_by_id[id_].setdefault(kind, path)
    if not files_by_id:
        raise DataError("chase_db1", "no file called Image_NNL or Image_NNR", "give the archive of CHASE_DB1")
    wanted = [f"Image_{child:02d}{side}" for child in range(1, _NUM_CHILDREN + 1) for side in "LR"]
    for id_ in sorted({*wanted, *files_by_id}):
        problems += _problems(id_, files_by_id.get(id_, {}), known=id_ in wanted)
    return SourceSet(
        labels=LabelSet(
            class_names=("background", "vessel"),
            palette=((120, 120, 120), (6, 230, 230)),
            ignore_index=settings.ignore_index,
        ),
        records=[
            _record(id_, files) for id_, files in sorted(files_by_id.items()) if {"image", "mask"} <= files.keys()
        ],
        read_mask=partial(masks.read_above, threshold=128, exif=settings.exif),
        read_area=partial(masks.read_area, exif=settings.exif),
        problems=problems,
    )


def recognise(tree: Tree) -> str | None:
    """Return why a folder is this set; None: it is not."""
    return both(tree, r"Image_\d\d[LR]\.[^/]+", r"Image_\d\d[LR]_1stHO\.[^/]+")


def _kind(place: Path, rest: str) -> str:
    """Return image, mask, second or valid from what follows NN{L,R} in the name, or else from the folders."""
    words = [rest.lower(), *(part.lower() for part in reversed(place.parts[:-1]))]
    for word in words:
        if "1st" in word or "first" in word:
            return "mask"
        if "2nd" in word or "second" in word:
            return "second"
        if "fov" in word or "mask" in word:
            return "valid"
        if word in ("images", "image", "img", "imgs"):
            return "image"
    return "image"


def _record(id_: str, files: dict[str, Path]) -> Record:
    child = id_[len("Image_") : -1]
    split: Split = "train" if int(child) <= _LAST_TRAIN_CHILD else "test"
    return Record(
        id=id_,
        group=child,
        split=split,
        image=files["image"],
        mask=files["mask"],
        valid=files.get("valid"),
        second=files.get("second"),
    )


def _problems(id_: str, files: dict[str, Path], *, known: bool) -> list[DataError]:
    if not known:
        return [DataError(id_, "not one of the 28 images of CHASE_DB1", "remove it, or set data.name to folder")]
    names = {"image": f"{id_}.jpg", "mask": f"{id_}_1stHO.png"}
    return [
        DataError(id_, f"{kind} missing ({name})", "add the file, or fetch the archive again")
        for kind, name in names.items()
        if kind not in files
    ]
