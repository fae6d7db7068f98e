"""The data section for a set of one's own: its format, its classes and what its masks mean, read off the set itself."""

import os
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from maskline.convert import layouts
from maskline.convert.detecting import Rule, also, detect, several_masks, unpaired
from maskline.convert.format_parts.tree import Tree
from maskline.convert.formats import rle_csv
from maskline.convert.formats.folder import merged_line, merges
from maskline.convert.pairing import PairNames, left_out, meanings, more_masks
from maskline.convert.records import LayoutSettings, MaskValue, Record, SourceSet
from maskline.core.errors import DataError, DataProblemsError
from maskline.data.labels import distinct_palette
from maskline.data.manifest import Split
from maskline.download import archives
from maskline.download.listing import link_folder
from maskline.params.data import LABELLED, parsed_values
from maskline.projects import class_lists, image_kinds, mask_meaning, split_files, unread_kinds
from maskline.projects.mask_meaning import IGNORED, Wishes, shown
from maskline.projects.mask_survey import Survey, Value, mapped, survey
from maskline.reading.arrays import ARRAY_SUFFIXES
from maskline.reading.images import IMAGE_SUFFIXES

_IGNORE_INDEX = 255
_MOST_BYTES = 50 << 30  # of an archive, as data.max_unpacked_gib
_MOST_LINES = 40
_COLORED = "voc"  # the format that has names for classes, and files of masks


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """A set as it was found.

    Args:
        params: Keys of the section data.
        model: Keys of the section model.
        lines: What was found and decided, for people.
        files: Files of the project that ``params`` names: path -> text.
    """

    params: dict[str, Any]
    model: dict[str, Any] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)


def describe(
    data: Path,
    *,
    project: Path,
    classes: Sequence[str] = (),
    ignored: Sequence[str] = (),
    name: str | None = None,
    pair_names: Mapping[str, str] | None = None,
    mask_values: Mapping[Any, str] | None = None,
) -> Description:
    """Look at every file of a set and say what it is.

    Args:
        data: A folder, zip or tar.
        project: Folder of the project, from which the path is told.
        classes: As --class: names in the order of the values, or NAME=VALUE.
        ignored: As --ignore: values that never count.
        name: Of the format; None: the one that it is recognised as.
        pair_names: Fields of ``PairNames`` that the user gives; the others are found.
        mask_values: As data.mask_values; None: read off the masks.

    Raises:
        DataError: No such file, no format that is known, or two; masks that cannot be told apart.
    """
    if not data.exists():
        raise DataError(data, "no such file or folder", "name a folder, zip or tar with images and masks")
    wish = mask_meaning.wishes(classes, ignored)
    if mask_values:
        wish = replace(wish, lines=_lines(mask_values))
    with tempfile.TemporaryDirectory() as scratch, _called(data, Path(scratch)):
        folder = Path(scratch)
        if data.is_dir():
            link_folder(data, folder)
        else:
            archives.unpack(data, folder, max_bytes=_MOST_BYTES)
        tree = Tree(folder)
        if name is not None:
            chosen, reason = name, "as --format says"
        else:
            chosen, reason = (layouts.ANY_MASKS, "as -S says") if pair_names else _recognised(tree, data)
        known = None
        if chosen != layouts.ANY_MASKS:
            known = _by_layout(chosen, tree, wish, data, sure=name is not None)
        if known is None:
            reason = f"for the classes are others than those of {chosen}" if chosen != layouts.ANY_MASKS else reason
            chosen, known = layouts.ANY_MASKS, _by_masks(tree, wish, data, pair_names or {})
        lines = [line.replace(str(folder), str(data)) for line in known.lines]
    place = os.path.relpath(data.resolve(), project.resolve())
    return Description(
        params={"name": chosen, "archive": place, **known.params},
        model=known.model,
        lines=[f"{data}: format {chosen}, {reason}", *lines],
        files=known.files,
    )


def _lines(mask_values: Mapping[Any, str]) -> tuple[MaskValue, ...]:
    """Return the lines of data.mask_values, of which those of labels are no values."""
    return tuple(MaskValue(*line) for line in parsed_values({str(key): name for key, name in mask_values.items()}))


def _recognised(tree: Tree, data: Path) -> tuple[str, str]:
    """Return the format of a folder, and why it is that."""
    answers = layouts.recognised(tree)
    own = [answer for answer in answers if answer[0] != layouts.ANY_MASKS]
    if len(own) > 1:
        both = " or ".join(f"{name} ({reason})" for name, reason in own)
        raise DataError(data, f"could be {both}", f"give --format {own[0][0]} or another of them")
    if not answers:
        _check_pairs(tree, data)
        what, remedy = unread_kinds.told(tree)
        if remedy is None:
            known = ", ".join(layouts.names())
            remedy = (
                "put images into a folder called images and masks of the same names into one called masks, "
                f"or give --format, one of {known}"
            )
        raise DataError(data, f"no masks and no annotations that are known, in {what}", remedy)
    name, reason = answers[0]
    also = f"; it could be {layouts.ANY_MASKS} too (--format {layouts.ANY_MASKS})" if len(answers) > 1 else ""
    return name, f"for {reason}{also}" if name == layouts.ANY_MASKS else f"because {reason}{also}"


def _check_pairs(tree: Tree, data: Path, names: PairNames | None = None) -> None:
    """Check what keeps images and masks from being paired: several masks an image, arrays as images, other names.

    Raises:
        DataError: It is one of these.
    """
    if brush := unread_kinds.brush_masks(tree):
        problem = f"masks of Label Studio's PNG export do not say whose they are: {brush[0]}"
        raise DataError(data, problem, brush[1])
    masks = several_masks(tree.places, names)
    if masks is not None:
        one = f", or take one kind with maskline new {masks.options}" if masks.options else ""
        remedy = f"write one mask an image, with a value a class{one}"
        raise DataError(data, f"several masks an image: {masks.first} and {masks.second}", remedy)
    types = Counter(place.suffix.lower() for place in tree.places)
    arrays = [suffix for suffix in ARRAY_SUFFIXES if types[suffix]]
    if names is None and arrays and not any(types[suffix] for suffix in IMAGE_SUFFIXES):
        remedy = "write the images as TIFF or PNG; masks may stay arrays"
        raise DataError(data, f"no images, but {types[arrays[0]]} {arrays[0]} files", remedy)
    two = unpaired(tree.places)
    if names is None and two is not None:
        remedy = "give masks the names of their images; all may begin or end with something more, such as _mask"
        raise DataError(data, f"not half of its images and masks pair by name: {two[0]}, {two[1]}", remedy)


def _by_masks(tree: Tree, wish: Wishes, data: Path, given: Mapping[str, str]) -> Description:
    """Describe images with mask files."""
    rule = detect(tree.places, given)
    if rule is None:
        _check_pairs(tree, data)
        raise DataError(data, "no image with a mask", "put the masks into a folder called masks, beside images")
    if rule.alone and not any(key.startswith("mask_") for key in given):
        _check_pairs(tree, data, rule.names)
    files: dict[str, dict[str, Path]] = {}
    splits: dict[str, Split | None] = {}
    known = meanings(tree.places, rule.names)
    more = more_masks(known, rule.names)
    for place, (kind, split, id_) in known.items():
        files.setdefault(id_, {}).setdefault(kind, tree.folder / place)
        splits[id_] = split
    records = [
        Record(id=id_, group=id_, split=splits[id_], image=kinds["image"], mask=kinds["mask"])
        for id_, kinds in sorted(files.items())
        if {"mask", "image"} <= kinds.keys()
    ]
    by_entry = any(line.values is not None for line in wish.lines)
    images = {record.mask: record.image for record in records}
    others = [
        (tree.folder / one, images[tree.folder / first]) for one, first in more.items() if tree.folder / first in images
    ]
    seen = survey([*images.items(), *others], by_entry=by_entry)
    wished = wish.names or wish.values or wish.ignored or wish.lines
    listed = class_lists.Listed(wish=None, remarks=[]) if wished else class_lists.read(tree, seen)
    told = mask_meaning.meaning(seen, listed.wish or wish, place=data)
    usual = asdict(PairNames())
    names = {key: value for key, value in asdict(rule.names).items() if value.lower() != usual[key]}
    lines = [*_table(seen, told.meanings), *seen.remarks, *told.remarks, *listed.remarks]
    table = rle_csv.first_table(tree)
    if table is not None:
        lines.append(f"{table} has run lengths, not used: the files of masks count (--format rle_csv takes it)")
    if given:
        lines.insert(0, f"{rule.pairs} pairs of {rule.names.describe()}")
    lines += [f"left out: {line}" for line in left_out(tree.places, rule.names)]
    lines += [
        f"{mask_dir}: its masks pair as well; -S data.mask_dir takes them" for mask_dir in also(tree.places, rule)
    ]
    encoding, alone = told.params.get("mask_encoding"), rule.alone - rule.left
    if more and merges(encoding, told.params.get("mask_values")):
        alone -= len(more)
        lines.append(merged_line(more))
    if alone > 0:
        lines.append(f"{alone} images or masks have no partner: dvc repro convert names them")
    written = {**names, **{key: value for key, value in told.params.items() if key != "classes"}}
    lines.append("written: " + ", ".join(f"data.{key} {value}" for key, value in written.items()))
    params = {**names, **told.params} if encoding else {**names, **told.params, "mask_encoding": "index"}
    return _whole(tree, records, params, lines)


def _whole(tree: Tree, records: Sequence[Record], params: dict[str, Any], lines: list[str]) -> Description:
    """Return a description with what images and lists of splits say."""
    images = image_kinds.look([record.image for record in records])
    lists = split_files.read(tree, records)
    return Description(
        params={**params, **images.data, **lists.params},
        model=images.model,
        lines=[*lines, *images.lines, *lists.lines],
        files=lists.files,
    )


def _table(seen: Survey, meanings: "dict[Any, str]") -> list[str]:
    """Return what the masks hold, a line a value."""
    if len(seen.pixels) > _MOST_LINES and set(meanings) == set(seen.pixels):  # black and white, with all in between
        sides: dict[str, list[int]] = {}
        for value, name in meanings.items():
            sides.setdefault(name, []).append(value)
        return [
            f"{seen.masks} masks",
            *(
                f"  {min(values)} to {max(values)}  {sum(map(seen.share, values)):>6.2%}  {name}"
                for name, values in sides.items()
            ),
        ]
    values = sorted(seen.pixels, key=lambda value: -seen.pixels[value])[:_MOST_LINES]
    names = {value: meanings.get(value, IGNORED) for value in values}
    width = max(len("value"), *(len(shown(value)) for value in values))
    what = {"color": "color", "palette": "entry", "gray": "value"}[seen.kind]
    lines = [f"{seen.masks} masks", f"  {what:>{width}}  pixels   files  class"]
    for value in (value for value in seen.pixels if value in names):
        name = "(never counts)" if names[value] == IGNORED else names[value]
        lines.append(f"  {shown(value):>{width}}  {seen.share(value):>6.2%}  {seen.files[value]:>6}  {name}")
    more = len(seen.pixels) - len(values)
    return [*lines, f"  and {more} more values"] if more else lines


def _by_layout(name: str, tree: Tree, wish: Wishes, data: Path, *, sure: bool) -> Description | None:
    """Describe a set whose format knows its classes.

    Args:
        name: Of the format.
        tree: The set.
        wish: What the user says.
        data: The user's path, for errors.
        sure: The user named the format.

    Returns:
        None where it is only laid out like a published set: other classes are named, or most masks have other values.
    """
    if name == _COLORED and (wish.values or wish.ignored):
        return _by_values(name, tree.folder, wish, data)
    said = bool(wish.values or wish.ignored)
    if said and name in (*LABELLED, _COLORED):
        remedy = "leave --ignore and values of --class out; data.mask_values joins and drops labels"
        raise DataError(data, f"format {name} has labels, no values", remedy)
    classes = tuple(zip(wish.names, distinct_palette(len(wish.names)), strict=True)) if wish.names else ()
    source = layouts.layout(name)(tree.folder, _settings(classes, wish.lines))
    rule = detect(tree.places) if name not in (*LABELLED, _COLORED) and not sure else None
    folders = rule is not None and rule.pairs >= len(source.records)
    if said or (wish.names and source.labels.class_names != wish.names):
        if folders:
            return None
        own = ", ".join(source.labels.class_names)
        remedy = "leave --class and --ignore out; where the classes are your own, give --format folder"
        raise DataError(data, f"format {name} has classes of its own: {own}", remedy + _move(rule, source, sure=sure))
    if source.problems and not source.records:
        raise DataProblemsError(data, source.problems)
    table, empty, unread = _class_table(source)
    if folders and unread > len(source.records) / 2:
        return None
    splits = Counter(record.split or "no split" for record in source.records)
    lines = [
        f"{len(source.records)} images: " + ", ".join(f"{count} {split}" for split, count in sorted(splits.items())),
        *table,
    ]
    if rule is not None and (unread or empty > source.labels.num_classes / 2):
        held = f"{source.labels.num_classes - empty} of the {source.labels.num_classes} classes of {name} have pixels"
        remedy = "give --class NAME for each, or --format folder" + _move(rule, source, sure=sure)
        lines.append(f"{held}; where they are classes of your own, {remedy}")
    lines += [f"{id_}: {remark}" for id_, remark in source.remarks[:_MOST_LINES]]
    if source.problems:
        lines.append(f"{len(source.problems)} problems, which dvc repro convert lists; the first: {source.problems[0]}")
    params: dict[str, Any] = {}
    if wish.names:
        params["classes"] = [{"name": each, "color": list(color)} for each, color in classes]
    return _whole(tree, source.records, params, lines)


def _move(rule: Rule | None, source: SourceSet, *, sure: bool) -> str:
    """Return what else is to do before ``folder`` pairs as many files as a published format."""
    if sure or (rule is not None and rule.pairs >= len(source.records)):
        return ""
    return ", after moving the files into images/train with masks/train and so on"


def _by_values(name: str, folder: Path, wish: Wishes, data: Path) -> Description:
    """Describe a set of mask files whose format names the classes, of which the user ignores or renames some."""
    source = layouts.layout(name)(folder, _settings(()))
    seen = survey([(record.mask, record.image) for record in source.records])
    labels = source.labels
    names = dict(enumerate(labels.class_names)) | dict(zip(labels.palette, labels.class_names, strict=True))
    values: dict[Value, str] = {}
    never = list(wish.ignored)
    for value in (value for value in seen.pixels if value not in wish.ignored):
        color = seen.palette.get(value) if isinstance(value, int) else value
        class_name = names.get(color) if color in labels.palette else names.get(value)
        if class_name is None:
            never.append(value)  # a border
        else:
            values[value] = class_name
    told = mask_meaning.meaning(
        seen, Wishes(values=wish.values or values, ignored=wish.ignored if wish.values else tuple(never)), place=data
    )
    lines = [f"{len(source.records)} images", *_table(seen, told.meanings), *told.remarks]
    return Description(params=told.params, lines=[*lines, f"written: data.mask_values {told.params['mask_values']}"])


def _class_table(source: SourceSet) -> tuple[list[str], int, int]:
    """Return lines for people, the number of classes without a pixel, and that of masks that cannot be read."""
    labels = source.labels
    pixels = np.zeros(labels.num_classes, dtype=np.int64)
    images = np.zeros(labels.num_classes, dtype=np.int64)
    ignored, unread = 0, list[DataError]()

    def count(record: Record) -> Any:
        try:
            mask = source.read_mask(record.mask)
        except DataError as error:
            return error
        inside = mask[(mask >= 0) & (mask < labels.num_classes)]
        return np.bincount(inside, minlength=labels.num_classes), int((mask == labels.ignore_index).sum())

    for result in mapped(count, source.records):
        if isinstance(result, DataError):
            unread.append(result)
            continue
        pixels += result[0]
        images += result[0] > 0
        ignored += result[1]
    width = max(len("class"), *(len(name) for name in labels.class_names))
    total = max(int(pixels.sum()) + ignored, 1)
    lines = [f"  {'class':<{width}}  pixels  images"]
    for name, count_, files in list(zip(labels.class_names, pixels, images, strict=True))[:_MOST_LINES]:
        lines.append(f"  {name:<{width}}  {count_ / total:>6.2%}  {files:>6}")
    more = labels.num_classes - _MOST_LINES
    lines += [f"  and {more} more classes"] if more > 0 else []
    lines += [f"  never counts: {ignored / total:.2%}"] if ignored else []
    lines += [f"{len(unread)} masks cannot be read; the first: {unread[0]}"] if unread else []
    return lines, int((pixels == 0).sum()), len(unread)


def _settings(
    classes: tuple[tuple[str, tuple[int, int, int]], ...], lines: tuple[MaskValue, ...] = ()
) -> LayoutSettings:
    return LayoutSettings(
        mask_values=lines,
        classes=classes,
        ignore_index=_IGNORE_INDEX,
        mask_encoding="index",
        exif="ignore",
        alpha="drop",
        channels=None,
        scale="full_range",
    )


@contextmanager
def _called(data: Path, scratch: Path) -> Iterator[None]:
    """Let errors name the user's files, not the links to them."""

    def own(text: str) -> str:
        return text.replace(str(scratch), str(data))

    try:
        yield
    except DataProblemsError as error:
        problems = [DataError(own(each.place), own(each.problem), each.remedy) for each in error.problems]
        raise DataProblemsError(data, problems) from error
    except DataError as error:
        raise DataError(own(error.place), own(error.problem), error.remedy) from error
