"""Interpolation and adaptive pooling as two small matrix products, where a GPU has to be deterministic.

torch's own backward passes add up in any order there; told not to, torch gathers and sorts for the one and refuses the
other. Both act on rows and columns apart, so each is a matrix for the rows and one for the columns, made once a size:
what torch itself makes of the unit vectors.
"""

import functools
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from maskline.runtime import gpu_forms

_MODES = ("bilinear", "bicubic")

_interpolate = F.interpolate
_adaptive_avg_pool2d = F.adaptive_avg_pool2d


@contextmanager
def by_products() -> Iterator[None]:
    """Let ``interpolate`` and ``adaptive_avg_pool2d`` of torch.nn.functional, whoever calls them, be products inside.

    That goes for NCHW tensors that need a gradient, where ``gpu_forms.deterministic`` says so; all else is torch's.
    """
    F.interpolate, F.adaptive_avg_pool2d = interpolate, adaptive_avg_pool2d
    try:
        yield
    finally:
        F.interpolate, F.adaptive_avg_pool2d = _interpolate, _adaptive_avg_pool2d


def interpolate(
    input: Tensor,  # noqa: A002
    size: int | Sequence[int] | None = None,
    scale_factor: float | Sequence[float] | None = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Tensor:
    """See ``torch.nn.functional.interpolate``."""
    wanted = None
    if mode in _MODES and _is_served(input):
        wanted = _size(input, size) if size is not None else _scaled(input, scale_factor)
    if wanted is None:
        return _interpolate(input, size, scale_factor, mode, align_corners, recompute_scale_factor, antialias)
    how = (mode, bool(align_corners), antialias)
    rows, columns = (
        _interpolation(*how, length, out, input.dtype, input.device)
        for length, out in zip(input.shape[2:], wanted, strict=True)
    )
    return product(input, rows, columns)


def adaptive_avg_pool2d(input: Tensor, output_size: Any) -> Tensor:  # noqa: A002
    """See ``torch.nn.functional.adaptive_avg_pool2d``; a single cell is a plain mean there."""
    if not _is_served(input) or output_size in (1, (1, 1), [1, 1]):
        return _adaptive_avg_pool2d(input, output_size)
    rows, columns = (
        _pooling(length, out, input.dtype, input.device)
        for length, out in zip(input.shape[2:], _size(input, output_size), strict=True)
    )
    return product(input, rows, columns)


def product(x: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Return ``rows @ x @ columns^T`` of each map of NCHW, in the memory format of ``x``.

    Args:
        x: NCHW.
        rows: Of the result by those of x, of x's type.
        columns: Likewise.
    """
    count, channels, height, _ = x.shape
    # Autocast would round float32 maps.
    with torch.autocast(x.device.type, enabled=False):
        if not x.is_contiguous(memory_format=torch.channels_last) or x.is_contiguous():
            return rows @ (x @ columns.T)
        wide = columns @ x.permute(0, 2, 3, 1)  # N, H, W', C
        tall = rows @ wide.reshape(count, height, -1)  # N, H', W' C
        return tall.view(count, len(rows), len(columns), channels).permute(0, 3, 1, 2)


def _is_served(x: Tensor) -> bool:
    if torch.compiler.is_compiling() or x.ndim != 4:
        return False
    return x.requires_grad and torch.is_grad_enabled() and gpu_forms.deterministic(x)


def _size(x: Tensor, size: int | Sequence[int | None]) -> list[int]:
    each = [size, size] if isinstance(size, int) else list(size)
    return [length if out is None else int(out) for length, out in zip(x.shape[2:], each, strict=True)]


def _scaled(x: Tensor, factor: float | Sequence[float] | None) -> list[int] | None:
    """Return the size that whole multiples give; None: torch keeps a broken factor, and not the ratio of the sizes."""
    each = [factor, factor] if isinstance(factor, int | float) else list(factor or ())
    if len(each) != 2:
        return None
    sizes = [length * by for length, by in zip(x.shape[2:], each, strict=True) if by is not None]
    return [math.floor(size) for size in sizes] if all(size == math.floor(size) for size in sizes) else None


@functools.lru_cache(maxsize=256)
def _interpolation(
    mode: str, align_corners: bool, antialias: bool, length: int, out: int, dtype: torch.dtype, device: torch.device
) -> Tensor:
    """Return the matrix (out, length) that interpolates along one axis."""
    size = (out, length)
    columns = _interpolate(_units(length), size=size, mode=mode, align_corners=align_corners, antialias=antialias)
    return columns[0, 0].to(device, dtype)


@functools.lru_cache(maxsize=256)
def _pooling(length: int, out: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    return _adaptive_avg_pool2d(_units(length), (out, length))[0, 0].to(device, dtype)


def _units(length: int) -> Tensor:
    """Return the unit vectors as the columns of one map: 1, 1, length, length."""
    with torch.inference_mode(mode=False):
        return torch.eye(length, dtype=torch.float64)[None, None]
