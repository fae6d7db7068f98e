"""Which form of a computation a device gets, where a GPU is served by another one than a CPU.

A CPU keeps the forms whose bits its recorded results have. ``everywhere`` gives it those of a GPU, so that a machine
without one can compare, count and replay them.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

# A plain dict, which a compiled network can look into; one switch for the process.
_SWITCH = {"everywhere": False}


@contextmanager
def everywhere() -> Iterator[None]:
    """Let all devices inside the block compute as a GPU does."""
    before, _SWITCH["everywhere"] = _SWITCH["everywhere"], True
    try:
        yield
    finally:
        _SWITCH["everywhere"] = before


def wanted(x: Tensor) -> bool:
    """Tell whether numbers that change between iterations are kept in tensors beside ``x``, for a captured step."""
    return x.is_cuda or _SWITCH["everywhere"]


def deterministic(x: Tensor) -> bool:
    """Tell whether ``x`` gets forms that are as fast on a GPU when they have to be deterministic.

    torch's own sort what they add up, or refuse; without that demand they are the fastest.
    """
    return _SWITCH["everywhere"] or (x.is_cuda and torch.are_deterministic_algorithms_enabled())
