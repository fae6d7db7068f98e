"""Mask files to class ids: one small reader for each way that masks are stored.

Every reader returns the stored value of each pixel; whether a value is a class is checked later and for all of them
alike (``maskline.convert.checks``). Only ``read_binary``, ``read_color`` and ``read_mapped`` map values, and refuse
those they do not know; ``read_snapped`` rounds to black and white, for sets whose layout says that this is right.
"""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from maskline.core.errors import DataError
from maskline.data.labels import Rgb
from maskline.reading.arrays import ARRAY_SUFFIXES, read_array
from maskline.reading.headers import png_bit_depth
from maskline.reading.images import FORMATS, open_image

Exif = Literal["error", "apply", "ignore"]
Ids = NDArray[np.int32]

_GRAY_STEPS = {2: 85, 4: 17}  # Pillow spreads gray values of 2 and 4 bits over 0..255

_MOST_BETWEEN = 0.02  # of the pixels of a black and white mask

_GRAY_MODES = ("1", "L", "I;16", "I;16B", "I;16L", "I;16N", "I")


def read_index(path: Path, *, exif: Exif) -> NDArray[np.int32]:
    """Read a gray image of 1, 8 or 16 bits, or an array in a .npy or .mat file, whose values are class ids.

    Raises:
        DataError: Neither a gray image nor such an array.
    """
    if path.suffix.lower() in ARRAY_SUFFIXES:
        return read_array(path)
    image = open_image(path, exif=exif)
    if image.mode == "P":
        raise DataError(
            path, "mode P (palette), not gray", "set data.mask_encoding to palette, or save it as a gray PNG"
        )
    if image.mode in ("RGB", "RGBA", "LA"):
        return _equal_channels(image, path)
    if image.mode not in _GRAY_MODES:
        raise DataError(path, f"mode {image.mode}, not gray", "save it as a gray PNG")
    return np.array(image).astype(np.int32) // _GRAY_STEPS.get(png_bit_depth(path), 1)


def read_palette(path: Path, *, exif: Exif, colors: tuple[Rgb, ...] = ()) -> NDArray[np.int32]:
    """Read a palette image whose palette entries' numbers are class ids.

    The palette's colors do not matter, unless they are those of ``colors`` in another order: a program has then
    renumbered the entries.

    Raises:
        DataError: Not a palette image, or one with renumbered entries.
    """
    image = open_image(path, exif=exif)
    if image.mode != "P":
        encoding = "index" if image.mode in _GRAY_MODES else "color"
        raise DataError(path, f"mode {image.mode}, not P (palette)", f"set data.mask_encoding to {encoding}")
    values = np.array(image).astype(np.int32)
    stored = np.array(image.getpalette() or [], dtype=int).reshape(-1, 3)
    for value in np.unique(values).tolist():
        color = tuple(stored[value].tolist()) if value < len(stored) else None
        if value < len(colors) and color != colors[value] and color in colors:
            problem = f"palette entry {value} has the color of class {colors.index(color)}"
            raise DataError(path, problem, "save it with its classes as entries, or set data.mask_encoding to color")
    return values


def read_binary(path: Path, *, exif: Exif) -> NDArray[np.int32]:
    """Read a gray image of 0 (class 0) and either 255 or 1 (class 1).

    Raises:
        DataError: Not gray, or any other value; names value, count and place.
    """
    values = read_index(path, exif=exif)
    high = 1 if values.max(initial=0) == 1 else 255
    bad = (values != 0) & (values != high)
    if bad.any():
        raise DataError(
            path,
            f"{describe_values(values, bad)} in a 0/255 mask",
            "JPEG changes values: save it as a PNG of 0 and 255 only, or set data.mask_encoding to binary_snapped "
            "(nearer to black or white) or index",
        )
    return np.asarray(values == high, dtype=np.int32)


def read_above(path: Path, *, threshold: int, exif: Exif) -> NDArray[np.int32]:
    """Read an image as class 1 where its gray value is at least ``threshold`` (0..255), else class 0."""
    image = open_image(path, exif=exif)
    return np.asarray(np.array(image.convert("L")) >= threshold, dtype=np.int32)


def read_mapped(path: Path, *, table: Mapping[int, int], exif: Exif) -> Ids:
    """Read a gray or palette image and map its stored values.

    Args:
        path: The file.
        table: Stored value -> class id or ignore index; all others are refused.
        exif: What to do with an EXIF rotation.

    Raises:
        DataError: Neither gray nor palette, or a value that ``table`` lacks; names value, count and place.
    """
    image = open_image(path, exif=exif)
    values = np.array(image).astype(np.int32) if image.mode == "P" else read_index(path, exif=exif)
    return mapped(values, table, place=path)


def read_ranges(path: Path, *, ranges: Sequence[tuple[int, int, int]], exif: Exif, remedy: str) -> Ids:
    """Read stored values and map them: gray values, palette entries, an array's numbers, or RGB of three equal ones.

    Args:
        path: The file.
        ranges: First value, last value, class id or ignore index; no value is in two of them.
        exif: What to do with an EXIF rotation.
        remedy: For values that are in none of them.

    Raises:
        DataError: Colors, or a value in no range; names value, count and place.
    """
    values = _stored(path, exif=exif)
    first, last, ids = (np.array(column, dtype=np.int64) for column in zip(*sorted(ranges), strict=True))
    at = (np.searchsorted(first, values, side="right") - 1).clip(0)
    bad = (values < first[at]) | (values > last[at])
    if bad.any():
        raise DataError(path, f"{describe_values(values, bad)} of no class", remedy)
    return np.asarray(ids[at], dtype=np.int32)


def _stored(path: Path, *, exif: Exif) -> Ids:
    if path.suffix.lower() in ARRAY_SUFFIXES:
        return read_array(path)
    image = open_image(path, exif=exif)
    if image.mode == "P":
        return np.array(image).astype(np.int32)
    if image.mode in ("RGB", "RGBA"):
        return _equal_channels(image, path, remedy="write the keys of data.mask_values as colors, such as '#ff0000'")
    return read_index(path, exif=exif)


def _equal_channels(image: Image.Image, path: Path, *, remedy: str = "set data.mask_encoding to color") -> Ids:
    """Return the gray values of RGB, or of gray with alpha, whose channels are all equal and opaque.

    Raises:
        DataError: Colors, or pixels that are not opaque.
    """
    color = _opaque(image, path)
    pixels = np.array(color).astype(np.int32)
    if pixels.ndim == 2:
        return pixels
    if (pixels[..., :1] != pixels).any():
        colors = len(np.unique(pixels.reshape(-1, 3), axis=0))
        raise DataError(path, f"mode {image.mode} of {colors} colors, not gray", remedy)
    return np.asarray(pixels[..., 0])


def _opaque(image: Image.Image, path: Path) -> Image.Image:
    """Return an image without its alpha channel.

    Raises:
        DataError: Pixels that are not opaque: what they would be is a guess.
    """
    if image.mode not in ("RGBA", "LA"):
        return image
    if image.getchannel("A").getextrema() != (255, 255):
        remedy = "save it without alpha channel, with a color of its own for what is transparent"
        raise DataError(path, f"mode {image.mode} with pixels that are not opaque", remedy)
    return image.convert("RGB" if image.mode == "RGBA" else "L")


def mode(path: Path) -> str:
    """Return Pillow's name of what an image file holds; empty: no image."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path, formats=FORMATS) as image:
                return image.mode
    except Exception:  # Pillow raises whatever it meets
        return ""  # who reads it says what is wrong


def mapped(values: Ids, table: Mapping[int, int], *, place: object) -> Ids:
    """Map values (h, w) as ``read_mapped`` does."""
    known = np.array(sorted(table), dtype=np.int32)
    at = np.searchsorted(known, values).clip(0, len(known) - 1)
    bad = known[at] != values
    if bad.any():
        raise DataError(
            place,
            f"{describe_values(values, bad)}, which this set does not have",
            "replace the file with the set's own",
        )
    return np.asarray(np.array([table[int(value)] for value in known], dtype=np.int32)[at])


def read_snapped(path: Path, *, exif: Exif, most_between: float = _MOST_BETWEEN) -> Ids:
    """Read a black and white image, maybe a JPEG, as class 1 where it is nearer to white, else class 0.

    A palette or gray image of the values 0 and 1 alone counts as black and white.

    Args:
        path: The file.
        exif: What to do with an EXIF rotation.
        most_between: Largest share of pixels of 64..191: more than edges that compression has blurred.

    Raises:
        DataError: Too many pixels between black and white.
    """
    image = open_image(path, exif=exif)
    stored = np.array(image)
    if stored.ndim == 2 and stored.max(initial=0) <= 1:
        return stored.astype(np.int32)
    gray = np.array(image.convert("L"))
    share = float(((gray >= 64) & (gray < 192)).mean())
    if share > most_between:
        raise DataError(
            path, f"{share:.1%} of its pixels are gray, not black or white", "replace the file with the set's mask"
        )
    return np.asarray(gray >= 128, dtype=np.int32)


def read_area(path: Path, *, exif: Exif) -> NDArray[np.bool_]:
    """Read a valid-area image: True where its gray value is 128 or more, or 1 in an image of 0 and 1."""
    image = open_image(path, exif=exif)
    values = np.array(image if image.mode == "P" and _is_zero_one(image) else image.convert("L"))
    return np.asarray(values > 0 if values.max(initial=0) == 1 else values >= 128)


_NO_COLOR = "add the color to data.classes, or save the mask without smoothing (JPEG changes colors)"


def read_color(path: Path, *, colors: tuple[Rgb, ...], exif: Exif, remedy: str = _NO_COLOR) -> NDArray[np.int32]:
    """Read an RGB image; a pixel's class is the position of its color in ``colors``.

    Raises:
        DataError: Not RGB, or a color that is not listed; names color, count and place.
    """
    image = open_image(path, exif=exif)
    if image.mode == "P":
        image = image.convert("RGB")
    image = _opaque(image, path)
    if image.mode != "RGB":
        raise DataError(
            path, f"mode {image.mode}, not RGB", "set data.mask_encoding to index, or to binary where it is 0/255"
        )
    red, green, blue = np.moveaxis(np.array(image).astype(np.int32), -1, 0)
    codes = (red << 16) | (green << 8) | blue
    known = np.array([(r << 16) | (g << 8) | b for r, g, b in colors])
    order = np.argsort(known)
    at = np.searchsorted(known[order], codes).clip(0, len(known) - 1)
    bad = known[order][at] != codes
    if bad.any():
        row, column = np.argwhere(bad)[0]
        color = tuple(int(value) for value in np.array(image)[row, column])
        raise DataError(
            path,
            f"color {color} at row {row}, column {column} is of no class ({int(bad.sum())} such pixels)",
            remedy,
        )
    return np.asarray(order[at], dtype=np.int32)


def describe_values(values: NDArray[np.int32], bad: NDArray[np.bool_]) -> str:
    """Return a phrase that names up to three of the values where ``bad``, with counts and the first place of each."""
    distinct, counts = np.unique(values[bad], return_counts=True)
    parts = []
    for value, count in list(zip(distinct, counts, strict=True))[:3]:
        row, column = np.argwhere(bad & (values == value))[0]
        parts.append(f"value {value} in {count} pixels (first at row {row}, column {column})")
    more = f" and {len(distinct) - 3} more values" if len(distinct) > 3 else ""
    return ", ".join(parts) + more


def _is_zero_one(image: object) -> bool:
    return bool(np.array(image).max(initial=0) <= 1)
