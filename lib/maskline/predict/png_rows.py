"""PNG files by rows, so that images larger than memory can be read and written.

A PNG is one compressed stream of rows, each stored as its difference from the one above. A band of rows is read by
handing Pillow (imagecodecs, where a channel has 16 bits) a small PNG in memory: the last row of the band before, plain,
and then the file's own rows.
"""

import io
import struct
import zlib
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

from maskline.core.errors import DataError
from maskline.reading.headers import damage

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_GRAY, _PALETTE = 0, 3
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_PIECE = 1 << 16
_CHUNK = 1 << 20
_MOST_UNPACKED = 1032  # bytes that deflate makes of one at most
_AGAIN = "get the file again"

Color = tuple[int, int, int]


class PngRows:
    """Reads a PNG from top to bottom; 8 or 16 bits a channel, not interlaced.

    Args:
        path: The file.

    Raises:
        DataError: Another kind of file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stream: BinaryIO = path.open("rb")
        self._inflate = zlib.decompressobj()
        self._left = 0  # bytes of the current IDAT chunk that are still to be read
        self._palette = b""
        self.turn = 1
        """EXIF orientation; 1: upright."""
        self._above = b""
        try:
            with damage(path, "damaged", _AGAIN):
                self._read_header()
        except BaseException:
            self._stream.close()
            raise

    @property
    def size(self) -> tuple[int, int]:
        """Height and width, px."""
        return self._height, self._width

    @property
    def has_alpha(self) -> bool:
        """Whether the last band is alpha."""
        return self._kind in {4, 6}

    def read(self, count: int) -> NDArray[Any]:
        """Return the next ``count`` rows, (count, W, bands), in the file's own numbers; palettes become RGB.

        Raises:
            DataError: The file ends too early or is damaged.
        """
        with damage(self._path, "damaged", _AGAIN):
            rows = self._inflated(count * (1 + self._row_bytes))
            plain = b"\0" + self._above if self._above else b""
            content = _png(self._width, count + bool(plain), self._kind, self._palette, plain + rows, bits=self._bits)
            pixels = self._decoded(content)
        return pixels[1:] if plain else pixels

    def _decoded(self, content: bytes) -> NDArray[Any]:
        if self._bits == 16:
            pixels = imagecodecs.png_decode(content)
            self._above = pixels[-1].astype(">u2").tobytes()
        else:
            with Image.open(io.BytesIO(content), formats=("PNG",)) as image:
                self._above = np.asarray(image)[-1].tobytes()
                pixels = np.array(image.convert("RGB") if image.mode == "P" else image)
        return pixels.reshape(*pixels.shape[:2], -1)

    def close(self) -> None:
        """Close the file."""
        self._stream.close()

    def __enter__(self) -> "PngRows":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _read_header(self) -> None:
        remedy = "save it as a PNG of 8 or 16 bits a channel, not interlaced"
        if self._stream.read(8) != _SIGNATURE:
            raise self._problem("no PNG", f"{remedy}, or as a TIFF")
        name, length = self._next_chunk()
        if name != b"IHDR" or length != 13:
            raise self._problem("damaged", _AGAIN)
        header = struct.unpack(">IIBBBBB", self._stream.read(13))
        self._width, self._height, self._bits, self._kind, _, _, interlaced = header
        self._stream.read(4)
        if self._bits not in {8, 16} or interlaced or self._kind not in _CHANNELS:
            raise self._problem(f"a PNG of {self._bits} bits a channel{', interlaced' if interlaced else ''}", remedy)
        self._row_bytes = self._width * _CHANNELS[self._kind] * self._bits // 8
        most = self._path.stat().st_size * _MOST_UNPACKED
        if min(self._width, self._height) < 1 or self._height * (1 + self._row_bytes) > most:
            problem = f"states {self._width}x{self._height} px, which a file of its length cannot hold"
            raise self._problem(problem, _AGAIN)
        name, length = self._next_chunk()
        while name != b"IDAT":
            content = self._stream.read(length)
            self._stream.read(4)
            self._palette = content if name == b"PLTE" else self._palette
            self.turn = _orientation(content) if name == b"eXIf" else self.turn
            name, length = self._next_chunk()
        self._left = length

    def _inflated(self, count: int) -> bytes:
        """Return the next bytes of the image's stream."""
        parts, missing = [], count
        while missing:
            # First what is already there: output can wait inside without any input left.
            part = self._inflate.decompress(self._inflate.unconsumed_tail, missing)
            if not part:
                part = self._inflate.decompress(self._inflate.unconsumed_tail + self._compressed(), missing)
            parts.append(part)
            missing -= len(part)
        return b"".join(parts)

    def _compressed(self) -> bytes:
        while self._left == 0:
            self._stream.read(4)  # the former chunk's checksum; the stream has its own
            name, self._left = self._next_chunk()
            if name != b"IDAT":
                raise self._problem("ends too early", _AGAIN)
        content = self._stream.read(min(self._left, _PIECE))
        if not content:
            raise self._problem("ends too early", _AGAIN)
        self._left -= len(content)
        return content

    def _next_chunk(self) -> tuple[bytes, int]:
        head = self._stream.read(8)
        if len(head) < 8:
            raise self._problem("ends too early", _AGAIN)
        return head[4:], int(struct.unpack(">I", head[:4])[0])

    def _problem(self, problem: str, remedy: str) -> DataError:
        return DataError(self._path, problem, remedy)


class PngWriter:
    """Writes a PNG of one 8-bit channel from top to bottom.

    Args:
        stream: Where to.
        size: Height and width, px.
        palette: Colors of the values; None: values are gray levels.
    """

    def __init__(self, stream: BinaryIO, size: tuple[int, int], *, palette: tuple[Color, ...] | None) -> None:
        self._stream, self._deflate, self._waiting = stream, zlib.compressobj(4), b""
        kind = _GRAY if palette is None else _PALETTE
        stream.write(_SIGNATURE + _chunk(b"IHDR", struct.pack(">IIBBBBB", size[1], size[0], 8, kind, 0, 0, 0)))
        if palette is not None:
            stream.write(_chunk(b"PLTE", bytes(channel for color in palette for channel in color)))

    def write(self, rows: NDArray[np.uint8]) -> None:
        """Write the next rows, (count, W)."""
        plain = np.zeros((rows.shape[0], rows.shape[1] + 1), dtype=np.uint8)
        plain[:, 1:] = rows
        self._waiting += self._deflate.compress(plain.tobytes())
        if len(self._waiting) > _CHUNK:
            self._stream.write(_chunk(b"IDAT", self._waiting))
            self._waiting = b""

    def finish(self) -> None:
        """Write the end."""
        self._stream.write(_chunk(b"IDAT", self._waiting + self._deflate.flush()) + _chunk(b"IEND", b""))


def _orientation(content: bytes) -> int:
    exif = Image.Exif()
    exif.load(content)
    return int(exif.get(ExifTags.Base.Orientation, 1))


def _png(width: int, height: int, kind: int, palette: bytes, rows: bytes, *, bits: int) -> bytes:
    header = _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, 0))
    colors = _chunk(b"PLTE", palette) if palette and kind == _PALETTE else b""
    return _SIGNATURE + header + colors + _chunk(b"IDAT", zlib.compress(rows, 0)) + _chunk(b"IEND", b"")


def _chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
