"""Class maps of images that do not fit into memory: rows in, rows out.

Held at a time: the rows of one window's height, as bytes, and the sums of their windows, 4 x classes bytes a pixel;
whatever the image's height. Where these sums are larger than allowed they lie in a file.
"""

import mmap
import tempfile
from collections.abc import Callable, Iterator
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from maskline.inference.predictor import Predictor, most_likely
from maskline.inference.slide import Sums, in_memory, stream_bands

ReadRows = Callable[[int], npt.NDArray[np.uint8]]


def stream_classes(
    predictor: Predictor, read: ReadRows, *, size: tuple[int, int], memory_bytes: int, scratch: Path
) -> Iterator[npt.NDArray[Any]]:
    """Yield the class ids of whole rows, from top to bottom, by sliding window.

    Args:
        predictor: The network; its windows are used whatever its mode.
        read: Returns the next rows of the image, (count, W, channels).
        size: Height and width of the image, px.
        memory_bytes: Sums of windows up to this size are held in memory.
        scratch: Folder of the file of larger ones, which has no name and goes with the process.

    Yields:
        rows x W, uint8 up to 256 classes, else int32: all of them together are the map of a sliding window over the
        whole image.

    Raises:
        CheckpointError: The network gives nan.
    """
    rows = _Rows(read, (0, size[1], len(predictor.mean)))

    def band(top: int, count: int) -> Tensor:
        return torch.from_numpy(rows.band(top, count)).permute(2, 0, 1)[None].to(predictor.device)

    def forward(windows: Tensor) -> Tensor:
        return predictor.window_scores(predictor.normalized(windows))

    def hold(shape: tuple[int, ...], device: torch.device) -> Sums:
        return in_memory(shape, device) if 4 * prod(shape) <= memory_bytes else on_disk(shape, scratch=scratch)

    with torch.inference_mode():
        for averaged in stream_bands(forward, band, size=size, windows=predictor.windows, hold=hold):
            yield most_likely(averaged)[0].cpu().numpy()


def on_disk(shape: tuple[int, ...], *, scratch: Path) -> Sums:
    """Return room in a file; its pages leave the process's memory at each release.

    Args:
        shape: Of float32 zeros.
        scratch: Folder of the file.
    """
    with tempfile.TemporaryFile(dir=scratch) as file:
        file.truncate(4 * prod(shape))
        mapped = mmap.mmap(file.fileno(), 4 * prod(shape))
    tensor = torch.frombuffer(mapped, dtype=torch.float32).reshape(shape)
    return Sums(tensor=tensor, release=lambda: mapped.madvise(mmap.MADV_DONTNEED))


class _Rows:
    """The rows that windows still need."""

    def __init__(self, read: ReadRows, none: tuple[int, int, int]) -> None:
        self._read, self._first = read, 0
        self._kept = np.zeros(none, dtype=np.uint8)

    def band(self, top: int, count: int) -> npt.NDArray[np.uint8]:
        """Return rows from ``top`` on; those above it are given up."""
        kept = self._kept[top - self._first :]
        missing = count - len(kept)
        self._kept = np.concatenate([kept, self._read(missing)]) if missing else kept
        self._first = top
        return self._kept
