"""Images that are not plain 8-bit RGB or gray: more bits, other numbers of channels.

Values become 0..255 by a rule that the user names, never by cutting bits off.
"""

from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from maskline.core.errors import DataError
from maskline.reading.headers import Stored, stored
from maskline.reading.images import Exif, check_pixels, open_image, read_image

Scale = Literal["error", "full_range"] | tuple[float, float]

_ALPHA = ("RGBA", "LA", "PA", "La", "RGBa")
_TURNS = {2: (0, True), 3: (2, False), 4: (2, True), 5: (3, True), 6: (3, False), 7: (1, True), 8: (1, False)}


def read_pixels(
    path: Path, *, exif: Exif, alpha: Literal["error", "drop"], channels: tuple[int, ...] | None, scale: Scale
) -> tuple[NDArray[np.uint8], bool]:
    """Return an image, and whether the file's own bytes hold just that.

    Args:
        path: The file.
        exif: What to do with an EXIF rotation.
        alpha: What to do with an alpha channel; unread where channels are named.
        channels: Those to take, the first is 0; None: RGB or gray.
        scale: How values of more than 8 bits become 0..255; see ``to_bytes``.

    Returns:
        (h, w, 3) or (h, w) without named channels; (h, w, channels) with them.

    Raises:
        DataError: It cannot be read so.
    """
    form = stored(path)
    if channels is None and (form is None or (form.whole and (form.bits <= 8 or scale == "error"))):
        image, kept = read_image(path, exif=exif, alpha=alpha)
        return np.array(image), kept
    values, has_alpha = read_bands(path, exif=exif, form=form)
    if channels is None and has_alpha:
        if alpha == "error":
            raise DataError(path, "alpha channel", "set data.alpha to drop, or save it without")
        values = values[:, :, :-1]
    pixels = to_bytes(select(values, channels, path=path), scale, path=path)
    return (pixels[:, :, 0] if channels is None and pixels.shape[2] == 1 else pixels), False


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
        image = open_image(path, exif=exif)
        if image.mode in ("1", "P", "PA"):
            image = image.convert({"1": "L", "P": "RGB", "PA": "RGBA"}[image.mode])
        values = np.array(image)
        return values.reshape(*values.shape[:2], -1), image.mode in _ALPHA
    try:
        values, turn = _deep_png(path, form) if form.png else _tiff(path)
    except DataError:
        raise
    except Exception as error:  # kornia_rs and tifffile raise whatever they meet in a damaged file
        raise DataError(path, f"unreadable image ({error})", "replace the file, or save it uncompressed") from error
    if turn in _TURNS and exif != "ignore":
        if exif == "error":
            problem = f"EXIF orientation {turn} says that the image is to be rotated"
            raise DataError(path, problem, "set data.exif to apply or ignore")
        quarters, mirrored = _TURNS[turn]
        values = np.rot90(values, quarters)
        values = values[:, ::-1] if mirrored else values
    return np.ascontiguousarray(values), form.png and form.channels in (2, 4)


def select(values: NDArray[Any], channels: tuple[int, ...] | None, *, path: Path) -> NDArray[Any]:
    """Return the named channels of (h, w, channels), in their order; without names, gray or RGB as it is.

    Raises:
        DataError: A channel that is not there, or 2 or more than 3 channels and none named.
    """
    count = values.shape[2]
    if channels is None:
        if count not in (1, 3):
            raise DataError(path, f"{count} channels, not gray or RGB", "name those to take in data.channels")
        return values
    if max(channels) >= count:
        problem = f"{count} channels, but data.channels names channel {max(channels)} (the first is 0)"
        raise DataError(path, problem, "change data.channels, or replace the file")
    return values[:, :, list(channels)]


def to_bytes(values: NDArray[Any], scale: Scale, *, path: Path) -> NDArray[np.uint8]:
    """Return values as 0..255: 8-bit ones as they are, others by the rule.

    Args:
        values: Of any shape.
        scale: ``error``: only 8-bit values; ``full_range``: 0..255 for all that the whole-number type holds; (low,
            high): these become 0 and 255, what is below or above them too.
        path: For messages.

    Raises:
        DataError: More than 8 bits with ``error``; ``full_range`` of floating point or signed values; NaN.
    """
    if values.dtype == np.uint8:
        return values
    bits = values.dtype.itemsize * 8
    if scale == "error":
        problem = f"values of {bits} bits ({values.min()} to {values.max()}), more than 8 bits, not 8-bit RGB or gray"
        raise DataError(path, problem, "say in data.image_scale how values become 0..255: full_range or [low, high]")
    if scale == "full_range":
        if values.dtype.kind != "u":
            raise DataError(
                path, f"values of type {values.dtype} have no full range", "set data.image_scale to [low, high]"
            )
        low, high = 0.0, float(np.iinfo(values.dtype).max)
    else:
        low, high = scale
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise DataError(path, "values that are not finite", "replace them in the file")
    gray = (values.astype(np.float64) - low) * (255 / (high - low))
    return np.asarray(np.clip(np.rint(gray), 0, 255), dtype=np.uint8)


def _deep_png(path: Path, form: Stored) -> tuple[NDArray[Any], int]:
    from kornia_rs import io

    with Image.open(path, formats=("PNG",)) as image:
        # Of 16 bits a channel Pillow reads the size and the rotation, not the values.
        check_pixels(path, *image.size)
        turn = int(image.getexif().get(0x0112, 1))
    if form.channels == 2:
        raise DataError(path, "16-bit gray with alpha", "save it without alpha")
    return io.read_image_png_u16(str(path), "rgb" if form.channels == 3 else "rgba"), turn


def _tiff(path: Path) -> tuple[NDArray[Any], int]:
    import tifffile

    with tifffile.TiffFile(path) as file:
        series, page = file.series[0], file.pages[0].aspage()
        if len(file.pages) > 1 or series.axes not in ("YX", "YXS", "SYX"):
            raise DataError(path, f"{len(file.pages)} frames in one file", "save each frame as a file of its own")
        check_pixels(path, page.imagewidth, page.imagelength)
        values = np.asarray(series.asarray())
        tag = page.tags.get("Orientation")
    if series.axes == "SYX":
        values = values.transpose(1, 2, 0)
    return values.reshape(*values.shape[:2], -1), int(tag.value) if tag else 1
