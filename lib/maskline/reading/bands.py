"""Images that are not plain 8-bit RGB or gray: more bits, other numbers of channels.

Values become 0..255 by a rule that the user names, never by cutting bits off.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from maskline.core.errors import DataError
from maskline.data.reading_rule import Scale, by_percentiles, percentile_of
from maskline.reading.headers import Stored, damage, guard_segments, stored
from maskline.reading.images import (
    Alpha,
    Exif,
    check_pixels,
    check_pixels_stored,
    open_image,
    read_image,
    several_frames,
)

_ALPHA = ("RGBA", "LA", "PA", "La", "RGBa")
_AS_BANDS = {"1": "L", "P": "RGB", "PA": "RGBA", "CMYK": "RGB", "YCbCr": "RGB"}
_TURNS = {2: (0, True), 3: (2, False), 4: (2, True), 5: (3, True), 6: (3, False), 7: (1, True), 8: (1, False)}


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadImage:
    """An image that was read.

    Args:
        pixels: (h, w, 3) or (h, w) without named channels; (h, w, channels) with them.
        kept: The file's own bytes hold just these pixels.
        bands: Of the file; an alpha channel that is known to be one and not taken does not count.
        type: Numpy's name of the type of the file's values.
        remark: What was done to it that a user may want to know; empty: nothing.
    """

    pixels: NDArray[np.uint8]
    kept: bool
    bands: int
    type: str
    remark: str = ""


def read_pixels(path: Path, *, exif: Exif, alpha: Alpha, channels: tuple[int, ...] | None, scale: Scale) -> ReadImage:
    """Read an image.

    Args:
        path: The file.
        exif: What to do with an EXIF rotation.
        alpha: What to do with an alpha channel; unread where channels are named.
        channels: Those to take, the first is 0; None: RGB or gray.
        scale: How values of more than 8 bits become 0..255; see ``to_bytes``.

    Raises:
        DataError: It cannot be read so.
    """
    form = stored(path)
    if channels is None and (form is None or (form.whole and (form.bits <= 8 or scale == "error"))):
        image, kept, mode = read_image(path, exif=exif, alpha=alpha)
        remark = "CMYK, read as RGB without its color profile" if mode == "CMYK" else ""
        bands = 1 if image.mode == "L" else 3
        stored_pixels = np.array(image)
        pixels = to_bytes(stored_pixels, scale, place=path)
        kept = kept and pixels is stored_pixels
        return ReadImage(pixels=pixels, kept=kept, bands=bands, type="uint8", remark=remark)
    values, has_alpha = read_bands(path, exif=exif, form=form)
    pixels, bands = as_pixels(values, has_alpha=has_alpha, alpha=alpha, channels=channels, scale=scale, place=path)
    return ReadImage(pixels=pixels, kept=False, bands=bands, type=values.dtype.name)


def as_pixels(
    values: NDArray[Any],
    *,
    has_alpha: bool,
    alpha: Alpha,
    channels: tuple[int, ...] | None,
    scale: Scale,
    place: object,
) -> tuple[NDArray[np.uint8], int]:
    """Return the pixels of (h, w, bands), and how many bands count; see ``ReadImage``.

    Args:
        values: In the file's own numbers.
        has_alpha: The last band is alpha.
        alpha: As in ``read_pixels``.
        channels: Likewise.
        scale: Likewise.
        place: For messages.

    Raises:
        DataError: They cannot be read so.
    """
    bands = values.shape[2]
    if has_alpha and (channels is None or max(channels) < bands - 1):
        opaque = values[:, :, -1]
        if channels is None and (alpha == "error" or (alpha == "opaque" and opaque.min() != _full(opaque.dtype))):
            raise DataError(place, "alpha channel", "set data.alpha to drop, or save it without")
        values, bands = values[:, :, :-1], bands - 1
    pixels = to_bytes(select(values, channels, place=place), scale, place=place)
    return (pixels[:, :, 0] if channels is None and pixels.shape[2] == 1 else pixels), bands


def _full(kind: np.dtype[Any]) -> float:
    return float(np.iinfo(kind).max) if kind.kind in "iu" else 1.0


def read_bands(path: Path, *, exif: Exif, form: Stored | None) -> tuple[NDArray[Any], bool]:
    """Return (h, w, channels) in the file's own numbers, and whether the last channel is known to be alpha.

    Args:
        path: The file.
        exif: What to do with an EXIF rotation.
        form: As ``stored`` returns it.

    Raises:
        DataError: Unreadable, of several frames, or rotated with ``exif`` error.
    """
    if form is None or form.whole:
        return bands_of(open_image(path, exif=exif))
    check_pixels_stored(path, form)
    with damage(path, remedy="replace the file, or save it uncompressed"):
        values, turn = _deep_png(path) if form.png else _tiff(path, form)
    return turned(values, turn, exif=exif, place=path), form.alpha


def bands_of(image: Image.Image) -> tuple[NDArray[Any], bool]:
    """Return a decoded image as (h, w, bands), and whether the last one is alpha; CMYK and palettes become RGB."""
    if image.mode in _AS_BANDS:
        image = image.convert(_AS_BANDS[image.mode])
    values = np.array(image)
    return values.reshape(*values.shape[:2], -1), image.mode in _ALPHA


def turned(values: NDArray[Any], turn: int, *, exif: Exif, place: object) -> NDArray[Any]:
    """Return (h, w, ...) with an EXIF orientation settled.

    Raises:
        DataError: Rotated with ``exif`` error.
    """
    if turn not in _TURNS or exif == "ignore":
        return values
    if exif == "error":
        problem = f"EXIF orientation {turn} says that the image is to be rotated"
        raise DataError(place, problem, "set data.exif to apply or ignore")
    quarters, mirrored = _TURNS[turn]
    values = np.rot90(values, quarters)
    return np.ascontiguousarray(values[:, ::-1] if mirrored else values)


def select(values: NDArray[Any], channels: tuple[int, ...] | None, *, place: object) -> NDArray[Any]:
    """Return the named channels of (h, w, channels), in their order; without names, gray or RGB as it is.

    Raises:
        DataError: A channel that is not there, or 2 or more than 3 channels and none named.
    """
    count = values.shape[2]
    if channels is None:
        if count not in (1, 3):
            raise DataError(place, f"{count} channels, not gray or RGB", "name those to take in data.channels")
        return values
    if max(channels) >= count:
        problem = f"{count} channels, but data.channels names channel {max(channels)} (the first is 0)"
        raise DataError(place, problem, "change data.channels, or replace the file")
    return np.ascontiguousarray(values[:, :, list(channels)])


def to_bytes(values: NDArray[Any], scale: Scale, *, place: object) -> NDArray[np.uint8]:
    """Return values as 0..255: 8-bit ones as they are, unless by percentiles; others by the rule.

    Args:
        values: (h, w) or (h, w, channels).
        scale: ``error``: only 8-bit values; ``full_range``: 0..255 for all that the whole-number type holds; (low,
            high): these become 0 and 255, what is below or above them too. A percentile such as ``p99.8`` is that of
            each channel of these values: the least of them that so many percent are not above.
        place: For messages.

    Raises:
        DataError: More than 8 bits with ``error``; ``full_range`` of floating point or signed values; NaN.
    """
    if values.dtype == np.uint8 and not by_percentiles(scale):
        return values
    bits = values.dtype.itemsize * 8
    if scale == "error":
        problem = f"values of {bits} bits ({values.min()} to {values.max()}), more than 8 bits, not 8-bit RGB or gray"
        raise DataError(place, problem, "set data.image_scale to full_range, or to [low, high], which become 0 and 255")
    if scale == "full_range":
        if values.dtype.kind != "u":
            raise DataError(
                place, f"values of type {values.dtype} have no full range", "set data.image_scale to [low, high]"
            )
        scale = (0.0, float(np.iinfo(values.dtype).max))
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise DataError(place, "values that are not finite", "replace them in the file")
    pixels = np.empty(values.shape, np.uint8)
    for channel in range(1 if values.ndim == 2 else values.shape[2]):
        part = np.s_[:, :] if values.ndim == 2 else np.s_[:, :, channel]
        low, high = (_end(values[part], end) for end in scale)
        # Where both are one value, as in an empty channel, that and all below become 0, and all above 255.
        span = high - low if high > low else 1e-9
        gray = (values[part].astype(np.float64) - low) * (255 / span)
        pixels[part] = np.clip(np.rint(gray), 0, 255)
    return pixels


def _end(values: NDArray[Any], end: float | str) -> float:
    if isinstance(end, str):
        return float(np.percentile(values, percentile_of(end), method="inverted_cdf"))
    return end


def _deep_png(path: Path) -> tuple[NDArray[Any], int]:
    import imagecodecs

    with Image.open(path, formats=("PNG",)) as image:
        # Of 16 bits a channel Pillow reads the size and the rotation, not the values.
        check_pixels(path, *image.size)
        turn = int(image.getexif().get(0x0112, 1))
    return imagecodecs.png_decode(path.read_bytes()), turn


def _tiff(path: Path, form: Stored) -> tuple[NDArray[Any], int]:
    import tifffile

    with tifffile.TiffFile(path) as file:
        page = file.pages[form.page].aspage()
        if form.frames > 1:
            raise several_frames(path, form.frames, tiff=True)
        if page.axes not in ("YX", "YXS", "SYX"):
            raise DataError(
                path, f"axes {page.axes}, not rows, columns and bands", "save each plane as a file of its own"
            )
        check_pixels(path, page.imagewidth, page.imagelength)
        guard_segments(path, page)
        values = np.asarray(page.asarray())
        tag = page.tags.get("Orientation")
    if page.axes == "SYX":
        values = values.transpose(1, 2, 0)
    return np.ascontiguousarray(values.reshape(*values.shape[:2], -1)), int(tag.value) if tag else 1
