"""What the layout modules share: walking a folder, sorting files by id and kind, and naming what is missing.

Files are found by their names and the folders right above them, so that a folder more or less around the set does not
matter.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from maskline.convert.records import Record
from maskline.core.errors import DataError
from maskline.data.manifest import Split
from maskline.reading.images import IMAGE_SUFFIXES

_LEFT_BEHIND = frozenset(("__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini"))
_NAMES = {"mask": "a mask", "image": "an image", "valid": "a valid-area mask", "second": "a second observer's mask"}

Meaning = Callable[[PurePosixPath], tuple[str, str] | None]
"""Path below the set's folder -> (id, kind: image, mask, valid or second); None: not of the set."""


@dataclass(slots=True, kw_only=True)
class Found:
    """The files of a set.

    Args:
        files: id -> kind -> file, in the order of ids.
        problems: Second files of one id and kind.
    """

    files: dict[str, dict[str, Path]] = field(default_factory=dict)
    problems: list[DataError] = field(default_factory=list)


def visible_files(folder: Path) -> Iterator[tuple[Path, PurePosixPath]]:
    """Yield each file and its path below ``folder``, in the order of their paths.

    Hidden files and what systems leave behind (``__MACOSX``, Thumbs.db, desktop.ini) are left out.

    Raises:
        DataError: A pipe, a device or a link to nothing: without the file, its image might pass for an empty one.
    """
    for path in sorted(folder.rglob("*")):
        place = PurePosixPath(path.relative_to(folder).as_posix())
        left = any(part.startswith(".") or part.lower() in _LEFT_BEHIND for part in place.parts)
        if left:
            continue
        if path.is_file():
            yield path, place
        elif not path.is_dir():
            problem = "not a plain file, or a link to nothing"
            raise DataError(place.as_posix(), problem, "remove it, or put the file there")


def visible(folder: Path, suffixes: Iterable[str]) -> Iterator[tuple[Path, PurePosixPath]]:
    """Yield those of ``visible_files`` with one of the suffixes."""
    wanted = frozenset(suffixes)
    return ((path, place) for path, place in visible_files(folder) if place.suffix.lower() in wanted)


def find(
    folder: Path, meaning: Meaning, *, name: str, expected: str, suffixes: Iterable[str] = IMAGE_SUFFIXES
) -> Found:
    """Sort the files below ``folder`` by id and kind.

    Args:
        folder: The unpacked archive.
        meaning: Says what a file is.
        name: Of the data set.
        expected: How the tree should look, for the message.
        suffixes: Of files that may be of the set, lower case.

    Raises:
        DataError: No file of the set is there.
    """
    files_by_id: dict[str, dict[str, Path]] = defaultdict(dict)
    problems = []
    for path, place in visible(folder, suffixes):
        known = meaning(place)
        if known is None:
            continue
        id_, kind = known
        other = files_by_id[id_].setdefault(kind, path)
        if other != path:
            beside = other.relative_to(folder).as_posix()
            problems.append(DataError(place.as_posix(), f"a second {kind} file of {id_} beside {beside}", "remove one"))
    if not files_by_id:
        raise DataError(name, f"no file of this set in the archive, expected {expected}", "give the set's archive")
    return Found(files=dict(sorted(files_by_id.items())), problems=problems)


def records(
    folder: Path,
    set_files: Found,
    *,
    split: Callable[[str], Split | None],
    group: Callable[[str], str] = str,
    optional: Iterable[str] = ("valid", "second"),
) -> list[Record]:
    """Return a record for each id with image and mask; what is missing is added to ``set_files.problems``.

    Args:
        folder: The unpacked archive.
        set_files: As ``find`` returns it.
        split: id -> split of the set's own.
        group: id -> group.
        optional: Kinds that need not be there, but for all images of a split if for one.
    """
    usual = {(split(id_), kind) for id_, files in set_files.files.items() for kind in optional if kind in files}
    image_records = []
    for id_, files in set_files.files.items():
        needed = ["image", "mask", *(kind for kind in optional if (split(id_), kind) in usual)]
        missing = [kind for kind in needed if kind not in files]
        set_files.problems += [_missing(folder, files, kind) for kind in missing]
        if {"image", "mask"} <= files.keys():
            image_records.append(
                Record(
                    id=id_,
                    group=group(id_),
                    split=split(id_),
                    image=files["image"],
                    mask=files["mask"],
                    valid=files.get("valid"),
                    second=files.get("second"),
                )
            )
    return image_records


def _missing(folder: Path, files: dict[str, Path], kind: str) -> DataError:
    here = next(name for name in ("image", "mask", "valid", "second") if name in files)
    place = files[here].relative_to(folder).as_posix()
    problem = f"{here} without {_NAMES[kind]}" if here != "valid" else f"valid-area mask without {_NAMES[kind]}"
    return DataError(place, problem, f"add the missing file, fetch the archive again, or remove this {here}")


def above(place: PurePosixPath, number: int = 1) -> str:
    """Return the lower-case name of the folder ``number`` levels above a file; empty where there is none."""
    parts = place.parts[:-1]
    return parts[-number].lower() if len(parts) >= number else ""
