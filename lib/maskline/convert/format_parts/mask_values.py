"""Stored values and colors to classes, as the user says it, for sets that have mask files."""

from collections.abc import Iterable
from functools import partial
from pathlib import Path

import numpy as np

from maskline.convert.records import LayoutSettings, MaskValue, ReadMask
from maskline.data.labels import LabelSet, Rgb, distinct_palette
from maskline.reading import masks

GROUNDS = ("background", "_background_")
"""What the class where nothing is drawn is called, lower case."""

_REMEDY = "add it to data.mask_values, to a class or to ignore"


def label_set(settings: LayoutSettings) -> LabelSet:
    """Return the user's classes; those that ``mask_values`` names, with its colors, where there are no others.

    Raises:
        DataError: Fewer than two classes, or one name twice.
    """
    names = tuple(name for name, _ in settings.classes) or class_names(settings.mask_values)
    palette = tuple(color for _, color in settings.classes) or _colors(names, settings.mask_values)
    return LabelSet(class_names=names, palette=palette, ignore_index=free_ignore(settings, len(names)))


def class_names(lines: Iterable[MaskValue]) -> tuple[str, ...]:
    """Return the classes that the lines name, in their order."""
    return tuple(dict.fromkeys(line.class_name for line in lines if line.class_name is not None))


def free_ignore(settings: LayoutSettings, num_classes: int) -> int:
    """Return a value for ignored pixels of prepared masks that is no class: the user's where it can be."""
    if num_classes <= settings.ignore_index:
        return settings.ignore_index
    return 255 if num_classes <= 255 else 65535


def value_reader(settings: LayoutSettings, labels: LabelSet) -> ReadMask | None:
    """Return the reader that ``mask_values``, or a value to ignore that is no class, asks for; None: neither does.

    Args:
        settings: What the user says.
        labels: As ``label_set`` returns them.
    """
    lines = settings.mask_values
    if not lines:
        ranges = _beside_ignored(settings, labels)
        if ranges is None:
            return None
        return partial(masks.read_ranges, ranges=ranges, exif=settings.exif, remedy="change data.classes or the mask")
    ids = {name: i for i, name in enumerate(labels.class_names)}
    targets = [labels.ignore_index if line.class_name is None else ids[line.class_name] for line in lines]
    if any(line.color is not None for line in lines):
        colors = tuple(line.color or (0, 0, 0) for line in lines)
        return partial(_read_colors, colors=colors, ids=tuple(targets), exif=settings.exif)
    ranges = tuple((*(line.values or (0, 0)), id_) for line, id_ in zip(lines, targets, strict=True))
    return partial(masks.read_ranges, ranges=ranges, exif=settings.exif, remedy=_REMEDY)


def _read_colors(path: Path, *, colors: tuple[Rgb, ...], ids: tuple[int, ...], exif: masks.Exif) -> masks.Ids:
    at = masks.read_color(path, colors=colors, exif=exif, remedy=_REMEDY)
    return np.asarray(np.array(ids, dtype=np.int32)[at])


def _beside_ignored(settings: LayoutSettings, labels: LabelSet) -> tuple[tuple[int, int, int], ...] | None:
    """Return ranges for ids with an ignored value that the prepared masks cannot have; None: they can."""
    ignored, count = settings.mask_ignore, labels.num_classes
    if ignored in (None, labels.ignore_index) or settings.mask_encoding not in ("index", "palette"):
        return None
    ids = [value for value in range(count + 1) if value != ignored][:count]
    assert ignored is not None
    return ((ignored, ignored, labels.ignore_index), *((value, value, i) for i, value in enumerate(ids)))


def _colors(names: tuple[str, ...], lines: Iterable[MaskValue]) -> tuple[Rgb, ...]:
    first = {line.class_name: line.color for line in reversed(tuple(lines))}
    colors = tuple(color for name in names if (color := first.get(name)) is not None)
    return colors if len(colors) == len(names) else distinct_palette(len(names))
