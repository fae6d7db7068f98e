"""Masks in the form of PASCAL VOC, of any classes: CVAT's "segmentation mask 1.1", labelme2voc, and others.

    JPEGImages/a.jpg                       or anywhere: found by its name
    SegmentationClass/a.png                RGB or palette PNG of the classes' colors, or gray or palette PNG of ids
    SegmentationClassNpy/a.npy             ids, where there is no PNG of that name
    ImageSets/Segmentation/train.txt       and val.txt, test.txt, optional
    labelmap.txt                           lines of NAME:RED,GREEN,BLUE::
    class_names.txt or labels.txt          instead: names in the order of ids, as labelme has them

Classes: those of ``data.classes``; else of labelmap.txt; else of the list of names. Masks hold colors where a color is
known, else ids (palette PNG of other colors, too); with ``data.mask_values``, what that says. A labelmap.txt without
colors means VOC's own. VOC's border (224, 224, 192), the id 255, and -1 in arrays become the ignore index. Masks in no
list are train where lists are there. Each image is a group.

Source: Everingham et al., "The PASCAL Visual Object Classes Challenge", IJCV 111, 2015; docs.cvat.ai. The reader of
datumaro 1.13 (MIT) knows the form, but cannot be installed beside pandas 3 and Pillow 13; so the files are read here.
"""

from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np

from maskline.convert.format_parts import mask_values
from maskline.convert.format_parts.documents import load_lines
from maskline.convert.format_parts.finding import visible
from maskline.convert.format_parts.named_images import split_named
from maskline.convert.format_parts.tree import NAME_LIST, Tree, both
from maskline.convert.records import LayoutSettings, ReadMask, Record, SourceSet
from maskline.core.errors import DataError
from maskline.data.labels import LabelSet, Rgb, bit_palette
from maskline.data.manifest import Split
from maskline.reading import masks
from maskline.reading.arrays import ARRAY_SUFFIXES
from maskline.reading.images import IMAGE_SUFFIXES

_FOLDERS = ("segmentationclass", "segmentationclasspng", "segmentationclassnpy", "segmentationclassaug")
_OTHERS = ("segmentationobject", "segmentationclassvisualization", "segmentationobjectvisualization")
_BORDER = (224, 224, 192)
_VOID = 255


def read(folder: Path, settings: LayoutSettings) -> SourceSet:
    """Find masks, images, lists and names.

    Raises:
        DataError: No mask is there, or no names of classes.
    """
    found_masks, images = _files(folder)
    if not found_masks:
        raise DataError("voc", "no masks in SegmentationClass", "export as segmentation mask, with images")
    labels, colored = _labels(folder, settings)
    splits, problems = _lists(folder, set(found_masks))
    records = []
    for id_, mask in sorted(found_masks.items()):
        image = images.get(id_) or images.get(PurePosixPath(id_).name)
        if image is None:
            place = mask.relative_to(folder).as_posix()
            problems.append(DataError(place, "mask without an image", "export with images, or add JPEGImages/"))
            continue
        split = splits.get(id_, "train") if splits else None
        records.append(Record(id=id_, group=id_, split=split, image=image, mask=mask))
    return SourceSet(
        labels=labels,
        records=records,
        read_mask=_reader(settings, labels, colored=colored),
        read_area=partial(masks.read_area, exif=settings.exif),
        problems=problems,
    )


def recognise(tree: Tree) -> str | None:
    """Return why a folder is such a set; None: it is none."""
    return both(tree, rf"(?:{'|'.join(_FOLDERS)})/[^/]+", NAME_LIST)


def _files(folder: Path) -> tuple[dict[str, Path], dict[str, Path]]:
    """Return id -> mask, and id or name -> image; an id is the path below its folder, without suffix."""
    found_masks: dict[str, tuple[int, Path]] = {}
    images: dict[str, Path] = {}
    for path, place in visible(folder, (*IMAGE_SUFFIXES, *ARRAY_SUFFIXES)):
        folders = [part.lower() for part in place.parts[:-1]]
        at = next((i for i, part in enumerate(folders) if part in (*_FOLDERS, *_OTHERS)), None)
        if at is None:
            if path.suffix.lower() not in ARRAY_SUFFIXES:
                below = next((i for i, part in enumerate(folders) if part == "jpegimages"), len(folders) - 1)
                images.setdefault(PurePosixPath(*place.parts[below + 1 :]).with_suffix("").as_posix(), path)
                images.setdefault(place.stem, path)
        elif folders[at] in _FOLDERS:
            id_ = PurePosixPath(*place.parts[at + 1 :]).with_suffix("").as_posix()
            rank = _FOLDERS.index(folders[at]) + len(_FOLDERS) * (path.suffix.lower() in ARRAY_SUFFIXES)
            found_masks[id_] = min(found_masks.get(id_, (rank, path)), (rank, path))
    return {id_: path for id_, (_, path) in found_masks.items()}, images


def _labels(folder: Path, settings: LayoutSettings) -> tuple[LabelSet, bool]:
    """Return the classes, and whether their colors are those of the masks."""
    if settings.classes or settings.mask_values:
        return mask_values.label_set(settings), True
    texts = {place.name.lower(): path for path, place in visible(folder, (".txt",))}
    names: list[tuple[str, Rgb | None]] = []
    if "labelmap.txt" in texts:
        lines = [(number, line) for number, line in _lines(texts["labelmap.txt"]) if not line.startswith("#")]
        colors = bit_palette(len(lines))
        names = [_color(line, number, colors[i]) for i, (number, line) in enumerate(lines)]
    else:
        listed = texts.get("class_names.txt") or texts.get("labels.txt")
        names = [(line, None) for _, line in _lines(listed)] if listed else []
        names = [(name, color) for name, color in names if name != "__ignore__"]
    if not names:
        remedy = "add the tool's labelmap.txt, or set data.classes"
        raise DataError("voc", "no labelmap.txt, class_names.txt or labels.txt in the archive", remedy)
    names.sort(key=lambda entry: entry[0].lower() not in mask_values.GROUNDS)  # stable: background first
    palette = tuple(color for _, color in names if color is not None)
    colored = len(palette) == len(names)
    class_names = tuple(name for name, _ in names)
    return LabelSet(
        class_names=class_names,
        palette=palette if colored else bit_palette(len(names)),
        ignore_index=mask_values.free_ignore(settings, len(names)),
    ), colored


def _lines(path: Path) -> list[tuple[int, str]]:
    return [(number, line.strip()) for number, line in enumerate(load_lines(path), start=1) if line.strip()]


def _color(line: str, number: int, usual: Rgb) -> tuple[str, Rgb]:
    """Return name and color of ``NAME:RED,GREEN,BLUE:PARTS:ACTIONS``; a name may have colons."""
    try:
        name, color, *_ = line.rsplit(":", 3)
        if not color.strip():
            return name, usual
        red, green, blue = (int(value) for value in color.split(","))
    except ValueError as error:
        raise DataError(f"labelmap.txt line {number}", f"{line!r}", "write NAME:RED,GREEN,BLUE::") from error
    return name, (red, green, blue)


def _reader(settings: LayoutSettings, labels: LabelSet, *, colored: bool) -> ReadMask:
    mapped = mask_values.value_reader(settings, labels)
    if settings.mask_values and mapped is not None:
        return mapped
    ids = ((_VOID, _VOID, labels.ignore_index), (-1, -1, labels.ignore_index)) if labels.num_classes <= _VOID else ()
    ranges = (*ids, *((i, i, i) for i in range(labels.num_classes)))
    colors = tuple(color for color in (*labels.palette, _BORDER) if colored)
    return partial(_read, ranges=ranges, colors=tuple(dict.fromkeys(colors)), labels=labels, exif=settings.exif)


def _read(
    path: Path,
    *,
    ranges: tuple[tuple[int, int, int], ...],
    colors: tuple[Rgb, ...],
    labels: LabelSet,
    exif: masks.Exif,
) -> masks.Ids:
    remedy = "add its class to the list of names, or to data.mask_values"
    mode = "" if path.suffix.lower() in ARRAY_SUFFIXES else masks.mode(path)
    if not colors or mode not in ("RGB", "RGBA", "P"):
        return masks.read_ranges(path, ranges=ranges, exif=exif, remedy=remedy)
    try:
        at = masks.read_color(path, colors=colors, exif=exif, remedy=remedy)
    except DataError:
        if mode != "P":
            raise
        return masks.read_ranges(path, ranges=ranges, exif=exif, remedy=remedy)  # a palette of other colors
    return np.where(at < labels.num_classes, at, labels.ignore_index).astype(np.int32)


def _lists(folder: Path, ids: set[str]) -> tuple[dict[str, Split], list[DataError]]:
    splits: dict[str, Split] = {}
    problems = []
    for path, place in visible(folder, (".txt",)):
        split = split_named(place.stem)
        if split is None or place.parent.name.lower() != "segmentation":
            continue
        for number, line in _lines(path):
            if line not in ids:
                problems.append(DataError(f"{place} line {number}", f"no mask for {line}", "shorten the list"))
            elif splits.setdefault(line, split) != split:
                problems.append(DataError(f"{place} line {number}", f"{line} is in two lists", "remove one"))
    return splits, problems
