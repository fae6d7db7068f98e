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

from maskline.errors import ShapeError

Weighting = Literal["uniform", "gaussian"]

# Standard deviation of the Gaussian, as a share of the window.
_GAUSSIAN_SIGMA = 1 / 8


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


def slide_bands(
    forward: Callable[[Tensor], Tensor],
    images: Tensor,
    *,
    window: tuple[int, int],
    stride: tuple[int, int],
    batch_size: int,
    weighting: Weighting,
) -> Iterator[Tensor]:
    """Yield the averaged logits of whole rows, from top to bottom.

    Args:
        forward: Maps B x channels x h x w to logits B x C x h x w.
        images: Normalised, NCHW float.
        window: Height and width, px.
        stride: Vertical and horizontal step, px.
        batch_size: Windows given to ``forward`` at a time, at most.
        weighting: ``uniform``: windows count alike; ``gaussian``: less towards their edges, where they see less.

    Yields:
        N x C x rows x W float32; all of them, joined along the rows, are the logits of the images.
    """

    def band(top: int, rows: int) -> Tensor:
        return images[:, :, top : top + rows]

    size = (int(images.shape[2]), int(images.shape[3]))
    windows = Windows(window=window, stride=stride, batch_size=batch_size, weighting=weighting)
    return stream_bands(forward, band, size=size, windows=windows)


@dataclass(frozen=True, slots=True, kw_only=True)
class Windows:
    """How a picture is taken apart; the fields are the arguments of ``slide_bands``."""

    window: tuple[int, int]
    stride: tuple[int, int]
    batch_size: int
    weighting: Weighting


def stream_bands(
    forward: Callable[[Tensor], Tensor],
    band: Callable[[int, int], Tensor],
    *,
    size: tuple[int, int],
    windows: Windows,
) -> Iterator[Tensor]:
    """Yield as ``slide_bands`` does, for images that are handed over by rows.

    Args:
        forward: As there.
        band: Top row and number of rows -> N x channels x rows x W; asked from top to bottom, each row of windows once.
        size: Height and width of the images, px.
        windows: How they are taken apart.

    Yields:
        N x C x rows x W float32.
    """
    (height, width), window, stride = size, windows.window, windows.stride
    tops = window_starts(height, window=window[0], stride=stride[0])
    lefts = window_starts(width, window=window[1], stride=stride[1])
    seen = min(window[0], height), min(window[1], width)
    sums: Tensor | None = None
    for top, following in zip(tops, [*tops[1:], height], strict=True):
        rows = band(top, seen[0])
        if sums is None:
            lines, columns = (window_weights(n, weighting=windows.weighting).to(rows.device) for n in seen)
            weights = None if windows.weighting == "uniform" else lines[:, None] * columns
            # A pixel's windows are a grid: their summed weight is a product of the sums along the two axes.
            row_sums, column_sums = _coverage(tops, lines, height), _coverage(lefts, columns, width)
        corners = [(i, left) for i in range(len(rows)) for left in lefts]
        for start in range(0, len(corners), windows.batch_size):
            chosen = corners[start : start + windows.batch_size]
            logits = forward(torch.stack([rows[i, :, :, left : left + seen[1]] for i, left in chosen])).float()
            if sums is None:
                sums = logits.new_zeros((len(rows), logits.shape[1], seen[0], width))
            for (i, left), window_logits in zip(chosen, logits, strict=True):
                sums[i, :, :, left : left + seen[1]] += window_logits if weights is None else window_logits * weights
        assert sums is not None, "at least one window"
        done = following - top
        yield sums[:, :, :done] / (row_sums[top:following, None] * column_sums)
        sums = torch.cat([sums[:, :, done:], torch.zeros_like(sums[:, :, :done])], dim=2)


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
