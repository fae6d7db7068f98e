"""What the masks of a set hold: every pixel of every mask looked at, by several processes."""

import math
import multiprocessing
import os
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image

from maskline.core.errors import DataError
from maskline.data.labels import Rgb
from maskline.reading.arrays import ARRAY_SUFFIXES
from maskline.reading.images import open_image, size_of
from maskline.reading.masks import read_index

Value = int | Rgb
Kind = Literal["gray", "palette", "color"]

MOST_VALUES = 4096
"""More in one mask are counted as so many: it is a photograph."""

_WHITE = 255
_ONE_IN = 10  # masks at least, of each kind, before two kinds of black and white are taken for one
_MOST_RECOLORED = 4  # times as many colors as one mask has: then the colors are the classes, else they are chance
_NEARLY_ALL = 0.9  # of the pixels of a value that is none but of smoothed edges
_COMMON = 0.8  # of a mask's pixels, in its most frequent values: none of these is looked at as an edge's
_LEAST_VALUES = 4  # of a mask with smoothed edges
_MOST_ON_EDGES = 10_000  # pixels of a mask that are looked at
_AT_ONCE = 32  # masks of a task; fewer are looked at in this process
_task: Callable[[Any], Any]  # of a worker process


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskLook:
    """What one mask holds.

    Args:
        kind: Gray values (or RGB of three equal ones), palette entries, or colors.
        pixels: Of each value.
        blurred: Stored with losses.
        palette: Color of each entry that is used.
        rims: Of rare gray values, the pixels that lie between their neighbors; minus infinity: one has equals around.
        size: Width and height.
        image_size: Of its image, as it is stored; None: its file does not tell.
    """

    kind: Kind
    pixels: dict[Value, int]
    blurred: bool
    palette: dict[int, Rgb] = field(default_factory=dict)
    rims: dict[Value, float] = field(default_factory=dict)
    size: tuple[int, int]
    image_size: tuple[int, int] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What all masks hold.

    Args:
        kind: Of all of them.
        pixels: Of each value, in the order of values.
        files: With each value.
        masks: How many.
        blurred: How many are stored with losses.
        palette: Color of each entry that is used, as the first mask with it has it.
        rims: Gray values that stand between a lower and a higher one wherever they stand, as on smoothed edges.
        black_and_white: Some masks hold 0 and 1 alone, others 0 and 255 alone, and none both.
        remarks: What a user should look at.
    """

    kind: Kind
    pixels: dict[Value, int]
    files: dict[Value, int]
    masks: int
    blurred: int
    palette: dict[int, Rgb]
    rims: frozenset[Value] = frozenset()
    black_and_white: bool = False
    remarks: tuple[str, ...] = ()

    def share(self, value: Value) -> float:
        """Return the share of all pixels that has a value."""
        return self.pixels[value] / max(sum(self.pixels.values()), 1)


def survey(pairs: Sequence[tuple[Path, Path]], *, by_entry: bool = False) -> Survey:
    """Look at all masks.

    Args:
        pairs: Mask and its image.
        by_entry: Entries of palettes count even where their colors differ from mask to mask; else the colors then do.

    Raises:
        DataError: A mask that cannot be read, is of another kind than the first, is a photograph, or is of another
            size than its image.
    """
    pixels, files, palette = Counter[Value](), Counter[Value](), dict[int, Rgb]()
    rims = defaultdict[Value, float](float)
    looks: list[MaskLook] = []
    other: tuple[int, Path] | None = None  # an entry, and a mask in which it has another color than in those before
    kinds: dict[Kind, Path] = {}
    odd: list[tuple[Path, MaskLook]] = []
    blurred = 0
    for (mask, _), seen in zip(pairs, mapped(_look, pairs), strict=True):
        pixels.update(seen.pixels)
        files.update(seen.pixels.keys())
        for value, count in seen.rims.items():
            rims[value] += count
        looks.append(seen)
        changed = [entry for entry, color in seen.palette.items() if palette.setdefault(entry, color) != color]
        other = other or ((changed[0], mask) if changed else None)
        kinds.setdefault(seen.kind, mask)
        blurred += seen.blurred
        size = seen.image_size
        if size is not None and seen.size not in (size, size[::-1]):  # turned by its EXIF data, perhaps
            odd.append((mask, seen))
    if odd:
        mask, seen = odd[0]
        width, height = seen.image_size or (0, 0)
        sizes = f"{seen.size[0]}x{seen.size[1]} pixels, its image has {width}x{height}"
        raise DataError(mask, f"{sizes} ({len(odd)} of {len(pairs)} masks)", "make the masks for these very images")
    if len(kinds) > 1:
        (one, first), (two, second) = list(kinds.items())[:2]
        problem = f"masks of more than one kind: {first.name} is {one}, {second.name} is {two}"
        raise DataError(second, problem, "save all in one way")
    if other is not None and not by_entry:
        return _by_color(looks, *other, blurred=blurred)
    values = [look.pixels.keys() for look in looks]
    ones, whites = sum(1 in held for held in values), sum(_WHITE in held for held in values)
    return Survey(
        black_and_white=min(ones, whites) > len(pairs) / _ONE_IN
        and all(held <= {0, 1} or held <= {0, _WHITE} for held in values),
        kind=next(iter(kinds)),
        pixels={value: pixels[value] for value in sorted(pixels)},
        files=dict(files),
        masks=len(pairs),
        blurred=blurred,
        palette=palette,
        rims=frozenset(value for value, count in rims.items() if count > _NEARLY_ALL * pixels[value]),
    )


def _by_color(looks: Sequence[MaskLook], entry: int, mask: Path, *, blurred: int) -> Survey:
    """Return what palette masks hold by their colors, since their entries mean something else in each.

    Raises:
        DataError: The colors are not the same from mask to mask either.
    """
    pixels, files = Counter[Value](), Counter[Value]()
    for look in looks:
        colors = Counter[Value]()
        for value, count in look.pixels.items():
            colors[look.palette.get(value, (0, 0, 0)) if isinstance(value, int) else value] += count
        pixels.update(colors)
        files.update(colors.keys())
    problem = f"palette entry {entry} has another color than in the masks before"
    if len(pixels) > max(_MOST_RECOLORED * max(len(look.pixels) for look in looks), 2):
        remedy = (
            "save all with one palette; where the entries are the classes, -S 'data.mask_values={0: ground, 1: leaf}'"
        )
        raise DataError(mask, f"{problem}, and the masks have {len(pixels)} colors in all", remedy)
    return Survey(
        kind="color",
        pixels={value: pixels[value] for value in sorted(pixels)},
        files=dict(files),
        masks=len(looks),
        blurred=blurred,
        palette={},
        remarks=(f"{mask.name}: {problem}: the colors count, not the entries",),
    )


def mapped(function: Callable[[Any], Any], items: Sequence[Any]) -> Iterator[Any]:
    """Yield what a function makes of each item, in their order, by as many processes as there are processors."""
    workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
    if len(items) <= _AT_ONCE or workers < 2:
        yield from map(function, items)
        return
    # Forked: what the function holds need not travel.
    context = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_begin, initargs=(function,)) as pool:
        with warnings.catch_warnings():
            # Python warns of threads that numpy's BLAS has started; they are idle, and it survives a fork.
            warnings.filterwarnings("ignore", message=".*multi-threaded.*fork", category=DeprecationWarning)
            results = pool.map(_run, items, chunksize=_AT_ONCE)
        try:
            yield from results
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _look(pair: tuple[Path, Path]) -> MaskLook:
    mask, image = pair
    image_wh = size_of(image)
    if mask.suffix.lower() in ARRAY_SUFFIXES:
        values = read_index(mask, exif="ignore")
        return _gray(values, blurred=False, image_size=image_wh)
    opened = open_image(mask, exif="ignore")
    blurred = opened.format in ("JPEG", "MPO", "WEBP")
    size = opened.size
    if opened.mode == "P":
        counts: dict[Value, int] = {entry: n for n, entry in _counted(opened, 256) or ()}
        stored = opened.getpalette() or []
        palette: dict[int, Rgb] = {
            entry: (stored[3 * entry], stored[3 * entry + 1], stored[3 * entry + 2])
            for entry in counts
            if isinstance(entry, int) and 3 * entry + 2 < len(stored)
        }
        pixels: dict[Value, int] = dict(counts)
        return MaskLook(kind="palette", pixels=pixels, blurred=blurred, palette=palette, size=size, image_size=image_wh)
    if opened.mode in ("RGB", "RGBA", "LA"):
        if opened.mode != "RGB" and opened.getchannel("A").getextrema() != (255, 255):
            problem = f"mode {opened.mode} with pixels that are not opaque"
            raise DataError(mask, problem, "save it without alpha channel, with a color for what is transparent")
        colors = _counted(opened.convert("RGB"), MOST_VALUES)
        if colors is None:
            raise _too_many(mask, "colors")
        if any(not red == green == blue for _, (red, green, blue) in colors):
            return MaskLook(
                kind="color", pixels={color: n for n, color in colors}, blurred=blurred, size=size, image_size=image_wh
            )
        grays: dict[Value, int] = {red: n for n, (red, _, _) in colors}
        rims = _rims(np.asarray(opened.getchannel(0)), grays)
        return MaskLook(kind="gray", pixels=grays, blurred=blurred, rims=rims, size=size, image_size=image_wh)
    return _gray(read_index(mask, exif="ignore"), blurred=blurred, image_size=image_wh)


def _gray(
    values: "np.ndarray[Any, np.dtype[np.int32]]", *, blurred: bool, image_size: tuple[int, int] | None
) -> MaskLook:
    rims: dict[Value, float] = {}
    if values.min(initial=0) >= 0 and values.max(initial=0) <= 0xFFFF:
        counts = np.bincount(values.ravel())
        distinct = np.flatnonzero(counts)
        pixels: dict[Value, int] = {int(value): int(counts[value]) for value in distinct}
        rims = _rims(values, pixels)
    else:
        distinct, counts = np.unique(values, return_counts=True)
        pixels = dict(zip(distinct.tolist(), counts.tolist(), strict=True))
    size = (values.shape[1], values.shape[0])
    return MaskLook(kind="gray", pixels=pixels, blurred=blurred, rims=rims, size=size, image_size=image_size)


def _rims(values: "np.ndarray[Any, np.dtype[Any]]", pixels: dict[Value, int]) -> dict[Value, float]:
    """Return ``MaskLook.rims`` of a mask without negative values, from a part of its pixels where they are many."""
    if len(pixels) < _LEAST_VALUES:
        return {}
    table = np.zeros(int(values.max()) + 1, bool)
    held = 0
    for value in sorted(pixels, key=lambda value: -pixels[value]):
        table[value] = held >= _COMMON * values.size
        held += pixels[value]
    found = np.flatnonzero(table[values])
    rows, columns = np.divmod(found[:: max(1, len(found) // _MOST_ON_EDGES)], values.shape[1])
    low = high = own = values[rows, columns]
    for y, x in product((-1, 0, 1), repeat=2):
        near = values[(rows + y).clip(0, values.shape[0] - 1), (columns + x).clip(0, values.shape[1] - 1)]
        low, high = np.minimum(low, near), np.maximum(high, near)
    seen, between = Counter(own.tolist()), Counter(own[(low < own) & (own < high)].tolist())
    rims: dict[Value, float] = {value: count / seen[value] * pixels[value] for value, count in between.items()}
    return rims | dict.fromkeys(own[low == high].tolist(), -math.inf)


def _counted(image: Image.Image, most: int) -> Any:
    """Return (count, value) of each value, as Pillow counts them; None: they are more."""
    return image.getcolors(most)


def _too_many(mask: Path, what: str) -> DataError:
    problem = f"more than {MOST_VALUES} {what}, as in a photograph"
    return DataError(mask, problem, "save it as PNG without smoothed edges, or check that it is a mask")


def _begin(function: Callable[[Any], Any]) -> None:
    global _task  # noqa: PLW0603  the one way to hand a closure to a forked process
    _task = function


def _run(item: Any) -> Any:
    return _task(item)
