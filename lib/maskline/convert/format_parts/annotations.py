"""What the labelling tools' formats share: labels to classes, areas to masks, and the set made of them."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from maskline.convert.format_parts import polygons
from maskline.convert.format_parts.labels_lost import LostLabels, Remark, some, spellings
from maskline.convert.format_parts.mask_values import GROUNDS, free_ignore
from maskline.convert.format_parts.named_images import NamedImages, split_of
from maskline.convert.records import LayoutSettings, MaskValue, Record, SourceSet
from maskline.core.errors import DataError, DataProblemsError
from maskline.data.labels import LabelSet, Rgb, bit_palette
from maskline.data.manifest import Split
from maskline.reading import masks
from maskline.reading.images import check_pixels, image_size

Area = Callable[[tuple[int, int]], NDArray[np.bool_]]
"""(h, w) of the image -> (h, w) True inside; raises ValueError and the like on what it cannot draw."""

RawPoints = Sequence[Sequence[float]]
"""x, y as a file has them."""

_DRAWING_ERRORS = (ValueError, TypeError, KeyError, IndexError, OverflowError, AttributeError)


@dataclass(frozen=True, slots=True)
class Outline:
    """The area of points: what a tool draws, as ``Area``.

    Args:
        points: As the file has them; what is wrong with them is said when it is drawn.
        draw: (h, w), points -> (h, w) True inside.
        reach: How far the area goes beyond the points, px.
    """

    points: RawPoints
    draw: Callable[[tuple[int, int], list[polygons.Point]], NDArray[np.bool_]]
    least: int = 1
    reach: float = 0.0

    def __call__(self, shape: tuple[int, int]) -> NDArray[np.bool_]:
        """Return (h, w): True inside."""
        return self.draw(shape, polygons.checked(self.points, self.least))

    def is_too_short(self) -> bool:
        """Return whether these are too few points to mark anything; false where they are no points."""
        return isinstance(self.points, list | tuple) and len(self.points) < self.least

    def fault(self, shape: tuple[int, int]) -> str | None:
        """Return why it marks nothing in an image (h, w); None: it does, as far as its points tell."""
        if self.is_too_short():
            return "of too few points"
        return "outside of their images" if self.is_outside(shape) else None

    def is_outside(self, shape: tuple[int, int]) -> bool:
        """Return whether it lies beside the image (h, w) altogether; false where the points are no points."""
        try:
            x, y = zip(*polygons.checked(self.points, self.least), strict=True)
        except (*_DRAWING_ERRORS, OverflowError):
            return False
        far = self.reach
        return bool(max(x) + far < 0 or max(y) + far < 0 or min(x) - far >= shape[1] or min(y) - far >= shape[0])


@dataclass(frozen=True, slots=True)
class Drawn:
    """One object: its label as the tool has it, and where it is."""

    label: str
    area: Area


@dataclass(frozen=True, slots=True, kw_only=True)
class Annotated:
    """One image as a labelling tool describes it.

    Args:
        id: Unique in the set.
        image: The file.
        file: The annotation file.
        split: Of the set's own; None: none.
        size: (h, w); None: that of the image.
        objects: Later ones cover earlier ones.
        alone: The file is of no other image.
    """

    id: str
    image: Path
    file: Path
    split: Split | None = None
    size: tuple[int, int] | None = None
    objects: list[Drawn] = field(default_factory=list)
    alone: bool = False

    @property
    def mask(self) -> Path:
        """A name for the mask that is to be drawn: the annotation file, with the image's id behind it if of several."""
        return self.file if self.alone else self.file / self.id


def source_set(
    images: Sequence[Annotated],
    settings: LayoutSettings,
    *,
    declared: Iterable[str] = (),
    colors: Mapping[str, Rgb] | None = None,
    ground: str = "background",
    problems: Sequence[DataError] = (),
    remarks: Sequence[tuple[str, str]] = (),
) -> SourceSet:
    """Return the set of annotated images.

    Args:
        images: In any order.
        settings: Its classes count where it has some; its ``mask_values`` join and drop labels.
        declared: The labels that the set knows, in their order; none: those that are drawn, by alphabet.
        colors: Of labels, where the tool has some.
        ground: Name of the first class where no label is called background.
        problems: Found so far.
        remarks: Found so far.

    Raises:
        DataError: Fewer than two classes.
        DataProblemsError: No label at all, and problems that may be why.
    """
    known = declared or sorted({each.label for image in images for each in image.objects})
    if problems and not (known or settings.classes):
        raise DataProblemsError("data set", list(problems))
    labels = label_set(known, settings, colors=colors, ground=ground)
    records = [
        Record(id=image.id, group=image.id, split=image.split, image=image.image, mask=image.mask) for image in images
    ]
    drawn = {image.mask: image for image in images}
    told = {line.key for line in settings.mask_values}
    counts = Counter(each.label for image in images for each in image.objects if each.label not in told)
    return SourceSet(
        labels=labels,
        records=records,
        read_mask=partial(draw, drawn=drawn, ids=label_ids(labels, settings.mask_values), exif=settings.exif),
        read_area=partial(masks.read_area, exif=settings.exif),
        problems=list(problems),
        remarks=[*remarks, *_unmarked(images, settings.exif), *spellings(counts, place="labels")],
    )


def _unmarked(images: Iterable[Annotated], exif: masks.Exif) -> list[Remark]:
    """Return remarks where outlines have too few points or lie outside of their images, with some of the images."""
    losses, places = LostLabels("labels"), defaultdict[str, dict[str, None]](dict)
    for image in images:
        outlines = [each.area for each in image.objects if isinstance(each.area, Outline)]
        try:
            shape = image.size or (image_size(image.image, exif=exif) if outlines else (1, 1))
        except (DataError, OSError):  # who reads the image says what is wrong with it
            continue
        for each in image.objects:
            losses.seen(each.label)
            how = each.area.fault(shape) if isinstance(each.area, Outline) else None
            if how is not None:
                losses.lost(each.label, how)
                places[how][image.id] = None
    return [
        (place, f"{remark} ({some(places[how])})")
        for how, (place, remark) in zip(sorted(places), losses.remarks(), strict=True)
    ]


def with_splits(images: Sequence[Annotated], named: NamedImages) -> list[Annotated]:
    """Return images with the splits of the folders above them, where all have one; else with none."""
    splits = [split_of(named.place(image.image)) for image in images]
    return [replace(image, split=split if all(splits) else None) for image, split in zip(images, splits, strict=True)]


def label_set(
    declared: Iterable[str],
    settings: LayoutSettings,
    *,
    colors: Mapping[str, Rgb] | None = None,
    ground: str = "background",
) -> LabelSet:
    """Return the user's classes, or background and those of the labels.

    Args:
        declared: Labels in their order.
        settings: What the user says.
        colors: Of labels; where one is missing or two are equal, PASCAL VOC's colors are taken.
        ground: Name of the first class where no label is called background.

    Raises:
        DataError: Fewer than two classes.
    """
    if settings.classes:
        names, palette = zip(*settings.classes, strict=True)
        return LabelSet(class_names=names, palette=palette, ignore_index=free_ignore(settings, len(names)))
    known, given = {line.key: line.class_name for line in settings.mask_values}, dict(colors or {})
    color_of: dict[str, Rgb | None] = {}
    for label in declared:
        name = known.get(label, label)
        if name is not None:
            color_of.setdefault(name.strip(), given.get(label))
    ground = next((name for name in color_of if name.lower() in GROUNDS), ground)
    ground_color = color_of.pop(ground, None) or (0, 0, 0)
    names = (ground, *color_of)
    taken = [ground_color, *color_of.values()]
    palette = tuple(color for color in taken if color is not None)
    if len(set(palette)) < len(names):
        palette = bit_palette(len(names))
    if len(names) < 2:
        raise DataError("labels", "no object in the whole set", "export annotations of objects")
    return LabelSet(class_names=names, palette=palette, ignore_index=free_ignore(settings, len(names)))


def label_ids(labels: LabelSet, lines: Iterable[MaskValue]) -> dict[str, int]:
    """Return label -> class id or ignore index, for the classes' own names and for what the user maps."""
    ids = {name: i for i, name in enumerate(labels.class_names)}
    mapped = {
        line.key: labels.ignore_index if line.class_name is None else ids[line.class_name]
        for line in lines
        if line.class_name is None or line.class_name in ids
    }
    return ids | mapped


def draw(path: Path, *, drawn: Mapping[Path, Annotated], ids: Mapping[str, int], exif: masks.Exif) -> masks.Ids:
    """Return (h, w) class ids of an image, background where nothing is drawn.

    Args:
        path: As ``Annotated.mask``.
        drawn: By that path.
        ids: As ``label_ids`` returns them.
        exif: As the image is read; only where its size is not told.

    Raises:
        DataError: A label without a class, an object that cannot be drawn, an image that is too large.
    """
    image = drawn[path]
    shape = image.size or image_size(image.image, exif=exif)
    check_pixels(path, shape[1], shape[0])
    mask = np.zeros(shape, np.int32)
    for number, each in enumerate(image.objects, start=1):
        id_ = ids.get(each.label, ids.get(each.label.strip()))
        if id_ is None:
            problem = f"object {number} has the label {each.label!r}, classes are {', '.join(ids)}"
            raise DataError(path, problem, "add it to data.classes, or name its class in data.mask_values")
        if isinstance(each.area, Outline) and each.area.is_too_short():
            continue
        try:
            mask[each.area(shape)] = id_
        except _DRAWING_ERRORS as error:
            problem = f"object {number} ({each.label}) cannot be drawn: {error}"
            raise DataError(path, problem, "fix it in the labelling tool, or remove it") from error
    return mask


def polygon(points: RawPoints, holes: Sequence[RawPoints] = ()) -> Area:
    """Return the area of an outline without its holes."""
    return Outline(points, partial(_fill, holes=holes), least=3)


def circle(points: RawPoints) -> Area:
    """Return the area of the circle around the first of two points through the other."""
    return Outline(points, _disc, least=2, reach=_radius(points))


def line(points: RawPoints, width: float) -> Area:
    """Return the area of a line."""
    return Outline(points, partial(polygons.line, width=width), least=2, reach=width)


def dots(points: RawPoints, width: float) -> Area:
    """Return the area of a disc around each point."""
    return Outline(points, partial(_dots, radius=width / 2), reach=width)


def _fill(shape: tuple[int, int], points: list[polygons.Point], *, holes: Sequence[RawPoints]) -> NDArray[np.bool_]:
    return polygons.fill(shape, [points], [polygons.checked(hole, 3) for hole in holes])


def _disc(shape: tuple[int, int], points: list[polygons.Point]) -> NDArray[np.bool_]:
    return polygons.disc(shape, points[0], points[1])


def _dots(shape: tuple[int, int], points: list[polygons.Point], *, radius: float) -> NDArray[np.bool_]:
    discs = [polygons.disc(shape, (x, y), (x + radius, y)) for x, y in points]
    return np.asarray(np.any(discs, axis=0))


def _radius(points: RawPoints) -> float:
    try:
        (x, y), (edge_x, edge_y) = polygons.checked(points, 2)
    except _DRAWING_ERRORS:
        return 0.0
    return float(np.hypot(edge_x - x, edge_y - y))


def pasted(shape: tuple[int, int], part: NDArray[np.bool_], left: int, top: int) -> NDArray[np.bool_]:
    """Return (h, w) with a smaller mask laid at a place; what is outside is cut off."""
    whole = np.zeros(shape, dtype=bool)
    y0, x0 = max(top, 0), max(left, 0)
    y1, x1 = min(top + part.shape[0], shape[0]), min(left + part.shape[1], shape[1])
    if y0 < y1 and x0 < x1:
        whole[y0:y1, x0:x1] = part[y0 - top : y1 - top, x0 - left : x1 - left]
    return whole
