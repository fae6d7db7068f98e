"""The processes that train together, and sums over them. One process alone is a world of one: nothing is sent.

A loss is made of sums over the pixels of a batch. Inside ``joint`` these sums go over the batches of all processes, so
that each has the loss of the whole batch, whatever its own share of ignored pixels. Backward of a loss stays inside the
process: the gradients of all processes together are those of the one loss, and they are to be added up, not averaged.
``Replica`` does that, while backward still runs.
"""

import ctypes
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

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


class Replica:
    """This process's copy of a network that several processes train.

    Backward through what it returns leaves in each parameter the mean of all processes' gradients; so the loss is to be
    taken ``size()`` times, for the sum. torch's DistributedDataParallel sends them in buckets as soon as they are
    there, while the rest of backward runs. (A hook that adds up would run Python in the threads of gloo.)

    Its buckets keep the order in which they were made, that of the parameters from the last to the first: it would
    else order them anew after a first step, by when gradients came, and a run that goes on from a saved state would
    then add up in another order than one that was never stopped (with three processes or more other bits). What keeps
    them is the search for unused parameters, one walk over the graph a step; so a network may have some.

    Args:
        model: The network; of the same weights in every process.
        forward: Its forward pass in training, such as a method.
    """

    def __init__(self, model: nn.Module, forward: Callable[..., Any]) -> None:
        self._forward = _Forward(model, forward)
        self._parallel: DistributedDataParallel | None = None

    def __call__(self, *inputs: Any) -> Any:
        """Return the forward pass's result; each process has to make the same calls."""
        if size() == 1:
            return self._forward.run(*inputs)
        return self._across()(*inputs)

    def held_back(self, hold: bool) -> AbstractContextManager[None]:
        """Return a block whose gradients stay in the process, where ``hold``, until those of a later one are added up.

        Forward and backward belong into it.
        """
        return self._across().no_sync() if hold and size() > 1 else nullcontext()

    def _across(self) -> DistributedDataParallel:
        if self._parallel is None:
            _keep_group()
            _tell_nothing_of_unused()
            self._parallel = _parallel(self._forward)
        return self._parallel


class _Forward(nn.Module):
    def __init__(self, model: nn.Module, run: Callable[..., Any]) -> None:
        super().__init__()
        self.model, self.run = model, run

    def forward(self, *inputs: Any) -> Any:
        return self.run(*inputs)


class _Parallel(DistributedDataParallel):
    def _passing_sync_batchnorm_handle(self, module: nn.Module) -> None:
        """Let synchronized batch norms pass on a CPU: torch's own refuse to run there, those of maskline do."""


def _parallel(module: nn.Module) -> DistributedDataParallel:
    with warnings.catch_warnings():
        # torch 2.13 has another name for broadcast_buffers, which 2.11 does not know.
        warnings.simplefilter("ignore", FutureWarning)
        return _Parallel(module, broadcast_buffers=False, gradient_as_bucket_view=True, find_unused_parameters=True)


def _keep_group() -> None:
    """Keep the group of processes until this one ends, whoever holds it.

    DistributedDataParallel may be the last to hold it, and ends it without giving up Python's lock, for which a thread
    of gloo may wait that is to be ended: seen in torch 2.13 as a process that never ended after its last step.
    """
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(distributed.group.WORLD))


def _tell_nothing_of_unused() -> None:
    """Use up torch's advice, once a process, to leave the search for unused parameters where there are none."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _Inside.apply(torch.zeros(1))  # type: ignore[no-untyped-call]


class _Inside(torch.autograd.Function):
    """Here what torch's C++ warns of is a Python warning."""

    @staticmethod
    def forward(_context: Any, value: Tensor) -> Tensor:
        with torch.enable_grad():
            _parallel(nn.Linear(1, 1))(value)
        return value


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


def gathered(value: Any) -> list[Any] | None:
    """Return the value of each process, by rank, in the first one; None in the others. Anything that pickles."""
    if size() == 1:
        return [value]
    values: list[Any] | None = [None] * size() if rank() == 0 else None
    distributed.gather_object(value, values, dst=0)
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
