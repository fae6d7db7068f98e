"""A training step as one graph: captured after a few iterations, then replayed.

A GPU computes a step of a small network faster than Python can ask for its kernels one by one. A captured graph holds
all of them, with the addresses that they read and write and every number that Python handed over. So whatever differs
between two iterations has to lie in a tensor that is overwritten in place: images, targets, learning rates, the share
of the average. Random numbers follow the seed that torch's generator has when the graph is replayed.
"""

import logging
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from maskline.engine.inputs import Inputs

log = logging.getLogger("maskline")

WARM_UP = 3  # iterations; libraries choose kernels and take memory in the first ones
_MOST_GRAPHS = 4  # of batches of different signatures; each holds the memory of a whole step


@dataclass(frozen=True, slots=True, kw_only=True)
class Values:
    """What a step gives back.

    Args:
        names: Of the losses: the sum, then each head's.
        losses: Float32, (batches, names).
        norm: Of the gradients, float32 scalar; None: not taken.
    """

    names: tuple[str, ...]
    losses: Tensor
    norm: Tensor | None

    def clone(self) -> "Values":
        """Return a copy that the next replay does not overwrite."""
        norm = None if self.norm is None else self.norm.clone()
        return Values(names=self.names, losses=self.losses.clone(), norm=norm)


Step = Callable[[Sequence[Inputs]], Values]


class Graphs(Protocol):
    """Makes graphs; how, depends on the device."""

    def warm_up(self, function: Callable[[], Values]) -> Values:
        """Run the function as graphs will be captured."""

    def capture(self, function: Callable[[], Values]) -> tuple[Callable[[], None], Values]:
        """Return what replays the function, which does not run now, and the tensors that each replay fills."""


class CudaGraphs:
    """CUDA graphs that share one pool of memory; none runs while another does.

    torch registers the device's default generator with each graph: a replay draws from the seed that the generator has
    then, from its start, which are the numbers that the same step draws without a graph.
    """

    def __init__(self) -> None:
        self._stream: torch.cuda.Stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        self._pool = torch.cuda.graph_pool_handle()

    def warm_up(self, function: Callable[[], Values]) -> Values:
        """See ``Graphs``; on the stream that captures, since autograd remembers where a gradient was first made."""
        current = torch.cuda.current_stream()
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream):
            values = function()
        current.wait_stream(self._stream)
        return values

    def capture(self, function: Callable[[], Values]) -> tuple[Callable[[], None], Values]:
        """See ``Graphs``."""
        graph = torch.cuda.CUDAGraph()
        # Threads that copy batches ahead may go on allocating and waiting meanwhile.
        with torch.cuda.graph(graph, pool=self._pool, stream=self._stream, capture_error_mode="thread_local"):
            values = function()
        return graph.replay, values


class CapturedStep:
    """Runs a step: as it is at first, then by replaying its graph.

    The first iterations of each kind of batch are true ones, so that nothing has to be undone. A step that cannot be
    captured is run as it is from then on; a line in the log says why.

    Args:
        graphs: Makes them.
        undo: Called after a capture that failed, before the step is run again.
    """

    def __init__(self, graphs: Graphs, *, undo: Callable[[], None]) -> None:
        self._graphs = graphs
        self._undo = undo
        self._seen: dict[Hashable, int] = {}
        self._captured: dict[Hashable, tuple[Callable[[], None], list[Inputs], Values]] = {}
        self._fails = False

    def run(self, step: Step, batches: Sequence[Inputs], *, kind: Hashable) -> Values:
        """Do one step.

        Args:
            step: Of the batches alone; reads nothing back from the device.
            batches: Of the iteration.
            kind: Steps of one kind are the same function, such as those of one precision.
        """
        signature = kind, tuple(batch.signature for batch in batches)
        if signature in self._captured:
            return self._replay(signature, batches)
        seen = self._seen[signature] = self._seen.get(signature, 0) + 1
        if self._fails or seen <= WARM_UP or len(self._captured) == _MOST_GRAPHS:
            return step(batches) if self._fails else self._graphs.warm_up(lambda: step(batches))
        kept = [batch.kept() for batch in batches]
        try:
            replay, values = self._graphs.capture(lambda: step(kept))
        except Exception as error:  # of whatever cannot be captured; a defect of the step shows again below
            reason = (str(error) or type(error).__name__).splitlines()[0]
            log.warning("train: the step is not captured as a graph, and goes on without: %s", reason)
            self._fails = True
            self._undo()
            return step(batches)
        self._captured[signature] = replay, kept, values
        return self._replay(signature, batches)

    def _replay(self, signature: Hashable, batches: Sequence[Inputs]) -> Values:
        replay, kept, values = self._captured[signature]
        for held, batch in zip(kept, batches, strict=True):
            held.take(batch)
        replay()
        return values.clone()


def reason_against(model: nn.Module, criteria: Sequence[nn.Module]) -> str | None:
    """Return why a step cannot be captured, as far as its parts tell; None: nothing is known against it.

    A part that looks at values on the host, such as a head that matches predictions to regions, says so by an attribute
    ``reads_back``: what it reads, in words.
    """
    for module in (part for whole in (model, *criteria) for part in whole.modules()):
        reads = getattr(module, "reads_back", None)
        if isinstance(reads, str):
            return f"{type(module).__name__} reads {reads}"
        if isinstance(module, _NormBase) and module.momentum is None and module.track_running_stats:
            return "a batch norm without momentum reads its count of batches"
    return None
