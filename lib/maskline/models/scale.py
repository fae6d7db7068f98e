"""Images at the size that a network is to see them at, where one is named: what MMSegmentation's test pipelines do.

Source: ``Resize(scale, keep_ratio=True)`` of mmcv 2 and OpenCV's bilinear resizing of bytes (both Apache-2.0), written
anew in whole numbers, so that every runtime gives the same bytes. Sizes may be symbols of a trace.
"""

from typing import Any

import torch
from torch import Tensor

Size = tuple[int, int]

_STEPS = 2048
"""A weight is a whole number of such parts, as in OpenCV."""


def scaled_size(size: Size, scale: Size) -> Size:
    """Return the largest height and width with the image's aspect that ``scale`` has room for, either way round.

    A half is rounded up. mmcv rounds the product of two floats, which may lie just below one: for 45 of 926,100
    pairs of size and scale it gives a pixel less.

    A side of a very long image can be 0, which no network takes.

    Args:
        size: Height and width of the image.
        scale: Longer and shorter side, in any order.
    """
    longer, shorter = torch.sym_max(*size), torch.sym_min(*size)  # type: ignore[no-untyped-call]
    by_longer, by_shorter = (_fitted(size, side, to) for side, to in ((longer, max(scale)), (shorter, min(scale))))
    height, width = (torch.sym_min(*both) for both in zip(by_longer, by_shorter, strict=True))  # type: ignore[no-untyped-call]
    return height, width


def resized_bytes(images: Tensor, size: Size) -> Tensor:
    """Return images of another size, each byte as OpenCV's ``INTER_LINEAR`` has it: pixel centres, no smoothing.

    Args:
        images: NHWC uint8.
        size: Height and width.
    """
    left, right, of_left, of_right = _weights(images.shape[2], size[1], images, clipped=True)
    top, bottom, of_top, of_bottom = _weights(images.shape[1], size[0], images, clipped=False)
    values = images.to(torch.int32)
    across = (values[:, :, left] * of_left + values[:, :, right] * of_right) // 16
    of_top, of_bottom = of_top[:, None], of_bottom[:, None]
    return ((across[:, top] * of_top // 65536 + across[:, bottom] * of_bottom // 65536 + 2) // 4).to(torch.uint8)


def _fitted(size: Size, side: int, to: int) -> Size:
    return (2 * size[0] * to + side) // (2 * side), (2 * size[1] * to + side) // (2 * side)


def _weights(before: int, after: int, images: Tensor, *, clipped: bool) -> tuple[Tensor, ...]:
    """Return for each new pixel its two old ones along an axis, int64, and their weights, int32 (after, 1).

    Args:
        before: Old length.
        after: New length.
        images: On the device to use.
        clipped: Beyond the outermost centres the outermost pixel counts alone; else with itself, each part rounded
            down. OpenCV has the one along rows, the other along columns.
    """
    options: dict[str, Any] = {"dtype": torch.float64, "device": images.device}
    step = torch.scalar_tensor(before, **options) / torch.scalar_tensor(after, **options)
    place = ((torch.arange(after, **options) + 0.5) * step - 0.5).float()
    first = place.floor()
    share = place - first
    if clipped:
        share = torch.where((first < 0) | (first >= before - 1), torch.zeros_like(share), share)
    low = first.long()
    shares = ((_STEPS * part).round().to(torch.int32)[:, None] for part in (1 - share, share))
    return low.clamp(0, before - 1), (low + 1).clamp(0, before - 1), *shares
