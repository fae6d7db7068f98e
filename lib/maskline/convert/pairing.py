"""Which file is whose mask, by names of folders and what file names begin and end with."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import PurePosixPath
from typing import Literal, NamedTuple

from maskline.core.text import composed
from maskline.data.manifest import Split
from maskline.reading.arrays import ARRAY_SUFFIXES
from maskline.reading.images import IMAGE_SUFFIXES

HERE = "."
"""As the name of a folder: files stand in any folder, image and mask side by side."""

SPLIT = "SPLIT"
"""In the name of a folder: any word of ``SPLITS``."""

SPLITS: dict[str, Split] = {
    "train": "train",
    "training": "train",
    "val": "val",
    "validation": "val",
    "valid": "val",
    "test": "test",
    "testing": "test",
}

MASK_WORDS = ("mask", "label", "annot", "truth", "gt", "segment", "target", "semantic")
"""Parts of the names of what holds masks."""

_SPLIT_WORD = re.compile(
    rf"(?<![a-z])(?:{'|'.join(SPLITS)})(?:(?![a-z])|(?=image|img|{'|'.join(MASK_WORDS)}))",  # trainannot too
    re.IGNORECASE,
)
_READABLE = IMAGE_SUFFIXES | ARRAY_SUFFIXES
_CHANNEL = re.compile(r"_\d{4}")
_MOST_NAMED = 3

Kind = Literal["image", "mask", "second", "valid"]
Meaning = tuple[Kind, Split | None, str]
"""Kind, split and id of a file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PairNames:
    """How images and masks are called.

    Args:
        image_dir: Folder of the images; ``.``: any, which ``mask_dir`` must be too. SPLIT in it stands for the word of
            a split: ``SPLIT_images`` is ``train_images`` and ``val_images``, ``SPLIT`` is ``train`` and ``val``.
        mask_dir: Folder of the masks.
        image_suffix: What the names of images end with that is no part of their ids, with the type or without.
        mask_suffix: Likewise of masks.
        image_prefix: What the names of images begin with that is no part of their ids.
        mask_prefix: Likewise of masks.
    """

    image_dir: str = "images"
    mask_dir: str = "masks"
    image_suffix: str = ""
    mask_suffix: str = ""
    image_prefix: str = ""
    mask_prefix: str = ""

    def describe(self) -> str:
        """Return the rule as two file names."""
        parts = (
            (self.image_dir, self.image_prefix, self.image_suffix),
            (self.mask_dir, self.mask_prefix, self.mask_suffix),
        )
        return " with ".join(
            f"{'' if folder == HERE else f'{folder}/'}{start}NAME{end}" for folder, start, end in parts
        )

    def whole(self) -> "PairNames":
        """Return the rule of the same folders where names have no ends or beginnings."""
        return PairNames(image_dir=self.image_dir, mask_dir=self.mask_dir)


class _Part(NamedTuple):
    """What a path means by itself.

    Args:
        kind: Of the file.
        split: Of the file.
        parents: Folders around the folder of images or masks, but for that of the split.
        name: Id within them.
    """

    kind: Kind
    split: Split | None
    parents: tuple[str, ...]
    name: str

    def known(self, without: int | None = None) -> Meaning:
        """Return kind, split and id; the id has the parents but the first ``without`` ones, None: but all."""
        parents = () if without is None else self.parents[without:]
        return self.kind, self.split, "/".join([*([self.split] if self.split else []), *parents, self.name])


def meaning(place: PurePosixPath, names: PairNames) -> Meaning | None:
    """Return kind, split and id of a file; None where it is in no folder that counts, or is called otherwise.

    Args:
        place: Path below the set's folder.
        names: How images and masks are called.
    """
    part = _part(place, names)
    return None if part is None else part.known()


def meanings(places: Iterable[PurePosixPath], names: PairNames) -> dict[PurePosixPath, Meaning]:
    """Return kind, split and id of each file that has some, as a set of files tells them.

    Where two folders of images hold equal names, the folders around them are part of the ids. A mask whose name has
    other letter case than the only image of that name belongs to it.

    Args:
        places: Paths below the set's folder.
        names: How images and masks are called.
    """
    parts = _with_splits({place: part for place in places if (part := _part(place, names)) is not None})
    known = {place: part.known() for place, part in parts.items()}
    parents: dict[tuple[Kind, str], set[tuple[str, ...]]] = defaultdict(set)
    for place, (kind, _, id_) in known.items():
        if is_readable(place):
            parents[kind, id_].add(parts[place].parents)
    if any(len(several) > 1 for several in parents.values()):
        first, last = (extreme(part.parents for part in parts.values()) for extreme in (min, max))
        shared = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first))
        longer = _in_one_case({place: part.known(shared) for place, part in parts.items()})
        if _count_pairs(longer) > _count_pairs(known):
            return longer
    return _in_one_case(known)


def more_masks(known: dict[PurePosixPath, Meaning], names: PairNames) -> dict[PurePosixPath, PurePosixPath]:
    """Return each further mask of an image side by side with it, and the first: ``a_mask_1.png``, ``a_mask.png``.

    Args:
        known: As of ``meanings``, which take it for an image.
        names: How images and masks are called.
    """
    if names.image_dir != HERE or not names.mask_suffix:
        return {}
    first = {id_: place for place, (kind, _, id_) in known.items() if kind == "mask"}
    images = {id_: place for place, (kind, _, id_) in known.items() if kind == "image"}
    numbered = re.compile(rf"(.+){re.escape(names.mask_suffix)}[-_ ]?\d+")
    found = {images[id_]: match[1] for id_ in images.keys() - first.keys() if (match := numbered.fullmatch(id_))}
    return {place: first[id_] for place, id_ in sorted(found.items()) if id_ in first and id_ in images}


def _with_splits(parts: dict[PurePosixPath, _Part]) -> dict[PurePosixPath, _Part]:
    """Return the parts with splits from the folders around, if all are in folders alike but for it: ``set_train``."""
    if any(part.split is not None for part in parts.values()):
        return parts
    by_template: dict[str, dict[PurePosixPath, _Part]] = defaultdict(dict)
    for place, part in parts.items():
        for i, parent in enumerate(part.parents):
            template, split = template_of(parent)
            if split is not None:
                others = (*part.parents[:i], *part.parents[i + 1 :])
                by_template[template][place] = part._replace(split=split, parents=others)
    whole = [each for each in by_template.values() if len(each) == len(parts)]
    return next((each for each in whole if len({part.split for part in each.values()}) > 1), parts)


def is_readable(place: PurePosixPath) -> bool:
    """Return whether a file is an image, or an array as masks may be, by its name."""
    return place.suffix.lower() in _READABLE


def _count_pairs(known: dict[PurePosixPath, Meaning]) -> int:
    counts: dict[str, Counter[Kind]] = defaultdict(Counter)
    for place, (kind, _, id_) in known.items():
        counts[id_][kind] += is_readable(place)
    return sum(count["image"] == 1 and count["mask"] == 1 for count in counts.values())


def _in_one_case(known: dict[PurePosixPath, Meaning]) -> dict[PurePosixPath, Meaning]:
    """Return the meanings with the image's id for masks whose ids are those of one image but for letter case."""
    images = {id_ for place, (kind, _, id_) in known.items() if kind == "image" and is_readable(place)}
    lost = [place for place, (kind, _, id_) in known.items() if kind != "image" and id_ not in images]
    if not lost:
        return known
    by_letters: dict[str, list[str]] = defaultdict(list)
    for id_ in images:
        by_letters[id_.casefold()].append(id_)
    taken = {(kind, id_) for kind, _, id_ in known.values()}
    wanted: dict[tuple[Kind, str], list[PurePosixPath]] = defaultdict(list)
    for place in lost:
        same = by_letters.get(known[place][2].casefold(), [])
        if len(same) == 1 and (known[place][0], same[0]) not in taken:
            wanted[known[place][0], same[0]].append(place)
    moved = {places[0]: (kind, known[places[0]][1], id_) for (kind, id_), places in wanted.items() if len(places) == 1}
    return {**known, **moved}


def _part(place: PurePosixPath, names: PairNames) -> _Part | None:
    own, place = _own_folder(composed_place(place), names)
    folders = [part.lower() for part in place.parts[:-1]]
    kinds: dict[str, Kind] = {"second": "second", names.mask_dir.lower(): "mask", names.image_dir.lower(): "image"}
    at = next((i for i, part in enumerate(folders) if part in kinds), None)
    if at is None and "valid" in folders:  # a split, or the folder of valid areas
        at, kinds = folders.index("valid"), {**kinds, "valid": "valid"}
        if names.image_dir == HERE:
            at = None
    if at is None and names.image_dir != HERE:
        return None
    as_mask = _cut(place.name, names.mask_prefix, names.mask_suffix)
    kind: Kind = kinds[folders[at]] if at is not None else "image" if as_mask is None else "mask"
    above, below = list(place.parts[: at or 0]), list(place.parts[at + 1 if at is not None else 0 : -1])
    split = own
    if split is None:
        at_split = next((i for i in reversed(range(len(above))) if above[i].lower() in SPLITS), None)
        split = None if at_split is None else SPLITS[above.pop(at_split).lower()]
    if split is None and below and below[0].lower() in SPLITS:
        split = SPLITS[below.pop(0).lower()]
    stem = {"image": _cut(place.name, names.image_prefix, names.image_suffix), "mask": as_mask}.get(kind, place.stem)
    if stem is None:
        return None
    return _Part(kind, split, tuple(above), "/".join([*below, stem]))


def composed_place(place: PurePosixPath) -> PurePosixPath:
    """Return a path with composed letters, as ``core.text.composed`` has them."""
    text = str(place)
    return place if text.isascii() else PurePosixPath(composed(text))


def _own_folder(place: PurePosixPath, names: PairNames) -> tuple[Split | None, PurePosixPath]:
    """Return the split that the folder of an image or mask names, and the path with SPLIT in place of that word."""
    for i, part in enumerate(place.parts[:-1] if SPLIT in f"{names.image_dir} {names.mask_dir}" else ()):
        template, split = template_of(part)
        if split is not None and template in (names.image_dir, names.mask_dir):
            return split, PurePosixPath(*place.parts[:i], template, *place.parts[i + 1 :])
    return None, place


@cache
def template_of(folder: str) -> tuple[str, Split | None]:
    """Return the name of a folder with SPLIT in place of the word of a split, and that split."""
    word = _SPLIT_WORD.search(folder)
    if word is None:
        return folder, None
    return f"{folder[: word.start()]}{SPLIT}{folder[word.end() :]}", SPLITS[word[0].lower()]


def _cut(name: str, start: str, end: str) -> str | None:
    """Return a file's name without type, beginning and end; None: it is called otherwise."""
    text = name if _has_type(end) else PurePosixPath(name).stem
    letters = text.lower()
    if len(text) <= len(start) + len(end) or not letters.startswith(start.lower()) or not letters.endswith(end.lower()):
        return None
    return text[len(start) : len(text) - len(end)]


@cache
def _has_type(end: str) -> bool:
    return is_readable(PurePosixPath(f"_{end}"))


def without_masks(images: Iterable[tuple[Split | None, bool]]) -> set[Split | None]:
    """Return the splits in which no image has a mask, as contests give their test images, where others have some.

    Args:
        images: Split, and whether there is a mask, of each image.
    """
    masked: dict[Split | None, bool] = {}
    for split, has_mask in images:
        masked[split] = masked.get(split, False) or has_mask
    return {split for split, has_mask in masked.items() if not has_mask} if any(masked.values()) else set()


def left_out(places: Iterable[PurePosixPath], names: PairNames) -> list[str]:
    """Return what a rule leaves out of a set's images and masks, with numbers and names, a line a kind.

    Args:
        places: Paths below the set's folder.
        names: How images and masks are called.
    """
    folders, ends, channels = Counter[str](), list[str](), Counter[str]()
    for place in places:
        if place.suffix.lower() not in IMAGE_SUFFIXES or meaning(place, names) is not None:
            continue
        plain = meaning(place, names.whole())
        if plain is None:
            folders[place.parent.as_posix()] += 1
        elif plain[0] == "image" and _CHANNEL.fullmatch(names.image_suffix) and _CHANNEL.fullmatch(place.stem[-5:]):
            channels[place.stem[-5:]] += 1
        else:
            ends.append(place.as_posix())
    lines = []
    if folders:
        lines.append(f"{folders.total()} images in other folders ({_some(list(folders))})")
    if channels:
        some = _some(sorted(channels))
        lines.append(
            f"{channels.total()} files of other channels ({some}): only the channel {names.image_suffix} is read"
        )
    if ends:
        lines.append(f"{len(ends)} files whose names begin or end otherwise ({_some(ends)})")
    return lines


def _some(texts: list[str]) -> str:
    more = f" and {len(texts) - _MOST_NAMED} more" if len(texts) > _MOST_NAMED else ""
    return ", ".join(texts[:_MOST_NAMED]) + more
