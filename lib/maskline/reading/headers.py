"""What an image's file holds, by its own header.

Pillow cuts 16-bit RGB down to 8 bits and leaves channels out, both without a word.
"""

import io
import logging
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from maskline.core.errors import DataError, MasklineError

_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}


for _library in ("tifffile", "PIL.TiffImagePlugin"):  # what they say of odd files is said by errors, or does not matter
    logging.getLogger(_library).addHandler(logging.NullHandler())


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """What a file holds.

    Args:
        channels: Of a pixel, alpha included.
        bits: Of a channel.
        whole: Pillow reads all of it.
        png: A PNG; else a TIFF.
        alpha: The last channel is known to be alpha.
        frames: Images in the file; overviews, thumbnails and transparency masks are none.
        page: Where the first of them stands.
        empty: The file has no image, or not one stored pixel of it, as sparse files of GDAL may have.
    """

    channels: int
    bits: int
    whole: bool
    png: bool
    alpha: bool
    frames: int = 1
    page: int = 0
    empty: bool = False


@contextmanager
def damage(path: Path, problem: str = "unreadable image", remedy: str = "replace the file") -> Iterator[None]:
    """Turn what Pillow, tifffile and imagecodecs raise on a damaged file into one line; to be put around them alone.

    They raise whatever they meet in it, such as TypeError or struct.error. Errors of the disk and of memory pass.

    Args:
        path: The file.
        problem: What the line says in front of the library's own words.
        remedy: What to do about it.

    Raises:
        DataError: The library could not make sense of the file.
    """
    try:
        yield
    except (MasklineError, MemoryError):
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno:
            raise
        raise DataError(path, f"{problem} ({str(error) or type(error).__name__})", remedy) from error


def stored(path: Path) -> Stored | None:
    """Return what a PNG or TIFF file holds by its header; None for other formats and damaged headers."""
    with path.open("rb") as stream:
        head = stream.read(26)
    if head.startswith(_PNG) and len(head) == 26 and head[25] in _PNG_CHANNELS:
        channels, bits = _PNG_CHANNELS[head[25]], head[24]
        whole, alpha = bits < 16 or channels == 1, channels in (2, 4)
        return Stored(channels=channels, bits=bits, whole=whole, png=True, alpha=alpha)
    return _stored_tiff(path) if head[:4] in _TIFF else None


def _stored_tiff(path: Path) -> Stored | None:
    import tifffile

    try:
        with tifffile.TiffFile(path) as file:
            if not len(file.pages):
                return Stored(channels=1, bits=8, whole=True, png=False, alpha=False, empty=True)
            full = [i for i in range(len(file.pages)) if not _is_reduced(file.pages[i])] or [0]
            page = file.pages[full[0]].aspage()
            channels, bits = int(page.samplesperpixel), int(page.bitspersample)
            extra = tuple(map(int, page.extrasamples))
            rgb = int(page.photometric) != 1 and channels == 3
            cmyk = int(page.photometric) == 5 and channels == 4
            alpha = not cmyk and channels in (2, 4) and extra in ((1,), (2,))
            empty = not any(page.databytecounts)
    except MemoryError:
        raise
    except Exception:  # tifffile raises whatever it meets; Pillow says what is wrong with it
        return None
    whole = bits <= 8 and (channels == 1 or rgb or cmyk or alpha)
    return Stored(
        channels=channels,
        bits=bits,
        whole=whole,
        png=False,
        alpha=alpha,
        frames=len(full),
        page=full[0],
        empty=empty,
    )


def _is_reduced(page: Any) -> bool:
    """Return whether NewSubfileType calls a page a smaller copy or a transparency mask of another."""
    return bool(int(page.aspage().subfiletype) & 0b101)


def guard_segments(path: Path, page: Any) -> None:
    """Let a TIFF's page decode no strip or tile that is an image of its own and, by its own header, far too large.

    Args:
        path: The file.
        page: Of tifffile; from now on it raises ``DataError`` for such a strip or tile.

    Raises:
        DataError: They are packed by a codec whose header is not looked at, or a tile is far larger than the image.
    """
    name = getattr(page.compression, "name", str(page.compression))
    whole = (page.imagelength, page.imagewidth)
    tile = (page.tilelength, page.tilewidth) if page.is_tiled else (0, 0)
    if any(side > max(_TILE, length + _PADDING) for side, length in zip(tile, whole, strict=True)):
        problem = f"a tile of {tile[1]}x{tile[0]} px in an image of {whole[1]}x{whole[0]} px"
        raise DataError(path, problem, "replace the file")
    if page.compression in _UNCHECKED:
        raise DataError(path, f"packed as {name}", "save it with deflate, LZW or JPEG")
    if page.compression not in _SEGMENT_SIZES:
        return  # the codec gets room for as many bytes as the strip or tile has
    sizes, decode = _SEGMENT_SIZES[page.compression], page.keyframe.decode
    rows, columns = (
        (page.tilelength, page.tilewidth)
        if page.is_tiled
        else (min(page.rowsperstrip, page.imagelength), page.imagewidth)
    )

    def decoded(data: bytes | None, index: int, **others: Any) -> Any:
        for width, height in sizes((others.get("jpegheader") or b"") + data) if data else ():
            if width > columns + _PADDING or height > rows + _PADDING:
                problem = f"a strip or tile of {columns}x{rows} px that is an image of {width}x{height} px"
                raise DataError(path, problem, "replace the file")
        return decode(data, index, **others)

    page.keyframe.decode = decoded


def _jpeg_sizes(data: bytes) -> list[tuple[int, int]]:
    """Return the sizes of all that a decoder could take for a frame's header: no parser of ours against another's."""
    frames = [match.start(1) for match in _JPEG_FRAME.finditer(data)]
    return [
        (int.from_bytes(data[at + 6 : at + 8]), int.from_bytes(data[at + 4 : at + 6]))
        for at in frames
        if len(data) > at + 8 and int.from_bytes(data[at + 1 : at + 3]) == 8 + 3 * data[at + 8]
    ]


def _jpeg2000_sizes(data: bytes) -> list[tuple[int, int]]:
    starts = [match.end() for match in _JPEG2000_SIZE.finditer(data)]
    return [(int.from_bytes(data[at + 4 : at + 8]), int.from_bytes(data[at + 8 : at + 12])) for at in starts]


def _png_sizes(data: bytes) -> list[tuple[int, int]]:
    return [(int.from_bytes(data[16:20]), int.from_bytes(data[20:24]))]


def _webp_sizes(data: bytes) -> list[tuple[int, int]]:
    with Image.open(io.BytesIO(data), formats=("WEBP",)) as image:
        return [image.size]


_PADDING = 64  # px that an encoder may have filled up
_TILE = 4096  # px a side that programs write, however small the image
_JPEG_FRAME = re.compile(rb"\xff(?=([\xc0-\xc3\xc5-\xc7\xc9-\xcb\xcd-\xcf\xf7]))")
_JPEG2000_SIZE = re.compile(rb"\xff\x4f\xff\x51")
_SEGMENT_SIZES: dict[int, Callable[[bytes], list[tuple[int, int]]]] = {
    **dict.fromkeys((6, 7, 33007, 34892), _jpeg_sizes),
    **dict.fromkeys((33003, 33004, 33005, 34712), _jpeg2000_sizes),
    34933: _png_sizes,
    50001: _webp_sizes,
}
_UNCHECKED = (22610, 34934, 50002, 52546)  # JPEG XR and XL


def png_bit_depth(path: Path) -> int:
    """Return the bits a sample of a PNG file as its header says; 0 for other formats."""
    form = stored(path)
    return form.bits if form is not None and form.png else 0
