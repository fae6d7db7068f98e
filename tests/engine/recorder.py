"""Stands in for a device's graphs on a CPU: notes down every operation of a step and does the same ones again.

As a graph does, it keeps the tensors that each operation read and wrote and every number that Python handed over. What
Python would decide anew in the next iteration is therefore baked in, and a replay shows it.
"""

import torch
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from maskline.engine.capture import Values

_aten = torch.ops.aten

READS = {_aten._local_scalar_dense.default, _aten.equal.default, _aten.nonzero.default}
# What makes a tensor of numbers that lie on the host; on a GPU it would be copied there in each step.
FROM_HOST = {_aten.lift_fresh.default, _aten.lift_fresh_copy.default}


class Recording(TorchDispatchMode):
    """Runs operations, and lists them with their tensors."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function in READS or function in FROM_HOST:
            raise RuntimeError(f"a captured step calls {function}")
        results = function(*args, **(kwargs or {}))
        self.calls.append((function, args, kwargs or {}, results))
        return results

    def replay(self):
        """Do it all again and return the tensor of now for each tensor of then, by id."""
        now = {}

        def new(value):
            return now.get(id(value), value)

        for function, args, kwargs, results in self.calls:
            again = function(*pytree.tree_map(new, args), **pytree.tree_map(new, kwargs))
            for old, made in zip(pytree.tree_leaves(results), pytree.tree_leaves(again), strict=True):
                if isinstance(old, torch.Tensor):
                    now[id(old)] = made
        return now


class RecordedGraphs:
    """See ``maskline.engine.capture.Graphs``; a capture leaves no trace, as one on a GPU, which runs nothing."""

    def __init__(self, state):
        self.state = state
        self.captures = self.replays = 0
        self.operations = []

    def warm_up(self, function):
        return function()

    def capture(self, function):
        before = self._tensors()
        kept = [each.detach().clone() for each in before]
        generator = torch.get_rng_state()
        recording = Recording()
        tolist, torch.Tensor.tolist = torch.Tensor.tolist, _refused
        try:
            with recording:
                values = function()
        finally:
            torch.Tensor.tolist = tolist
            with torch.no_grad():
                for each, value in zip(before, kept, strict=True):
                    each.copy_(value)
            torch.set_rng_state(generator)
        self.captures += 1
        self.operations.append([str(call[0]) for call in recording.calls])
        held = Values(names=values.names, losses=values.losses.clone(), norm=values.norm.clone())

        def replay():
            with torch.no_grad():
                now = recording.replay()
                held.losses.copy_(now[id(values.losses)])
                held.norm.copy_(now[id(values.norm)])
            self.replays += 1

        return replay, held

    def _tensors(self):
        """Return all that lasts from one iteration to the next."""
        state = self.state
        models = [state.model, *([] if state.average is None else [state.average.model])]
        held = [each for model in models for each in (*model.parameters(), *model.buffers())]
        held += [
            each for by in state.optimizer.state.values() for each in by.values() if isinstance(each, torch.Tensor)
        ]
        return held


def _refused(_):
    raise RuntimeError("a captured step calls tolist")
