"""TIFF files by rows, so that images larger than memory can be read.

Strips and tiles are decoded one by one in the order of the file, and only those of the rows in work are held.
"""

from math import prod
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from maskline.core.errors import DataError
from maskline.reading.headers import Stored, damage, guard_segments, stored
from maskline.reading.images import check_pixels_stored

_AGAIN = "get the file again"


class TiffRows:
    """Reads a TIFF from top to bottom: any number of bands, together; overviews are skipped.

    Args:
        path: The file.

    Raises:
        DataError: Another kind of file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with damage(path, "no TIFF", _AGAIN):
            self._file = tifffile.TiffFile(path)
        try:
            with damage(path, "damaged", _AGAIN):
                self._begin()
        except BaseException:
            self._file.close()
            raise

    def _begin(self) -> None:
        form = stored(self._path)
        if form is None:
            raise self._problem("damaged", _AGAIN)
        check_pixels_stored(self._path, form)
        self._page: Any = self._file.pages[form.page].aspage()
        self._check(form)
        guard_segments(self._path, self._page)
        self._segments = iter(self._page.segments(maxworkers=1))
        self._bands = int(self._page.samplesperpixel)
        self._kept = np.zeros((0, self.size[1], self._bands), dtype=self._page.dtype)
        self.has_alpha = form.alpha
        """Whether the last band is alpha."""
        tag = self._page.tags.get("Orientation")
        self.turn = int(tag.value) if tag else 1
        """EXIF orientation; 1: upright."""

    @property
    def size(self) -> tuple[int, int]:
        """Height and width, px."""
        return int(self._page.imagelength), int(self._page.imagewidth)

    def read(self, count: int) -> NDArray[Any]:
        """Return the next ``count`` rows, (count, W, bands), in the file's own numbers.

        Raises:
            DataError: The file ends too early or is damaged.
        """
        while len(self._kept) < count:
            with damage(self._path, "cannot be decoded", "save it without compression"):
                self._kept = np.concatenate([self._kept, self._next_rows()])
        rows, self._kept = self._kept[:count], self._kept[count:].copy()
        return rows

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> "TiffRows":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _check(self, form: Stored) -> None:
        page = self._page
        remedy = "save it as a TIFF of gray, RGB or more bands, strips or tiles, bands together"
        if form.frames > 1:
            raise self._problem(f"{form.frames} frames in one file", "save each frame as a file of its own")
        if page.dtype is None or (page.samplesperpixel > 1 and page.planarconfig != 1):
            raise self._problem(f"a TIFF of {page.samplesperpixel} channels, apart", remedy)
        if page.photometric not in {1, 2, 6} or page.imagedepth != 1:
            raise self._problem("a TIFF of other colors than gray and RGB", remedy)
        if min(self.size) < 1 or len(page.dataoffsets) < prod(page.chunked):
            problem = f"{len(page.dataoffsets)} strips or tiles of an image of {self.size[1]}x{self.size[0]} px"
            raise self._problem(problem, _AGAIN)

    def _next_rows(self) -> NDArray[np.uint8]:
        """Return the rows of one line of tiles, or of one strip."""
        height, width = self.size
        rows: NDArray[Any] | None = None
        while True:
            segment = next(self._segments, None)
            if segment is None:
                raise self._problem("ends too early", _AGAIN)
            data, (_, _, top, left, _), shape = segment
            if rows is None:
                rows = np.zeros((min(shape[1], height - top), width, self._bands), dtype=self._page.dtype)
            if data is not None:  # else a tile that was left out: zeros
                columns = min(shape[2], width - left)
                rows[:, left : left + columns] = data[0, : len(rows), :columns]
            if left + shape[2] >= width:
                return rows

    def _problem(self, problem: str, remedy: str) -> DataError:
        return DataError(self._path, problem, remedy)
