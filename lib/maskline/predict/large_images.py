"""Images above a size go through a model by windows, where nobody says otherwise. Needs no torch."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskline.export.interface import Prediction
from maskline.export.runtime_onnx import OnnxModel

log = logging.getLogger("maskline")

WHOLE_PIXELS = 2048 * 2048
"""Larger images go through a model by windows: whole, they would fill the memory."""

LONGEST, OVERLAP = 1280, 256
"""Sides of a window at most, and what two that touch share at least, px; of multiples of 32."""

_MULTIPLE = 32  # networks pad to it


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """Windows along one axis.

    Args:
        window: Their size, px; no more than the axis has.
        stride: From one to the next, px; the last ends at the edge.
        starts: Where they start.
    """

    window: int
    stride: int
    starts: tuple[int, ...]

    def parts(self) -> list[tuple[slice, slice]]:
        """Return for each window what it sees, and what of it counts: up to the middle of what two windows share."""
        ends = [start + self.window for start in self.starts]
        middles = [(end + start) // 2 for end, start in zip(ends[:-1], self.starts[1:], strict=True)]
        kept = zip([0, *middles], [*middles, ends[-1]], strict=True)
        return [
            (slice(start, end), slice(first, last))
            for start, end, (first, last) in zip(self.starts, ends, kept, strict=True)
        ]


def is_large(images: NDArray[Any]) -> bool:
    """Return whether images (N, H, W, channels) are seen by windows."""
    return images.ndim == 4 and images.shape[1] * images.shape[2] > WHOLE_PIXELS


def cut(length: int) -> Cut:
    """Return the fewest windows of no more than ``LONGEST`` that share ``OVERLAP``, and those no larger than needed.

    Windows of one size and step fit an axis by chance only, and overlap by more where they do not.

    Args:
        length: Of the axis, px, at least 1.
    """
    if length <= LONGEST:
        return Cut(window=length, stride=length, starts=(0,))
    count = -(-(length - OVERLAP) // (LONGEST - OVERLAP))
    window = -(-(length + (count - 1) * OVERLAP) // (count * _MULTIPLE)) * _MULTIPLE
    stride = -(-(length - window) // (count - 1))
    starts = dict.fromkeys(min(i * stride, length - window) for i in range(count))
    return Cut(window=window, stride=stride, starts=tuple(starts))


class Told:
    """Says once that an image is large."""

    def __init__(self) -> None:
        self._told = False

    def tell(self, images: NDArray[Any]) -> None:
        """Log the size of images (N, H, W, channels), the first time."""
        if not self._told:
            height, width = images.shape[1:3]
            windows = f"{cut(width).window}x{cut(height).window} px"
            log.info(
                "predict: %dx%d px is large: by windows of %s, as all above %d px", width, height, windows, WHOLE_PIXELS
            )
        self._told = True


class LargeOnnxModel(OnnxModel):
    """An exported file on whole images, and by windows on those that are large.

    Each pixel is what the window gives whose middle is nearest, so that this serves files of labels alone too. It is
    what the whole image gives wherever the network looks no farther than half of ``OVERLAP``. A file that resizes
    images itself sees all of them whole.

    Args:
        path: The file.
        threads: CPU threads inside an operation.

    Raises:
        ExportError: Not an ONNX file that the export stage wrote.
    """

    def __init__(self, path: Path, *, threads: int) -> None:
        super().__init__(path, threads=threads)
        sizes = self.metadata.get("sizes")
        self._resizes = isinstance(sizes, dict) and any(sizes.get(key) is not None for key in ("resize", "scale"))
        self._told = Told()

    def predict(self, images: NDArray[np.uint8]) -> Prediction:
        """Return as ``OnnxModel.predict`` does."""
        if self._resizes or not is_large(images):
            return super().predict(images)
        self._told.tell(images)
        labels: NDArray[Any] = np.empty(0)
        fields = np.empty(0, np.float32)
        count, height, width = images.shape[:3]
        for seen_rows, rows in cut(height).parts():
            for seen_columns, columns in cut(width).parts():
                part = super().predict(np.ascontiguousarray(images[:, seen_rows, seen_columns]))
                if not labels.size:
                    labels = np.empty((count, height, width), part.labels.dtype)
                    fields = np.empty((count, part.probabilities.shape[1], height, width), np.float32)
                inner = _inside(rows, seen_rows), _inside(columns, seen_columns)
                labels[:, rows, columns] = part.labels[:, inner[0], inner[1]]
                fields[:, :, rows, columns] = part.probabilities[:, :, inner[0], inner[1]]
        return Prediction(labels, fields)


def _inside(kept: slice, seen: slice) -> slice:
    return slice(kept.start - seen.start, kept.stop - seen.start)
