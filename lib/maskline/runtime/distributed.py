"""The processes that train together, and sums over them. One process alone is a world of one: nothing is sent.

A loss is made of sums over the pixels of a batch. Inside ``joint`` these sums go over the batches of all processes, so
that each has the loss of the whole batch, whatever its own share of ignored pixels. Backward stays inside the process:
the gradients of all processes together are those of the one loss, and they are to be added up, not averaged.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor, distributed

_JOINT: ContextVar[bool] = ContextVar("joint", default=False)


def size() -> int:
    """Return how many processes train together."""
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


def rank() -> int:
    """Return this process's number among them, from 0."""
    return distributed.get_rank() if size() > 1 else 0


@contextmanager
def joint() -> Iterator[None]:
    """Let ``totals`` and ``rows`` inside the block go over all processes; each has to make the same calls."""
    token = _JOINT.set(size() > 1)
    try:
        yield
    finally:
        _JOINT.reset(token)


def is_joint() -> bool:
    """Tell whether sums go over more than this process."""
    return _JOINT.get()


def totals(*values: Tensor) -> tuple[Tensor, ...]:
    """Return each value's sum over the processes, of its own shape and type; the values themselves outside ``joint``.

    Whole numbers stay exact up to 2^53.
    """
    if not is_joint():
        return values
    flat = torch.cat([value.double().flatten() for value in values])
    summed: Tensor = _Sum.apply(flat)  # type: ignore[no-untyped-call]
    parts = summed.split([value.numel() for value in values])  # type: ignore[no-untyped-call]
    return tuple(part.view(value.shape).to(value.dtype) for part, value in zip(parts, values, strict=True))


def rows(values: Tensor) -> Tensor:
    """Return the values of all processes side by side, without gradients, along the last dimension.

    Args:
        values: Of one shape in every process.
    """
    if not is_joint():
        return values.detach()
    gathered = [torch.empty_like(values) for _ in range(size())]
    distributed.all_gather(gathered, values.detach().contiguous())
    return torch.cat(gathered, dim=-1)


def add_up(tensors: Sequence[Tensor], *, share: float = 1.0) -> None:
    """Replace tensors, of one type and device, by ``share`` times their sum over the processes."""
    if size() == 1 or not tensors:
        return
    flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
    distributed.all_reduce(flat)
    parts = flat.mul_(share).split([tensor.numel() for tensor in tensors])  # type: ignore[no-untyped-call]
    for tensor, part in zip(tensors, parts, strict=True):
        tensor.copy_(part.view(tensor.shape))


def largest(value: int) -> int:
    """Return the largest of the processes' values."""
    if size() == 1:
        return value
    held = torch.tensor([value])
    distributed.all_reduce(held, op=distributed.ReduceOp.MAX)
    return int(held)


def wait() -> None:
    """Wait until every process is here."""
    largest(0)


def everyones(value: Any) -> list[Any]:
    """Return the value of each process, by rank: plain types, tensors and arrays of the CPU."""
    if size() == 1:
        return [value]
    values: list[Any] = [None] * size()
    distributed.all_gather_object(values, value)
    return values


def firsts(value: Any) -> Any:
    """Return the first process's value."""
    if size() == 1:
        return value
    held = [value]
    distributed.broadcast_object_list(held, src=0)
    return held[0]


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(_context: Any, value: Tensor) -> Tensor:
        summed = value.clone()
        distributed.all_reduce(summed)
        return summed

    @staticmethod
    def backward(_context: Any, *gradients: Tensor) -> Tensor:
        return gradients[0]
