"""Run lengths in a table, as Kaggle's contests give them: a CSV file with one row an object, or one an image.

    train.csv          ImageId,EncodedPixels (or id,rle_mask; image_id,rle), with ClassId (or label, class) or not
    train/a.jpg        anywhere: found by its name, with or without its type in the table; or by its folder's name, _
                       and the beginning of its own, as in UW-Madison's, if one alone fits

A row is "start length start length ...": pixels are counted from 1, down the columns as in DSB2018, Severstal's steel
and TGS' salt. Along the rows where the columns are called img and rle_mask (Carvana), or annotation or segmentation
(Sartorius, UW-Madison): so readers of these tables take them, though Sartorius' own page says otherwise. Nothing in a
table tells, so a remark asks to look. ``IMAGE_CLASS`` in one column (ImageId_ClassId, Image_Label) is both. An
empty row, or -1, is an image without an object. Images without a row that lie in a folder with others that have one are
background, with a remark; those of other folders (test) are left out. Tables called ``submission`` show the form of an
answer, not labels: they are left out, with a remark.

Classes: those of ``data.classes``; else background and the labels by alphabet, numbers by value; "object" where no
column names one. ``data.mask_values`` renames, joins and drops them ({1: scratch}). Later rows cover earlier ones.
Split folders of the images count, where all have one. Each image is a group.

Source: kaggle.com/c/data-science-bowl-2018, /c/severstal-steel-defect-detection, /c/carvana-image-masking-challenge.
"""

import csv
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from maskline.convert.detecting import detect
from maskline.convert.format_parts.annotations import Annotated, Drawn, source_set, with_splits
from maskline.convert.format_parts.finding import visible
from maskline.convert.format_parts.named_images import NamedImages
from maskline.convert.format_parts.tree import Tree
from maskline.convert.records import LayoutSettings, SourceSet
from maskline.core.errors import DataError
from maskline.reading.images import IMAGE_SUFFIXES

_IMAGES = ("imageid", "image_id", "img_id", "id", "img", "image", "filename", "file_name")
_RUNS = ("encodedpixels", "rle_mask", "rle", "encoded_pixels", "segmentation", "annotation")
_CLASSES = ("classid", "class_id", "class", "label", "classname", "class_name", "category", "cell_type")
_BOTH = ("imageid_classid", "image_label", "image_class", "image_id_class_id")
_BY_ROWS = ("segmentation", "annotation")
_ONE = "object"
_NONE = ("", "-1", "nan", "none")
_MOST_BYTES = 1 << 28  # of a cell


@dataclass(frozen=True, slots=True, kw_only=True)
class _Columns:
    """Where a table has what; ``label`` is None where there is no class, and ``image`` holds both where ``both``."""

    image: int
    runs: int
    label: int | None
    both: bool
    by_rows: bool


def read(folder: Path, settings: LayoutSettings) -> SourceSet:
    """Read the tables and find their images.

    Raises:
        DataError: No such table is there.
    """
    tables = [(path, place, columns) for path, place in visible(folder, (".csv",)) if (columns := _columns(path))]
    answers = [place for _, place, _ in tables if _is_answer(place)]
    tables = [table for table in tables if table[1] not in answers]
    if not tables:
        problem = f"no CSV file with images and run lengths{f' but {answers[0]}, an answer' if answers else ''}"
        remedy = "give one with ImageId,EncodedPixels" + (", or rename this one if it holds labels" if answers else "")
        raise DataError("rle_csv", problem, remedy)
    named = NamedImages(folder)
    objects: dict[Path, list[Drawn]] = defaultdict(list)
    files: dict[Path, Path] = {}
    problems: list[DataError] = []
    for path, place, columns in tables:
        for number, (name, label, runs) in _rows(path, columns):
            where = PurePosixPath(f"{place} line {number}")
            try:
                image = _image(name, named, where, beside=place.parent)
            except DataError as error:
                problems.append(error)
                continue
            files.setdefault(image, path)
            drawn = objects[image]
            if runs.strip().lower() not in _NONE:
                drawn.append(Drawn(label, partial(decode, text=runs, by_rows=columns.by_rows)))
    known = {image.parent for image in objects}
    empty = [(path, place) for path, place in visible(folder, IMAGE_SUFFIXES) if path.parent in known - {folder}]
    empty = [(path, place) for path, place in empty if path not in objects]
    remarks = [(place.with_suffix("").as_posix(), "no row in the table: background") for _, place in empty]
    remarks += [(id_, text) for id_, text in named.unused() if id_ not in {other for other, _ in remarks}]
    images = [
        Annotated(id=named.id(image), image=image, file=files.get(image, tables[0][0]), objects=objects.get(image, []))
        for image in [*objects, *(path for path, _ in empty)]
    ]
    remarks += [(place.as_posix(), "an answer to a contest by its name, no labels: left out") for place in answers]
    by_rows = [place.as_posix() for _, place, columns in tables if columns.by_rows]
    remarks += [(place, "run lengths read along the rows; look at reports/convert/grid.png") for place in by_rows]
    labels = {each.label for drawn in objects.values() for each in drawn}
    return source_set(
        with_splits(images, named), settings, declared=sorted(labels, key=_order), problems=problems, remarks=remarks
    )


def recognise(tree: Tree) -> str | None:
    """Return why a folder is such a set; None: it is none."""
    place = first_table(tree)
    if place is None or tree.first(r"masks/[^/]+") or detect(tree.places):  # what it says is there as images too
        return None
    return f"{place} has a column of images and one of run lengths"


def first_table(tree: Tree) -> PurePosixPath | None:
    """Return the path of the first table of run lengths; None: there is none."""
    tables = (place for place in tree.places if place.suffix.lower() == ".csv" and not _is_answer(place))
    return next((place for place in tables if _columns(tree.folder / place)), None)


def decode(shape: tuple[int, int], *, text: str, by_rows: bool) -> NDArray[np.bool_]:
    """Return (h, w) of "start length start length ...", counted from 1.

    Args:
        shape: (h, w).
        text: The run lengths.
        by_rows: Along the rows; else down the columns.

    Raises:
        ValueError: Not pairs of whole numbers, or beyond the image.
    """
    numbers = np.array(text.split(), dtype=np.int64)
    if len(numbers) % 2:
        raise ValueError("run lengths that are no pairs")
    starts, ends = numbers[::2] - 1, numbers[::2] - 1 + numbers[1::2]
    if len(numbers) and (starts.min() < 0 or numbers[1::2].min() < 0 or ends.max() > shape[0] * shape[1]):
        raise ValueError(f"run lengths beyond the {shape[1]}x{shape[0]} pixels")
    steps = np.zeros(shape[0] * shape[1] + 1, dtype=np.int32)
    np.add.at(steps, starts, 1)
    np.add.at(steps, ends, -1)
    inside = np.cumsum(steps[:-1]) > 0
    return inside.reshape(shape) if by_rows else inside.reshape(shape[::-1]).T


def _is_answer(place: PurePosixPath) -> bool:
    return "submission" in place.stem.lower()


def _columns(path: Path) -> _Columns | None:
    """Return where a CSV file has what; None: it is no such table."""
    try:
        with path.open(encoding="utf-8-sig", errors="replace", newline="") as stream:
            names = [name.strip().lower() for name in next(csv.reader(stream), [])]
    except (OSError, csv.Error):
        return None
    runs = next((names.index(name) for name in _RUNS if name in names), None)
    both = next((names.index(name) for name in _BOTH if name in names), None)
    image = both if both is not None else next((names.index(name) for name in _IMAGES if name in names), None)
    if runs is None or image is None:
        return None
    label = next((names.index(name) for name in _CLASSES if name in names), None)
    by_rows = names[runs] in _BY_ROWS or (names[image] == "img" and names[runs] == "rle_mask")
    return _Columns(image=image, runs=runs, label=label, both=both is not None, by_rows=by_rows)


def _rows(path: Path, columns: _Columns) -> Iterator[tuple[int, tuple[str, str, str]]]:
    """Yield the line, and the image, label and run lengths, of each row."""
    former = csv.field_size_limit(_MOST_BYTES)  # of the whole process: other tables keep theirs
    try:
        with path.open(encoding="utf-8-sig", errors="replace", newline="") as stream:
            reader = csv.reader(stream)
            next(reader)
            for row in reader:
                cells = defaultdict(str, enumerate(row))
                label = "" if columns.label is None else cells[columns.label].strip()
                name = cells[columns.image].strip()
                if columns.both:
                    name, _, label = name.rpartition("_")
                if name:
                    yield reader.line_num, (name, label or _ONE, cells[columns.runs])
    finally:
        csv.field_size_limit(former)


def _image(name: str, named: NamedImages, where: PurePosixPath, *, beside: PurePosixPath) -> Path:
    """Return the image of a name with or without its type, or of a folder's name and the beginning of a name in it.

    Raises:
        DataError: There is none, or there are several.
    """
    if not named.has(name):
        name = next((other for end in sorted(IMAGE_SUFFIXES) if named.has(other := f"{name}{end}")), name)
    image = None if named.has(name) else named.joined(name)
    return image or named.find(name, place=where, beside=beside)


def _order(label: str) -> tuple[int, str]:
    return (int(label), "") if re.fullmatch(r"\d{1,9}", label) else (10**9, label)
