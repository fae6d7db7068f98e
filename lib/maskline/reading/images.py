"""Opening image files: one place that knows modes, alpha, EXIF rotation and broken files."""

import warnings
from pathlib import Path
from typing import Literal, NamedTuple

from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from maskline.core.errors import DataError
from maskline.reading.headers import Stored, damage, stored

Exif = Literal["error", "apply", "ignore"]
Alpha = Literal["error", "opaque", "drop"]

IMAGE_SUFFIXES = frozenset((".png", ".jpg", ".jpeg", ".tif", ".tiff", ".gif", ".bmp", ".webp", ".ppm", ".pgm"))

FORMATS = ("PNG", "JPEG", "TIFF", "GIF", "BMP", "WEBP", "PPM")
"""What Pillow may read, whatever a file is called: it hands PostScript over to another program (Ghostscript)."""

_KEPT_FORMATS = ("PNG", "JPEG")
_EIGHT_BIT = ("1", "L", "P", "RGB")
_OTHER_COLORS = ("CMYK", "YCbCr")
_WITH_ALPHA = {"RGBA": "RGB", "LA": "L", "PA": "RGB", "La": "L", "RGBa": "RGB"}


class PlainImage(NamedTuple):
    """An image as RGB or gray.

    Args:
        image: Of mode RGB or L.
        kept: The file's own bytes hold just that.
        mode: Pillow's name of what the file holds.
    """

    image: Image.Image
    kept: bool
    mode: str


def open_image(path: Path, *, exif: Exif) -> Image.Image:
    """Open and decode a whole image, with its EXIF rotation settled.

    Args:
        path: The file.
        exif: ``error``: refuse a rotated image; ``apply``: rotate its pixels; ``ignore``: leave them.

    Raises:
        DataError: Not an image, truncated, of several frames, or rotated with ``error``.
    """
    form = stored(path)
    tiff = form is not None and not form.png
    check_pixels_stored(path, form)
    image, frames, orientation = _decode(path, page=form.page if form is not None and tiff else 0)
    if form is not None and tiff:
        frames = form.frames  # without overviews
    kind = image.format
    if frames > 1 and kind != "MPO":  # a camera's MPO is a JPEG with previews behind it
        raise several_frames(path, frames, tiff=tiff)
    if orientation in range(2, 9) and exif != "ignore":
        if exif == "error":
            raise DataError(
                path,
                f"EXIF orientation {orientation} says that the image is to be rotated",
                "set data.exif to apply (masks drawn on the rotated image) or ignore (on the stored pixels)",
            )
        with damage(path):  # it writes the other EXIF tags anew
            kind, image = None, ImageOps.exif_transpose(image)
    elif orientation in range(2, 9):
        kind = None
    image.format = kind  # exif_transpose forgets it
    return image


def several_frames(path: Path, frames: int, *, tiff: bool) -> DataError:
    """Return what to say of a file of several images; in a TIFF they may be the bands of one."""
    remedy = "save each frame as a file of its own"
    if tiff:
        remedy += ', or bands of one image as one page of it (tifffile.imwrite with planarconfig="separate")'
    return DataError(path, f"{frames} frames in one file", remedy)


def _decode(path: Path, *, page: int) -> tuple[Image.Image, int, int]:
    """Return an image of a file decoded, the file's number of frames and its EXIF orientation (1: upright)."""
    with damage(path), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # odd metadata, large images (twice that size is an error)
        warnings.filterwarnings("error", message=".*([Tt]runcated|[Cc]orrupt)")
        try:
            with Image.open(path, formats=FORMATS) as image:
                frames = getattr(image, "n_frames", 1)
                if page:
                    image.seek(page)
                image.load()
                return image, frames, image.getexif().get(ExifTags.Base.Orientation, 1)
        except Image.DecompressionBombError as error:
            raise DataError(path, f"image too large ({error})", "cut it into tiles") from error
        except UnidentifiedImageError as error:
            raise DataError(path, "not an image, or its beginning is damaged", "replace the file") from error


def read_image(path: Path, *, exif: Exif, alpha: Alpha) -> PlainImage:
    """Return an image as RGB or gray; CMYK becomes RGB without its color profile, as in Pillow and OpenCV.

    Args:
        path: The file.
        exif: See ``open_image``.
        alpha: An alpha channel is refused, left out where it is opaque all over, or left out.

    Raises:
        DataError: As ``open_image``; an alpha channel that is refused; more than 8 bits; more channels than Pillow
            reads.
    """
    form = stored(path)
    if form is not None and not form.whole:  # Pillow would cut it down silently
        depth = f" of {form.bits} bits, more than 8 bits" if form.bits > 8 else ""
        raise DataError(path, f"{form.channels} channels{depth}, not 8-bit RGB or gray", "save it as 8-bit RGB or gray")
    return plain_image(open_image(path, exif=exif), alpha=alpha, place=path)


def plain_image(image: Image.Image, *, alpha: Alpha, place: object) -> PlainImage:
    """Return a decoded image as RGB or gray; see ``read_image``.

    Raises:
        DataError: An alpha channel that is refused; more than 8 bits.
    """
    mode = image.mode
    has_alpha = mode in _WITH_ALPHA or "transparency" in image.info
    if has_alpha and (alpha == "error" or (alpha == "opaque" and not _is_opaque(image))):
        raise DataError(place, f"alpha channel (mode {mode})", "set data.alpha to drop, or save it without")
    kept = image.format in _KEPT_FORMATS and mode in ("L", "RGB") and not has_alpha
    image.info.pop("transparency", None)
    if mode in _WITH_ALPHA:
        image = image.convert(_WITH_ALPHA[mode])
    elif mode in _OTHER_COLORS:
        image = image.convert("RGB")
    if image.mode not in _EIGHT_BIT:
        raise DataError(
            place,
            f"mode {mode} of more than 8 bits or other colors, not 8-bit RGB or gray",
            "set data.image_scale to full_range, or to [low, high]; or save it as 8-bit RGB or gray",
        )
    if image.mode in ("1", "P"):
        image = image.convert("L" if mode == "1" else "RGB")
    return PlainImage(image, kept, mode)


def _is_opaque(image: Image.Image) -> bool:
    return image.convert("RGBA").getchannel("A").getextrema() == (255, 255)


def image_size(path: Path, *, exif: Exif) -> tuple[int, int]:
    """Return (h, w) of an image by its header, after the rotation that ``exif`` applies.

    Raises:
        DataError: Not an image.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path, formats=FORMATS) as image:
                width, height = image.size
                turn = image.getexif().get(ExifTags.Base.Orientation, 1)
    except MemoryError:
        raise
    except Exception as error:  # as in ``damage``
        if isinstance(error, OSError) and error.errno:
            raise
        shape = _shape_of_bands(path)
        if shape is None:
            raise DataError(path, "not an image, or its beginning is damaged", "replace the file") from error
        return shape
    return (width, height) if turn in (5, 6, 7, 8) and exif == "apply" else (height, width)


def check_pixels(path: Path, width: int, height: int) -> None:
    """Refuse what Pillow refuses: images that would fill the memory, or that are none.

    Raises:
        DataError: No pixel, or more than twice ``PIL.Image.MAX_IMAGE_PIXELS``.
    """
    if min(width, height) < 1:
        raise DataError(path, f"an image of {width}x{height} pixels", "give the size that the image has")
    if width * height > 2 * (Image.MAX_IMAGE_PIXELS or 2**63):
        raise DataError(path, f"image too large ({width}x{height} pixels)", "cut it into tiles")


def check_pixels_stored(path: Path, form: Stored | None) -> None:
    """Refuse a TIFF that holds no pixel: some programs make up what is not there, others read its header as pixels.

    Args:
        path: The file.
        form: As ``headers.stored`` returns it.

    Raises:
        DataError: It has no image, or all strips or tiles of it are missing.
    """
    if form is not None and form.empty:
        raise DataError(path, "a TIFF without pixels", "write it again with its pixels (GDAL: SPARSE_OK=FALSE)")


def size_of(path: Path) -> tuple[int, int] | None:
    """Return width and height of an image as it is stored, by its header; None where that does not tell."""
    try:
        height, width = image_size(path, exif="ignore")
    except Exception:  # Pillow raises whatever it meets; who reads the image says what is wrong with it
        return None
    return width, height


def _shape_of_bands(path: Path) -> tuple[int, int] | None:
    """Return (h, w) of a TIFF, maybe of more bands than Pillow knows; None: it is none."""
    import tifffile

    if path.suffix.lower() not in (".tif", ".tiff"):
        return None
    try:
        with tifffile.TiffFile(path) as file:
            page = file.pages[0].aspage()
            return int(page.imagelength), int(page.imagewidth)
    except Exception:  # tifffile raises whatever it meets, too
        return None
