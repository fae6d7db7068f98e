"""Lists of splits that lie beside a set's images, as its makers wrote them, made into lists of a project."""

import csv
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import NamedTuple

from maskline.convert.format_parts.named_images import split_named
from maskline.convert.format_parts.tree import Tree
from maskline.convert.pairing import SPLITS
from maskline.convert.records import Record
from maskline.convert.splitting.split_lists import image_in, names_of
from maskline.data.manifest import Split

_MOST_BYTES = 16 << 20
_COLUMNS = ("split", "set", "subset", "partition", "usage")
_REMEDY = "not used; data.split_lists takes text files with one image a line"
_FOLDER = "splits"


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitFiles:
    """What the lists say.

    Args:
        params: Keys of the section data.
        files: Path in the project -> text.
        lines: For people.
    """

    params: dict[str, dict[str, str]] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)


class _List(NamedTuple):
    """One split of one file.

    Args:
        place: The file.
        split: Of all its images.
        ids: Of its images, those that are there.
        unknown: The first line that is no image of the set.
    """

    place: PurePosixPath
    split: Split
    ids: list[str]
    unknown: str | None


def read(tree: Tree, records: Sequence[Record]) -> SplitFiles:
    """Return the lists of a set that has no splits of its own, where each line is one of its images and none is twice.

    Files: ``train.txt``, ``val_list.txt`` and the like, with an image a line, or an image and its mask; a CSV file with
    a column called split and one of images. Where folders have different ones, those in ``Segmentation`` count.

    Args:
        tree: The set.
        records: Its images.
    """
    if any(record.split for record in records):
        return SplitFiles()
    known = names_of(records, tree.folder)
    stems = {record.image.stem for record in records}
    lists = [each for place in tree.places if place.stem not in stems for each in _lists(tree, place, known)]
    folders: dict[PurePosixPath, dict[Split, _List]] = defaultdict(dict)
    for each in sorted(lists, key=lambda each: len(each.place.name)):  # train.txt before car_train.txt
        folders[each.place.parent].setdefault(each.split, each)
    choices = {
        tuple(sorted((split, frozenset(each.ids)) for split, each in chosen.items())): chosen
        for chosen in sorted(folders.values(), key=_is_of_masks)
    }
    if not choices:
        return SplitFiles()
    if len(choices) > 1 and not _is_of_masks(list(choices.values())[-1]):
        places = " and ".join(str(next(iter(chosen.values())).place) for chosen in list(choices.values())[:2])
        return SplitFiles(lines=[f"{places} are different lists of splits: {_REMEDY}"])
    chosen = list(choices.values())[-1]
    problem = _problem(chosen, len(records))
    if problem is not None:
        return SplitFiles(lines=[f"{problem}: {_REMEDY}"])
    return _written(chosen, len(records))


def _is_of_masks(chosen: Mapping[Split, _List]) -> bool:
    return any(each.place.parent.name.lower() == "segmentation" for each in chosen.values())


def _problem(chosen: Mapping[Split, _List], count: int) -> str | None:
    """Return why lists are not taken; None: they are."""
    for each in chosen.values():
        if each.unknown is not None:
            return f"{each.place} names {each.unknown[:80]!r}, which is no image of this set"
    listed = [id_ for each in chosen.values() for id_ in each.ids]
    place = next(iter(chosen.values())).place
    if len(listed) > len(set(listed)):
        return f"{place} and the lists beside it have images in common"
    if "train" in chosen and len(listed) < count:
        return f"{place} and the lists beside it name {len(listed)} of {count} images"
    return None


def _written(chosen: Mapping[Split, _List], count: int) -> SplitFiles:
    if set(chosen) == {"train"}:
        return SplitFiles()  # of all images: convert makes splits
    chosen = {split: chosen[split] for split in dict.fromkeys(SPLITS.values()) if split in chosen}
    names: dict[str, str] = {split: f"{_FOLDER}/{split}.txt" for split in chosen}
    counts = [f"{len(each.ids)} {split}" for split, each in chosen.items()]
    if "train" not in chosen:
        counts.append(f"{count - sum(len(each.ids) for each in chosen.values())} train, which are in no list")
    places = ", ".join(dict.fromkeys(str(each.place) for each in chosen.values()))
    return SplitFiles(
        params={"split_lists": names},
        files={names[split]: "".join(f"{id_}\n" for id_ in each.ids) for split, each in chosen.items()},
        lines=[f"splits of {places}: {', '.join(counts)}; written: data.split_lists and {_FOLDER}/"],
    )


def _lists(tree: Tree, place: PurePosixPath, known: Mapping[str, set[str]]) -> list[_List]:
    """Return the lists of a file; none: it is no such file."""
    kind = place.suffix.lower()
    words = {split_named(word) for word in re.split(r"[^a-z]+", place.stem.lower())} - {None}
    if kind not in (".txt", ".lst", ".csv") or (tree.folder / place).stat().st_size > _MOST_BYTES:
        return []
    if kind != ".csv" and len(words) != 1:
        return []
    text = (tree.folder / place).read_text(encoding="utf-8-sig", errors="replace")
    if kind == ".csv":
        return _of_table(place, text, known)
    (split,) = words
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    each = _list(place, split, lines, known) if split is not None else None
    usual = place.stem.lower() in SPLITS  # others may be of anything
    return [each] if each is not None and (each.ids if usual else each.unknown is None) else []


def _of_table(place: PurePosixPath, text: str, known: Mapping[str, set[str]]) -> list[_List]:
    try:
        header, *rows = ([cell.strip() for cell in row] for row in csv.reader(text.splitlines()) if row)
    except (ValueError, csv.Error):
        return []
    at = next((i for i, name in enumerate(header) if name.lower() in _COLUMNS), None)
    if at is None or any(len(row) != len(header) or split_named(row[at]) is None for row in rows):
        return []
    columns = [i for i in range(len(header)) if i != at]
    column = max(columns, key=lambda i: sum(image_in(row[i], known) is not None for row in rows), default=None)
    if column is None:
        return []
    by_split: dict[Split, list[str]] = defaultdict(list)
    for row in rows:
        split = split_named(row[at])
        if split is not None:
            by_split[split].append(row[column])
    lists = [_list(place, split, lines, known) for split, lines in by_split.items()]
    return lists if any(each.ids for each in lists) else []


def _list(place: PurePosixPath, split: Split, lines: Iterable[str], known: Mapping[str, set[str]]) -> _List:
    ids, unknown = dict[str, None](), None
    for line in lines:
        id_ = image_in(line, known)
        if id_ is None:
            unknown = unknown or line
        else:
            ids[id_] = None
    return _List(place, split, list(ids), unknown)
