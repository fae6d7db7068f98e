"""Where the classes of a mask are: counts of each class in tiles, summed from the top left, made once an image.

With them a crop is known to be mixed or not by its tiles alone, mostly without a look at its pixels, and a pixel of a
class is found at once.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

_TILE = 32  # px


class ClassIndex:
    """The classes of one mask.

    Args:
        mask: (h, w) integer class ids; it is not kept.
        ignore_index: Mask value that does not count.
    """

    def __init__(self, mask: NDArray[np.integer[Any]], *, ignore_index: int) -> None:
        self._shape, self._ignore_index = mask.shape, ignore_index
        height, width = mask.shape
        present = np.zeros(np.iinfo(mask.dtype).max + 1 if mask.dtype.itemsize < 4 else ignore_index + 1, dtype=bool)
        present[mask] = True
        self.classes = [int(class_) for class_ in np.flatnonzero(present) if class_ != ignore_index]
        """Classes that occur, in the order of their ids."""
        rows, columns = np.arange(0, height, _TILE), np.arange(0, width, _TILE)
        self._sums = np.zeros((len(self.classes), len(rows) + 1, len(columns) + 1), dtype=np.int64)
        if len(self.classes) < 2:  # every tile says the same
            return
        for k, class_ in enumerate(self.classes):
            counts = np.add.reduceat(mask == class_, columns, axis=1, dtype=np.int32)
            counts = np.add.reduceat(counts, rows, axis=0, dtype=np.int64)
            self._sums[k, 1:, 1:] = counts.cumsum(axis=0).cumsum(axis=1)

    def is_mixed(self, mask: NDArray[np.integer[Any]], rows: slice, columns: slice, *, cat_max_ratio: float) -> bool:
        """Return whether the pixels of a box have more than one class, and none has more than the share.

        Args:
            mask: The mask, for what tiles cannot tell.
            rows: Of the mask, from 0 on.
            columns: Likewise.
            cat_max_ratio: The share.
        """
        if len(self.classes) < 2:
            return False
        least, most = self._bounds(rows, columns)
        if (most > 0).sum() < 2:
            return False
        if (least / (least + most.sum() - most)).max() >= cat_max_ratio:
            return False
        if (least > 0).sum() > 1 and (most / (most + least.sum() - least)).max() < cat_max_ratio:
            return True
        counts = np.bincount(mask[rows, columns].ravel(), minlength=self._ignore_index + 1)
        counts[self._ignore_index] = 0
        return bool((counts > 0).sum() > 1 and counts.max() / counts.sum() < cat_max_ratio)

    def find(self, mask: NDArray[np.integer[Any]], class_: int, number: float) -> tuple[int, int]:
        """Return row and column of a pixel of a class that occurs.

        Args:
            mask: The mask.
            class_: One of ``classes``.
            number: Which one, 0 <= number < 1, in the order of tiles.
        """
        if len(self.classes) < 2:
            tile, left = (slice(None), slice(None)), int(number * (mask == class_).sum())
        else:
            sums = self._sums[self.classes.index(class_)]
            counts = np.diff(np.diff(sums, axis=0), axis=1).ravel().cumsum()
            wanted = int(number * counts[-1])
            at = int(np.searchsorted(counts, wanted, side="right"))
            left = wanted - (int(counts[at - 1]) if at else 0)
            row, column = divmod(at, sums.shape[1] - 1)
            tile = (slice(row * _TILE, (row + 1) * _TILE), slice(column * _TILE, (column + 1) * _TILE))
        place = np.flatnonzero(mask[tile] == class_)[left]
        row, column = divmod(int(place), mask[tile].shape[1])
        return row + (tile[0].start or 0), column + (tile[1].start or 0)

    def _bounds(self, rows: slice, columns: slice) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return how many pixels of each class a box has at least and at most."""
        inner = [
            (-(-side.start // _TILE), -(-side.stop // _TILE) if side.stop >= length else side.stop // _TILE)
            for side, length in zip((rows, columns), self._shape, strict=True)
        ]
        outer = [(side.start // _TILE, -(-side.stop // _TILE)) for side in (rows, columns)]
        least = self._count(*inner) if all(start < stop for start, stop in inner) else np.zeros(len(self.classes))
        return least.astype(np.float64), self._count(*outer).astype(np.float64)

    def _count(self, rows: tuple[int, int], columns: tuple[int, int]) -> NDArray[np.int64]:
        tiles = np.array(self._sums.shape[1:]) - 1
        (top, bottom), (left, right) = np.minimum(rows, tiles[0]), np.minimum(columns, tiles[1])
        sums = self._sums
        return np.asarray(sums[:, bottom, right] - sums[:, top, right] - sums[:, bottom, left] + sums[:, top, left])
