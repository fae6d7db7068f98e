"""Sliding-window inference in bands, so that memory does not grow with the image's height.

Outputs of overlapping windows are averaged, all alike or by their distance from the window's centre. Rows of windows
run from top to bottom; rows of pixels that no further window touches are handed out at once, and only one window's
height of logits is held.

Source: window placement of MMSegmentation 1.2.2's ``EncoderDecoder.slide_inference`` (Apache-2.0), Gaussian weights of
nnU-Net's (Apache-2.0); both written anew.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from maskline.core.errors import ShapeError

Weighting = Literal["uniform", "gaussian"]

# Standard deviation of the Gaussian, as a share of the window.
_GAUSSIAN_SIGMA = 1 / 8

# Averages handed out at a time: 64 MiB.
_PIECE_VALUES = 1 << 24


def window_starts(length: int, *, window: int, stride: int) -> list[int]:
    """Return where the windows along one axis start; the last is moved inward to end at the edge.

    Args:
        length: Size of the image along the axis, px.
        window: Size of the window, px. Where it is larger than the image, the one window is the image.
        stride: Step, px, 1..window.

    Raises:
        ShapeError: The stride leaves pixels between windows, or is below 1.
    """
    if not 1 <= stride <= window:
        raise ShapeError("slide", f"stride {stride} with window {window}", "choose a stride from 1 to the window")
    last = max(length - window, 0)
    return [min(start, last) for start in range(0, last + stride, stride)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Windows:
    """How an image is taken apart.

    Args:
        window: Height and width, px.
        stride: Vertical and horizontal step, px.
        batch_size: Windows given to the network at a time, at most.
        weighting: ``uniform``: windows count alike; ``gaussian``: less towards their edges, where they see less.
    """

    window: tuple[int, int]
    stride: tuple[int, int]
    batch_size: int
    weighting: Weighting


@dataclass(frozen=True, slots=True, kw_only=True)
class Sums:
    """Room for the sums of windows.

    Args:
        tensor: Zeros.
        release: Called after each batch of windows: what is not worked on need not stay in memory.
    """

    tensor: Tensor
    release: Callable[[], None]


Hold = Callable[[tuple[int, ...], torch.device], Sums]


def in_memory(shape: tuple[int, ...], device: torch.device) -> Sums:
    """Return room on the network's device."""
    return Sums(tensor=torch.zeros(shape, device=device), release=lambda: None)


def slide_bands(forward: Callable[[Tensor], Tensor], images: Tensor, *, windows: Windows) -> Iterator[Tensor]:
    """Yield the averaged logits of whole rows, from top to bottom.

    Args:
        forward: Maps B x channels x h x w to logits B x C x h x w.
        images: Normalized, NCHW float.
        windows: How they are taken apart.

    Yields:
        N x C x rows x W float32; all of them, joined along the rows, are the logits of the images.
    """

    def band(top: int, rows: int) -> Tensor:
        return images[:, :, top : top + rows]

    size = (int(images.shape[2]), int(images.shape[3]))
    return stream_bands(forward, band, size=size, windows=windows, hold=in_memory)


def stream_bands(
    forward: Callable[[Tensor], Tensor],
    band: Callable[[int, int], Tensor],
    *,
    size: tuple[int, int],
    windows: Windows,
    hold: Hold,
) -> Iterator[Tensor]:
    """Yield as ``slide_bands`` does, for images that are handed over by rows.

    Args:
        forward: As there.
        band: Top row and number of rows -> N x channels x rows x W; asked from top to bottom, each row of windows once.
        size: Height and width of the images, px.
        windows: How they are taken apart.
        hold: Gives room for N x C x window height x W sums, asked once.

    Yields:
        N x C x rows x W float32.
    """
    grid = _Grid(size, windows)
    sums: Sums | None = None
    for top, following in zip(grid.tops, [*grid.tops[1:], size[0]], strict=True):
        rows = band(top, grid.seen[0])
        corners = [(i, left) for i in range(len(rows)) for left in grid.lefts]
        for start in range(0, len(corners), windows.batch_size):
            chosen = corners[start : start + windows.batch_size]
            logits = forward(torch.stack([rows[i, :, :, left : left + grid.seen[1]] for i, left in chosen])).float()
            if sums is None:
                sums = hold((len(rows), logits.shape[1], grid.seen[0], size[1]), logits.device)
            for (i, left), window_logits in zip(chosen, logits.to(sums.tensor.device), strict=True):
                sums.tensor[i, :, :, left : left + grid.seen[1]] += grid.weighted(window_logits)
            sums.release()
        assert sums is not None, "at least one window"
        yield from grid.averages(sums.tensor, top, following)
        _move_up(sums.tensor, following - top)
        sums.release()


class _Grid:
    """Where windows lie, and how much of them each pixel has."""

    def __init__(self, size: tuple[int, int], windows: Windows) -> None:
        (height, width), window, stride = size, windows.window, windows.stride
        self.tops = window_starts(height, window=window[0], stride=stride[0])
        self.lefts = window_starts(width, window=window[1], stride=stride[1])
        self.seen = min(window[0], height), min(window[1], width)
        lines, columns = (window_weights(n, weighting=windows.weighting) for n in self.seen)
        self._weights = None if windows.weighting == "uniform" else lines[:, None] * columns
        # A pixel's windows are a grid: their summed weight is a product of the sums along the two axes.
        self._row_sums, self._column_sums = _coverage(self.tops, lines, height), _coverage(self.lefts, columns, width)

    def weighted(self, logits: Tensor) -> Tensor:
        """Return a window's logits, C x h x w, as they are summed up."""
        return logits if self._weights is None else logits * self._weights.to(logits.device)

    def averages(self, sums: Tensor, top: int, bottom: int) -> Iterator[Tensor]:
        """Yield the averages of the rows from ``top`` to ``bottom``; ``sums`` starts at ``top``."""
        columns = self._column_sums.to(sums.device)
        step = max(1, _PIECE_VALUES // (sums.shape[0] * sums.shape[1] * sums.shape[3]))
        for start in range(top, bottom, step):
            end = min(start + step, bottom)
            rows = self._row_sums[start:end, None].to(sums.device)
            yield sums[:, :, start - top : end - top] / (rows * columns)


def _move_up(sums: Tensor, done: int) -> None:
    """Drop the first rows and add as many zeros; class by class, so that no second copy of all is needed."""
    for channel in sums.unbind(1):
        kept = channel[:, done:].clone()
        channel[:, : kept.shape[1]] = kept
        channel[:, kept.shape[1] :] = 0


def window_weights(length: int, *, weighting: Weighting) -> Tensor:
    """Return the weight of each position along one axis of a window, float32, above 0."""
    if weighting == "uniform":
        return torch.ones(length)
    distance = torch.arange(length) - (length - 1) / 2
    return torch.exp(-0.5 * (distance / (length * _GAUSSIAN_SIGMA)) ** 2)


def _coverage(starts: Sequence[int], weights: Tensor, length: int) -> Tensor:
    """Return the summed weight of the windows at each position of an axis, float32."""
    sums = weights.new_zeros(length)
    for start in starts:
        sums[start : start + len(weights)] += weights
    return sums
