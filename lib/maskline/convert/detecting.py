"""How the rule that pairs images and masks is found by itself, and why there is none."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice, product
from pathlib import PurePosixPath
from typing import NamedTuple

from maskline.convert.pairing import (
    HERE,
    MASK_WORDS,
    Kind,
    PairNames,
    composed_place,
    is_readable,
    meaning,
    meanings,
    template_of,
    without_masks,
)
from maskline.data.manifest import Split
from maskline.reading.images import IMAGE_SUFFIXES

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
_PARTNERS = {"y": "x", "output": "input", "outputs": "inputs", "lab": "img"}
"""Words of a folder of masks, only where there is one of the same name with the other word."""

_FOR_EYES = ("human", "color", "colour", "rgb", "vis", "overlay")
"""Parts of the names of folders that show masks to people; they come last."""

_MOST_FOLDERS = 8  # whose names are no usual ones
_LOOKED_AT = 5  # images whose masks are guessed, for the ends of names
_NEARLY_ALL = 0.95  # of the files: no other rule is looked for
_MOST_ENDS = 8
_MOST_TYPES = 3
_SEPARATORS = "_-. "
_JPEG = (".jpg", ".jpeg")


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


def detect(places: Iterable[PurePosixPath], given: Mapping[str, str] | None = None) -> Rule | None:
    """Return the first rule that pairs all files in its folders, or one that pairs more; None: none pairs half.

    Args:
        places: Path of each file below the set's folder.
        given: Fields of the rule that are known.
    """
    files = [composed_place(place) for place in places if is_readable(place)]
    rules, tried = list[Rule](), set[PairNames]()
    for candidate in _candidates(files):  # one after the other: the first is mostly the one
        names = replace(candidate, **(given or {}))
        if names in tried or (names.image_dir == HERE) != (names.mask_dir == HERE):
            continue
        tried.add(names)
        rule = _rule(files, names)
        if rule.pairs and not rule.alone and all(rule.pairs >= other.pairs for other in rules):
            return rule
        told = names.image_dir != HERE or _sounds(names.mask_prefix + names.mask_suffix)
        if 0 < rule.pairs >= rule.alone and (told or not rule.alone):
            rules.append(rule)
            if 2 * rule.pairs >= _NEARLY_ALL * len(files):
                break
    return min(rules, key=_order, default=None)


def also(places: Iterable[PurePosixPath], rule: Rule) -> list[str]:
    """Return the other folders whose masks pair with the images just as well.

    Args:
        places: Path of each file below the set's folder.
        rule: That which was chosen.
    """
    files = [composed_place(place) for place in places if is_readable(place)]
    if rule.names.image_dir == HERE:
        return []
    others = [
        replace(rule.names.whole(), mask_dir=mask_dir)
        for mask_dir in _usual_folders(files)
        if mask_dir not in (rule.names.image_dir, rule.names.mask_dir) and _sounds(mask_dir)
    ]
    return [
        names.mask_dir
        for names in others
        if _rule(files, replace(names, image_suffix=rule.names.image_suffix)).pairs >= rule.pairs
    ]


class Several(NamedTuple):
    """More masks than one of an image.

    Args:
        first: One of them.
        second: Another.
        options: What takes those of the first kind alone; empty: nothing does.
    """

    first: str
    second: str
    options: str


def several_masks(places: Iterable[PurePosixPath], names: PairNames | None = None) -> Several | None:
    """Return two masks of one image, where half of the images with masks have several; else None.

    Args:
        places: Path of each file below the set's folder.
        names: How images and masks are called; None: some usual way.
    """
    files = [composed_place(place) for place in places if is_readable(place)]
    for whole in [names.whole()] if names is not None else dict.fromkeys(each.whole() for each in _candidates(files)):
        known = meanings(files, whole)
        ids = {id_: kind for kind, _, id_ in known.values()}
        side_by_side = whole.image_dir == HERE
        images = {_cut_image(id_, names) for id_, kind in ids.items() if kind == "image" or side_by_side}
        if side_by_side:
            images = {id_ for id_ in images if not _start_of(id_, images)}
        masks: dict[str, dict[str, PurePosixPath]] = defaultdict(dict)
        for place, (kind, _, id_) in known.items():
            if kind == "mask" and not (side_by_side and id_ in images):
                of = id_ if id_ in images else _start_of(id_, images) or _below(id_, images)
                if of and not (side_by_side and re.search(r"\d", id_[len(of) :])):  # a_1 and a_2 may be photos
                    masks[of][id_] = place
        several = [of for of, own in masks.items() if len(own) > 1]
        if several and 2 * len(several) >= len(masks):
            (id_, first), (_, second) = list(masks[several[0]].items())[:2]
            options = f"-S data.mask_dir={whole.mask_dir} -S data.mask_suffix={id_[len(several[0]) :]}"
            if first.parent != second.parent:
                options = f"-S data.mask_dir={first.parent.name}"
            return Several(first.as_posix(), second.as_posix(), "" if side_by_side else options)
    return None


def unpaired(places: Iterable[PurePosixPath]) -> tuple[str, str] | None:
    """Return a file of a folder of images and one of a folder of masks, where no rule pairs half of them.

    Args:
        places: Path of each file below the set's folder.
    """
    files = [composed_place(place) for place in places if is_readable(place)]
    for names in _candidates(files):
        kinds = {kind: place.as_posix() for place, (kind, _, _) in reversed(meanings(files, names.whole()).items())}
        if names.image_dir != HERE and {"image", "mask"} <= kinds.keys():
            return kinds["image"], kinds["mask"]
    return None


def _cut_image(id_: str, names: PairNames | None) -> str:
    return id_.removesuffix(names.image_suffix) if names is not None else id_


def _start_of(id_: str, images: set[str]) -> str | None:
    """Return the longest image id that an id goes on from behind a separator."""
    cuts = (id_[:i] for i in range(len(id_) - 1, 0, -1) if id_[i] in _SEPARATORS)
    return next((start for start in cuts if start in images), None)


def _below(id_: str, images: set[str]) -> str | None:
    """Return the image id that an id has within a folder of its own: ``leaf/1`` for ``1``."""
    folders = id_.split("/")
    shorter = ("/".join([*folders[:i], *folders[i + 1 :]]) for i in range(len(folders) - 1))
    return next((each for each in shorter if each in images), None)


def _order(rule: Rule) -> tuple[int, ...]:
    """Return what is least for the best rule; of equal ones, that whose images are called most plainly."""
    end = rule.names.image_suffix
    return -rule.pairs, rule.alone, -rule.left, len(end) if not end.startswith(".") else 0


def _rule(files: Sequence[PurePosixPath], names: PairNames) -> Rule:
    kinds: dict[str, Counter[Kind]] = defaultdict(Counter)
    splits: dict[str, Split | None] = {}
    known = meanings(files, names)
    for place, (kind, split, id_) in known.items():
        if kind != "image" or place.suffix.lower() in IMAGE_SUFFIXES:  # no image is read from an array
            kinds[id_][kind] += 1
            splits[id_] = split
    plain = names.whole()
    left = 0 if plain == names else sum(place not in known and meaning(place, plain) is not None for place in files)
    bare = without_masks((splits[id_], count["mask"] > 0) for id_, count in kinds.items())
    labelled = [count for id_, count in kinds.items() if splits[id_] not in bare]
    whole = sum(count["image"] == 1 and count["mask"] == 1 for count in labelled)
    return Rule(names=names, pairs=whole, alone=len(labelled) - whole + left, left=left)


def _candidates(files: Sequence[PurePosixPath]) -> Iterator[PairNames]:
    """Yield the usual names, then those of the folders that are there with the ends that their files have."""
    yield from _by_splits(files)
    yield PairNames()
    spelled = {part.lower(): part for place in files for part in place.parts[:-1]}
    image_dirs = [spelled[name] for name in _IMAGE_FOLDERS if name in spelled]
    mask_dirs = [spelled[name] for name in _MASK_FOLDERS if name in spelled]
    for image_dir, mask_dir in product(image_dirs, mask_dirs):
        images, masks = ([p for p in files if folder in p.parts[:-1]] for folder in (image_dir, mask_dir))
        yield from _named(image_dir, mask_dir, images, masks)
    yield from _by_words(files)
    images = [place for place in files if not _sounds(place.stem)]
    yield from (names for names in _named(HERE, HERE, images or files, files) if _tells_masks(names))


def _by_splits(files: Sequence[PurePosixPath]) -> Iterator[PairNames]:
    """Yield two kinds of folders whose names hold the split: ``train_images``, ``train_masks``, ``val_images``, ..."""
    splits: dict[str, set[Split]] = defaultdict(set)
    inside: dict[str, list[PurePosixPath]] = defaultdict(list)
    for place in files:
        for template, split in map(template_of, place.parts[:-1]):
            if split is not None:
                splits[template].add(split)
                inside[template].append(place)
    for image_dir, mask_dir in _sides(sorted(template for template, of in splits.items() if len(of) > 1)):
        yield from _named(image_dir, mask_dir, inside[image_dir], inside[mask_dir])


def _by_words(files: Sequence[PurePosixPath]) -> Iterator[PairNames]:
    """Yield any two folders, where a name that sounds like masks tells which is which."""
    for image_dir, mask_dir in _sides(_usual_folders(files)):
        images, masks = ([p for p in files if folder in p.parts[:-1]] for folder in (image_dir, mask_dir))
        yield from _named(image_dir, mask_dir, images, masks)


def _usual_folders(files: Sequence[PurePosixPath]) -> list[str]:
    counts = Counter(part for place in files for part in place.parts[:-1])
    return sorted(folder for folder, _ in counts.most_common(_MOST_FOLDERS))


def _sides(folders: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield a folder of images with one of masks, those first whose masks are not meant for people."""
    lower = {folder.lower() for folder in folders}

    def has_partner(folder: str) -> bool:
        return any(
            re.sub(rf"(?<![a-z]){own}(?![a-z])", other, folder) in lower - {folder} for own, other in _PARTNERS.items()
        )

    of_masks = [folder for folder in folders if _sounds(folder) or has_partner(folder.lower())]
    of_masks.sort(key=lambda folder: any(word in folder.lower() for word in _FOR_EYES))
    return product([folder for folder in folders if folder not in of_masks], of_masks)


def _sounds(name: str) -> bool:
    return any(word in name.lower() for word in MASK_WORDS)


def _tells_masks(names: PairNames) -> bool:
    """Return whether a rule without folders tells masks from images; of types, JPEG alone must be an image."""
    if names.mask_suffix.lower() in IMAGE_SUFFIXES:
        return names.image_suffix.lower() in _JPEG and names.mask_suffix.lower() not in _JPEG
    return bool(names.mask_suffix or names.mask_prefix) and not names.image_suffix.startswith(".")


def _named(
    image_dir: str, mask_dir: str, images: Sequence[PurePosixPath], masks: Sequence[PurePosixPath]
) -> Iterator[PairNames]:
    """Yield the rules of two folders: no ends, those that the files have, files of one type, and beginnings."""
    for image_suffix, mask_suffix in dict.fromkeys([("", ""), *_ends(images, masks)]):
        for of_images, of_masks in product(_typed(image_suffix, images), _typed(mask_suffix, masks)):
            yield PairNames(image_dir=image_dir, mask_dir=mask_dir, image_suffix=of_images, mask_suffix=of_masks)
    for image_prefix, mask_prefix in _ends(images, masks, backwards=True):
        if mask_prefix and not re.search(r"\d", image_prefix + mask_prefix):  # else a number that counts files
            yield PairNames(image_dir=image_dir, mask_dir=mask_dir, image_prefix=image_prefix, mask_prefix=mask_prefix)


def _typed(end: str, files: Sequence[PurePosixPath]) -> list[str]:
    """Return an end; where there is none, the types of files too if there are several: others lie beside them."""
    types = [suffix for suffix, _ in Counter(place.suffix for place in files).most_common(_MOST_TYPES)]
    return [end, *sorted(types, key=lambda suffix: suffix.lower() in _JPEG)] if not end and len(types) > 1 else [end]


def _ends(
    images: Sequence[PurePosixPath], masks: Sequence[PurePosixPath], *, backwards: bool = False
) -> list[tuple[str, str]]:
    """Return what the names of images and masks may end with, or begin with, the most frequent first."""
    ends: Counter[tuple[str, str]] = Counter()
    turn = -1 if backwards else 1
    by_start: dict[str, list[tuple[str, PurePosixPath]]] = defaultdict(list)
    for mask in masks:
        other = mask.stem[::turn]
        by_start[other[:1]].append((other, mask))
    for image in islice(images, 0, None, max(1, len(images) // _LOOKED_AT)):
        stem = image.stem[::turn]
        common = [(_common(stem, other), other, mask) for other, mask in by_start[stem[:1]] if mask != image]
        longest = max((length for length, _, _ in common), default=0)
        for other, mask in ((other, mask) for length, other, mask in common if length == longest):
            start = longest
            while 0 < start < len(stem) and stem[start - 1] in _SEPARATORS:
                start -= 1  # a_image and a_mask: the line belongs to the ends
            if start:
                ends[stem[start:][::turn], _with_type(other[start:][::turn], mask)] += 1
                if stem == other[:longest]:
                    ends["", _with_type(other[longest:][::turn], mask)] += 1
    return [end for end, _ in ends.most_common(_MOST_ENDS)]


def _with_type(end: str, mask: PurePosixPath) -> str:
    """Return the end of a mask's name; with its type where the end is the image's: a.jpg and a.jpg.png."""
    return f"{end}{mask.suffix}" if end.lower() in IMAGE_SUFFIXES else end


def _common(one: str, other: str) -> int:
    """Return how many letters two names have in common at their beginnings."""
    return next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
