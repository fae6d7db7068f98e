"""Splits that the user gives, as lists of images, instead of those of the set."""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from maskline.convert.records import Record
from maskline.core.errors import DataError
from maskline.core.files import read_plain
from maskline.core.text import composed
from maskline.data.manifest import Split

_MOST_NAMED = 20  # images in no list
_MOST_BYTES = 256 << 20  # of a list


def without_splits(records: Sequence[Record]) -> list[Record]:
    """Return the records without the set's own splits."""
    return [replace(record, split=None) for record in records]


def listed(
    records: Sequence[Record], lists: Mapping[Split, Path | Sequence[str]], folder: Path
) -> tuple[list[Record], list[DataError]]:
    """Return the records in the splits of the lists, and what is wrong with these.

    A line is an image: its id, its path in the set or from another root, its file's name or that without the suffix,
    whichever is of one image alone, and what follows it (a mask's path); empty lines and those that begin with # do not
    count. Images in no list are train, unless there is a list for train.

    Args:
        records: The whole set.
        lists: Split -> text file, or its lines.
        folder: The set's folder.

    Raises:
        DataError: A list that cannot be read.
    """
    known = names_of(records, folder)
    splits: dict[str, Split] = {}
    problems: list[DataError] = []
    for split, given in lists.items():
        lines = _lines(given) if isinstance(given, Path) else given
        place = f"{given} line" if isinstance(given, Path) else f"data.split_lists.{split}, entry"
        for number, line in enumerate(lines, start=1):
            name = line.strip()
            if not name or name.startswith("#"):
                continue
            id_ = image_in(name, known)
            where = f"{place} {number}"
            if id_ is None:
                ids = known.get(composed(name), set())
                problem = f"{name} is of {len(ids)} images" if ids else f"{name} is no image of this set"
                problems.append(DataError(where, problem, "give ids as in manifest.csv, or paths in the archive"))
                continue
            if splits.setdefault(id_, split) != split:
                problems.append(
                    DataError(where, f"{name} is in the list of {splits[id_]} too", "remove one of the two")
                )
    if "train" in lists:
        missing = [record.id for record in records if record.id not in splits]
        problems += [DataError(id_, "in no list", "add it to one of data.split_lists") for id_ in missing[:_MOST_NAMED]]
        if len(missing) > _MOST_NAMED:
            more = f"{len(missing) - _MOST_NAMED} more images in no list"
            problems.append(DataError("data.split_lists", more, "set data.split_lists.train to null: they are train"))
    return [replace(record, split=splits.get(record.id, "train")) for record in records], problems


def _lines(path: Path) -> list[str]:
    try:
        content = read_plain(path, most_bytes=_MOST_BYTES, place=f"data.split_lists: {path}", error=DataError)
        return content.decode("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        problem = "no such file" if isinstance(error, FileNotFoundError) else f"cannot be read ({error})"
        raise DataError(f"data.split_lists: {path}", problem, "give a text file with one image a line") from error


def names_of(records: Sequence[Record], folder: Path) -> dict[str, set[str]]:
    """Return what a line of a list may call an image -> ids; an id is always of its own image alone."""
    names: dict[str, set[str]] = defaultdict(set)
    for record in records:
        place = PurePosixPath(record.image.relative_to(folder).as_posix())
        for name in (str(place), str(place.with_suffix("")), place.name, place.stem, PurePosixPath(record.id).name):
            names[composed(name)].add(record.id)
    return dict(names) | {composed(record.id): {record.id} for record in records}


def image_in(line: str, known: Mapping[str, set[str]]) -> str | None:
    """Return the id of the image that a line of a list names; None: of none or of several.

    The whole line is tried, then what stands before its first comma, semicolon or tab, then its first word.

    Args:
        line: Not empty.
        known: As ``names_of`` returns it.
    """
    tries = (line, *(part.strip() for part in re.split(r"[,;\t]", line)[:1]), *line.split()[:1])
    return next((id_ for text in tries if (id_ := _ends_like(text, known)) is not None), None)


def _ends_like(text: str, known: Mapping[str, set[str]]) -> str | None:
    """Return the id of the image that a path of whatever root ends like."""
    parts = [part for part in composed(text).replace("\\", "/").split("/") if part not in ("", ".", "..")]
    for start in range(len(parts)):
        for name in ("/".join(parts[start:]), "/".join(parts[start:]).rsplit(".", 1)[0]):
            ids = known.get(name, set())
            if len(ids) == 1:
                return next(iter(ids))
    return None
