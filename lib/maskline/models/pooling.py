"""Adaptive average pooling that exports with dynamic height and width.

``AdaptiveAvgPool2d`` becomes, in ONNX, an average pool with the kernel of the example's size: wrong at any other
size, without an error. Written as two matrix products, the bins follow the size at run time. It also has a
deterministic backward on CUDA, which torch's operator has not.
"""

import torch
from torch import Tensor, nn


class AdaptiveAvgPool(nn.Module):
    """Mean of each cell of a ``bins`` x ``bins`` grid, as ``AdaptiveAvgPool2d`` lays it out.

    Args:
        bins: Rows and columns of the result.
    """

    def __init__(self, bins: int) -> None:
        super().__init__()
        self.bins = bins

    def forward(self, x: Tensor) -> Tensor:
        """Map NCHW to N, C, bins, bins."""
        if self.bins == 1:
            return x.mean(dim=(2, 3), keepdim=True)
        rows = _membership(x.shape[2], self.bins, like=x)
        columns = _membership(x.shape[3], self.bins, like=x)
        sums = rows @ x @ columns.transpose(0, 1)
        # Membership is 0 or 1, exact in bfloat16 too; the division comes last for that reason.
        return sums / (rows.sum(dim=1).unsqueeze(1) * columns.sum(dim=1))


def _membership(length: int, bins: int, *, like: Tensor) -> Tensor:
    """Return 1 where position x lies in bin i, else 0; shape (bins, length)."""
    index = torch.arange(bins, device=like.device).unsqueeze(1)
    position = torch.arange(length, device=like.device).unsqueeze(0)
    start = torch.div(index * length, bins, rounding_mode="floor")
    end = torch.div((index + 1) * length + bins - 1, bins, rounding_mode="floor")
    return ((position >= start) & (position < end)).to(like.dtype)


def window_means(x: Tensor, *, window: int, steps: tuple[int, int]) -> Tensor:
    """Return the mean of each square window of NCHW that lies inside; a side shorter than it is one window.

    What ``avg_pool2d`` gives for sides from ``window``; written as above, its windows follow the size at run time.

    Args:
        x: NCHW.
        window: Side of a window, px.
        steps: Distance of windows, px, down and to the right.
    """
    rows, columns = (_in_window(side, window, step, like=x) for side, step in zip(x.shape[2:], steps, strict=True))
    return rows @ x @ columns.transpose(0, 1) / (rows.sum(dim=1).unsqueeze(1) * columns.sum(dim=1))


def _in_window(length: int, window: int, step: int, *, like: Tensor) -> Tensor:
    """Return 1 where position x lies in window i, else 0; shape (windows, length)."""
    count = torch.sym_max((length - window) // step + 1, 1)  # type: ignore[no-untyped-call]  # for symbols of an export
    start = step * torch.arange(count, device=like.device).unsqueeze(1)
    position = torch.arange(length, device=like.device).unsqueeze(0)
    return ((position >= start) & (position < start + window)).to(like.dtype)
