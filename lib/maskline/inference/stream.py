"""Class maps of pictures that do not fit into memory: rows in, rows out.

Held at a time: the rows of one window's height, as bytes, and their logits. That is some
width x window height x (3 + 8 x classes) bytes besides the network's own needs, whatever the picture's height.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from maskline.augment.pipeline import normalize
from maskline.inference.predictor import Predictor, most_likely
from maskline.inference.slide import Windows, stream_bands

ReadRows = Callable[[int], npt.NDArray[np.uint8]]


def stream_classes(predictor: Predictor, read: ReadRows, *, size: tuple[int, int]) -> Iterator[npt.NDArray[Any]]:
    """Yield the class ids of whole rows, from top to bottom, by sliding window.

    Args:
        predictor: The network; its windows are used whatever its mode.
        read: Returns the next rows of the picture, (count, W, 3) RGB.
        size: Height and width of the picture, px.

    Yields:
        rows x W, uint8 up to 256 classes, else int32: all of them together are the map of a sliding window over the
        whole picture.

    Raises:
        CheckpointError: The network gives nan.
    """
    rows = _Rows(read, size)
    device = next((parameter.device for parameter in predictor.model.parameters()), torch.device("cpu"))

    def band(top: int, count: int) -> Tensor:
        return torch.from_numpy(rows.band(top, count)).permute(2, 0, 1)[None].to(device)

    def forward(windows: Tensor) -> Tensor:
        logits: Tensor = predictor.model(normalize(windows, predictor.mean, predictor.std)).float()
        return logits.softmax(1) if predictor.average == "probabilities" else logits

    windows = Windows(
        window=predictor.window,
        stride=predictor.stride,
        batch_size=predictor.batch_size,
        weighting=predictor.weighting,
    )
    with torch.inference_mode():
        for averaged in stream_bands(forward, band, size=size, windows=windows):
            yield most_likely(averaged)[0].cpu().numpy()


class _Rows:
    """The rows that windows still need."""

    def __init__(self, read: ReadRows, size: tuple[int, int]) -> None:
        self._read, self._first = read, 0
        self._kept = np.zeros((0, size[1], 3), dtype=np.uint8)

    def band(self, top: int, count: int) -> npt.NDArray[np.uint8]:
        """Return rows from ``top`` on; those above it are given up."""
        kept = self._kept[top - self._first :]
        missing = count - len(kept)
        self._kept = np.concatenate([kept, self._read(missing)]) if missing else kept
        self._first = top
        return self._kept
