"""Which file is whose mask, by names of folders and ends of file names, and how that rule is found by itself."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import islice, product
from pathlib import PurePosixPath
from typing import Literal

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

_SPLIT_WORD = re.compile(rf"(?<![a-z])(?:{'|'.join(SPLITS)})(?![a-z])", re.IGNORECASE)

_IMAGE_FOLDERS = ("images", "image", "imgs", "img", "img_dir", "image_dir", "jpegimages", "inputs", "input", "photos")
_MASK_FOLDERS = (
    *("masks", "mask", "ann_dir", "mask_dir", "label_dir", "labels", "label", "annotations", "annotation", "annots"),
    *(
        "gt",
        "gts",
        "ground_truth",
        "groundtruth",
        "segmentationclass",
        "seg",
        "segmentation",
        "segmentations",
        "targets",
    ),
)
_MASK_WORDS = ("mask", "label", "annot", "truth", "gt", "segment", "target", "semantic")
_MOST_FOLDERS = 8  # whose names are no usual ones
_LOOKED_AT = 5  # images whose masks are guessed, for the ends of names
_SEPARATORS = "_-. "

Kind = Literal["image", "mask", "second", "valid"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PairNames:
    """How images and masks are called.

    Args:
        image_dir: Folder of the images; ``.``: any, which ``mask_dir`` must be too. SPLIT in it stands for the word of
            a split: ``SPLIT_images`` is ``train_images`` and ``val_images``.
        mask_dir: Folder of the masks.
        image_suffix: What the names of images end with that is no part of their ids, with the type or without.
        mask_suffix: Likewise of masks.
    """

    image_dir: str = "images"
    mask_dir: str = "masks"
    image_suffix: str = ""
    mask_suffix: str = ""

    def describe(self) -> str:
        """Return the rule as two file names."""
        parts = ((self.image_dir, self.image_suffix), (self.mask_dir, self.mask_suffix))
        return " with ".join(f"{'' if folder == HERE else f'{folder}/'}NAME{end}" for folder, end in parts)


def meaning(place: PurePosixPath, names: PairNames) -> tuple[Kind, Split | None, str] | None:
    """Return kind, split and id of a file; None where it is in no folder that counts, or has another end.

    Args:
        place: Path below the set's folder.
        names: How images and masks are called.
    """
    own, place = _own_folder(place, names)
    folders = [part.lower() for part in place.parts[:-1]]
    kinds: dict[str, Kind] = {"second": "second", names.mask_dir.lower(): "mask", names.image_dir.lower(): "image"}
    at = next((i for i, part in enumerate(folders) if part in kinds), None)
    if at is None and "valid" in folders:  # a split, or the folder of valid areas
        at, kinds = folders.index("valid"), {**kinds, "valid": "valid"}
        if names.image_dir == HERE:
            at = None
    if at is None and names.image_dir != HERE:
        return None
    kind: Kind = kinds[folders[at]] if at is not None else "mask" if _cut(place.name, names.mask_suffix) else "image"
    above, below = folders[: at or 0], list(place.parts[at + 1 : -1] if at is not None else place.parts[:-1])
    split = own or next((SPLITS[part] for part in reversed(above) if part in SPLITS), None)
    if split is None and below and below[0].lower() in SPLITS:
        split = SPLITS[below.pop(0).lower()]
    stem = _cut(place.name, names.image_suffix if kind == "image" else names.mask_suffix if kind == "mask" else "")
    if stem is None:
        return None
    id_ = "/".join([*below, stem])
    return kind, split, f"{split}/{id_}" if split else id_


def _own_folder(place: PurePosixPath, names: PairNames) -> tuple[Split | None, PurePosixPath]:
    """Return the split that the folder of an image or mask names, and the path with SPLIT in place of that word."""
    for i, part in enumerate(place.parts[:-1] if SPLIT in f"{names.image_dir} {names.mask_dir}" else ()):
        template, split = _template(part)
        if split is not None and template in (names.image_dir, names.mask_dir):
            return split, PurePosixPath(*place.parts[:i], template, *place.parts[i + 1 :])
    return None, place


@cache
def _template(folder: str) -> tuple[str, Split | None]:
    """Return the name of a folder with SPLIT in place of the word of a split, and that split."""
    found = _SPLIT_WORD.search(folder)
    if found is None or found[0] == folder:
        return folder, None
    return f"{folder[: found.start()]}{SPLIT}{folder[found.end() :]}", SPLITS[found[0].lower()]


def _cut(name: str, end: str) -> str | None:
    """Return a file's name without type and end; None: it ends otherwise."""
    typed = PurePosixPath(f"_{end}").suffix.lower() in IMAGE_SUFFIXES | ARRAY_SUFFIXES
    text = name if typed else PurePosixPath(name).stem
    if not text.lower().endswith(end.lower()) or len(text) == len(end):
        return None
    return text[: len(text) - len(end)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A way to pair files, and how far it comes.

    Args:
        names: The way.
        pairs: Images with one mask.
        alone: Images and masks without the other, and files that end otherwise.
        left: Those that end otherwise.
    """

    names: PairNames
    pairs: int
    alone: int
    left: int = 0


def detect(places: Iterable[PurePosixPath]) -> Rule | None:
    """Return the first rule that pairs all files of a set, or else the one that pairs most; None: none pairs half.

    Args:
        places: Path of each file below the set's folder.
    """
    files = [place for place in places if place.suffix.lower() in IMAGE_SUFFIXES | ARRAY_SUFFIXES]
    rules = []
    for names in _candidates(files):
        rule = _rule(files, names)
        if rule.pairs and not rule.alone:
            return rule
        if 0 < rule.pairs >= rule.alone and names.image_dir != HERE:  # without folders, all or none
            rules.append(rule)
    return min(rules, key=_order, default=None)


def _order(rule: Rule) -> tuple[int, ...]:
    """Return what is least for the best rule; of equal ones, that whose images are called most plainly."""
    end = rule.names.image_suffix
    return -rule.pairs, rule.alone, -rule.left, len(end) if not end.startswith(".") else 0


def _rule(files: Sequence[PurePosixPath], names: PairNames) -> Rule:
    kinds: dict[str, Counter[Kind]] = defaultdict(Counter)
    splits: dict[str, Split | None] = {}
    plain, left = replace(names, image_suffix="", mask_suffix=""), 0
    for place in files:
        known = meaning(place, names)
        if known is not None:
            kinds[known[2]][known[0]] += 1
            splits[known[2]] = known[1]
        elif meaning(place, plain) is not None:
            left += 1
    bare = without_masks((splits[id_], count["mask"] > 0) for id_, count in kinds.items())
    labelled = [count for id_, count in kinds.items() if splits[id_] not in bare]
    whole = sum(count["image"] == 1 and count["mask"] == 1 for count in labelled)
    return Rule(names=names, pairs=whole, alone=len(labelled) - whole + left, left=left)


def without_masks(images: Iterable[tuple[Split | None, bool]]) -> set[Split | None]:
    """Return the splits in which no image has a mask, as contests give their test images, where others have some.

    Args:
        images: Split, and whether there is a mask, of each image.
    """
    masked: dict[Split | None, bool] = {}
    for split, has_mask in images:
        masked[split] = masked.get(split, False) or has_mask
    return {split for split, has_mask in masked.items() if not has_mask} if any(masked.values()) else set()


def _candidates(files: Sequence[PurePosixPath]) -> Iterator[PairNames]:
    """Yield the usual names, then those of the folders that are there with the ends that their files have."""
    yield from _by_splits(files)
    yield PairNames()
    spelled = {part.lower(): part for place in files for part in place.parts[:-1]}
    image_dirs = [spelled[name] for name in _IMAGE_FOLDERS if name in spelled]
    mask_dirs = [spelled[name] for name in _MASK_FOLDERS if name in spelled]
    for image_dir, mask_dir in product(image_dirs, mask_dirs):
        images, masks = ([p for p in files if folder in p.parts[:-1]] for folder in (image_dir, mask_dir))
        for image_suffix, mask_suffix in dict.fromkeys([("", ""), *_ends(images, masks)]):
            yield PairNames(image_dir=image_dir, mask_dir=mask_dir, image_suffix=image_suffix, mask_suffix=mask_suffix)
    yield from _by_words(files)
    for image_suffix, mask_suffix in _ends(files, files):
        if mask_suffix:
            yield PairNames(image_dir=HERE, mask_dir=HERE, image_suffix=image_suffix, mask_suffix=mask_suffix)


def _by_splits(files: Sequence[PurePosixPath]) -> Iterator[PairNames]:
    """Yield two kinds of folders whose names hold the split: ``train_images``, ``train_masks``, ``val_images``, ..."""
    splits: dict[str, set[Split]] = defaultdict(set)
    inside: dict[str, list[PurePosixPath]] = defaultdict(list)
    for place in files:
        for template, split in map(_template, place.parts[:-1]):
            if split is not None:
                splits[template].add(split)
                inside[template].append(place)
    several = sorted(template for template, of in splits.items() if len(of) > 1)
    of_masks = [template for template in several if any(word in template.lower() for word in _MASK_WORDS)]
    for image_dir, mask_dir in product([template for template in several if template not in of_masks], of_masks):
        for image_suffix, mask_suffix in dict.fromkeys([("", ""), *_ends(inside[image_dir], inside[mask_dir])]):
            yield PairNames(image_dir=image_dir, mask_dir=mask_dir, image_suffix=image_suffix, mask_suffix=mask_suffix)


def _by_words(files: Sequence[PurePosixPath]) -> Iterator[PairNames]:
    """Yield any two folders, where a name that sounds like masks tells which is which."""
    counts = Counter(part for place in files for part in place.parts[:-1])
    folders = sorted(folder for folder, _ in counts.most_common(_MOST_FOLDERS))
    of_masks = [folder for folder in folders if any(word in folder.lower() for word in _MASK_WORDS)]
    for image_dir, mask_dir in product([folder for folder in folders if folder not in of_masks], of_masks):
        images, masks = ([p for p in files if folder in p.parts[:-1]] for folder in (image_dir, mask_dir))
        types = Counter(p.suffix for p in images)
        for image_suffix, mask_suffix in dict.fromkeys([("", ""), *_ends(images, masks)]):
            whole = [image_suffix] if len(types) < 2 or image_suffix else ["", *types]  # other files beside the images
            for each in whole:
                yield PairNames(image_dir=image_dir, mask_dir=mask_dir, image_suffix=each, mask_suffix=mask_suffix)


def _ends(images: Sequence[PurePosixPath], masks: Sequence[PurePosixPath]) -> list[tuple[str, str]]:
    """Return what the names of images and masks may end with, the most frequent first."""
    ends: Counter[tuple[str, str]] = Counter()
    by_start: dict[str, list[PurePosixPath]] = defaultdict(list)
    for mask in masks:
        by_start[mask.stem[:1]].append(mask)
    for image in islice(images, 0, None, max(1, len(images) // _LOOKED_AT)):
        others = [mask for mask in by_start[image.stem[:1]] if mask != image]
        longest = max((_common(image.stem, mask.stem) for mask in others), default=0)
        for mask in others:
            if _common(image.stem, mask.stem) == longest:
                start = longest
                while 0 < start < len(image.stem) and image.stem[start - 1] in _SEPARATORS:
                    start -= 1  # a_image and a_mask: the line belongs to the ends
                if start:
                    ends[image.stem[start:], mask.stem[start:]] += 1
                    if image.stem == mask.stem[:longest]:
                        ends["", mask.stem[longest:]] += 1
    return [end for end, _ in ends.most_common(8)]


def _common(one: str, other: str) -> int:
    """Return how many letters two names have in common at their beginnings."""
    return next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
