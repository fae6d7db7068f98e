"""Sliding-window inference in bands, so that memory does not grow with the image's height.

Logits of overlapping windows are averaged. Rows of windows run from top to bottom; rows of pixels that no further
window touches are handed out at once, and only one window's height of logits is held.

Source: window placement of MMSegmentation 1.2.2's ``EncoderDecoder.slide_inference`` (Apache-2.0), written anew.
"""

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from maskline.errors import ShapeError


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
) -> Iterator[Tensor]:
    """Yield the averaged logits of whole rows, from top to bottom.

    Args:
        forward: Maps B x channels x h x w to logits B x C x h x w.
        images: Normalised, NCHW float.
        window: Height and width, px.
        stride: Vertical and horizontal step, px.
        batch_size: Windows given to ``forward`` at a time, at most.

    Yields:
        N x C x rows x W float32; all of them, joined along the rows, are the logits of the images.
    """
    num_images, _, height, width = images.shape
    tops = window_starts(height, window=window[0], stride=stride[0])
    lefts = window_starts(width, window=window[1], stride=stride[1])
    size = min(window[0], height), min(window[1], width)
    # A pixel's windows are a grid: their number is a product of the numbers along the two axes.
    row_counts = _coverage(tops, size[0], height, images.device)
    column_counts = _coverage(lefts, size[1], width, images.device)
    corners = [(i, left) for i in range(num_images) for left in lefts]
    sums: Tensor | None = None
    for top, following in zip(tops, [*tops[1:], height], strict=True):
        band = images[:, :, top : top + size[0]]
        for start in range(0, len(corners), batch_size):
            chosen = corners[start : start + batch_size]
            logits = forward(torch.stack([band[i, :, :, left : left + size[1]] for i, left in chosen])).float()
            if sums is None:
                sums = logits.new_zeros((num_images, logits.shape[1], size[0], width))
            for (i, left), window_logits in zip(chosen, logits, strict=True):
                sums[i, :, :, left : left + size[1]] += window_logits
        assert sums is not None, "at least one window"
        done = following - top
        yield sums[:, :, :done] / (row_counts[top:following, None] * column_counts)
        sums = torch.cat([sums[:, :, done:], torch.zeros_like(sums[:, :, :done])], dim=2)


def _coverage(starts: Sequence[int], window: int, length: int, device: torch.device) -> Tensor:
    """Return how many windows cover each position of an axis, float32."""
    counts = torch.zeros(length, device=device)
    for start in starts:
        counts[start : start + window] += 1
    return counts
