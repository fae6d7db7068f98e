"""What an image's file holds, by its own header.

Pillow cuts 16-bit RGB down to 8 bits and leaves channels out, both without a word.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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


def png_bit_depth(path: Path) -> int:
    """Return the bits a sample of a PNG file as its header says; 0 for other formats."""
    form = stored(path)
    return form.bits if form is not None and form.png else 0
