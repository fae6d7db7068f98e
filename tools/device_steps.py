"""Training steps on a device: their time, their waits for it, its kernels, its memory."""

import collections
import dataclasses
import gc
import os
import signal
import statistics
import sys
import time
import warnings
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from maskline.engine.journal import Journal
from maskline.engine.process import StopFlag
from maskline.engine.run import Job, start_state
from maskline.engine.state import TrainState
from maskline.engine.train import StoppedError, fit
from tools.closure import ROOT
from tools.compare_loops import ready_steps
from tools.plain_loop import Images, amp_step, endless

Row = dict[str, Any]
_TOP = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How long a way of training is looked at.

    Args:
        warm: Steps before the first time is taken.
        blocks: Times that are taken; the result is their median.
        steps: Steps of each.
        seen: Steps under which waits are counted, and as many under the profiler; on CUDA alone.
        limit_s: No further block is begun after it.
    """

    warm: int
    blocks: int
    steps: int
    seen: int
    limit_s: float


class _Unwritten(Journal):
    def write(self, iteration: int, state: Any, *, behind: bool = False) -> None:
        """Write nothing: what is measured are steps."""


class _Clock(StopFlag):
    """The loop looks at it after each iteration, which goes on with ``phases``; their end stops the loop."""

    def __init__(self, state: TrainState, phases: Iterator[None]) -> None:
        self._state, self._phases, self._seen, self._over = state, phases, state.iteration, False

    @property
    def signal(self) -> int | None:  # type: ignore[override]
        """Return a signal's number once all is measured."""
        while not self._over and self._seen < self._state.iteration:
            self._seen += 1
            self._over = next(self._phases, self) is self
        return signal.SIGTERM.value if self._over else None


def engine(job: Job, plan: Plan) -> Row:
    """Measure the engine, from reading a sample to the optimizer's step."""
    row: Row = {}
    state = start_state(job)
    phases = _phases(job.loop.compute.device, plan, row)
    next(phases)
    _run(state, job, journal=_Unwritten(Path(os.devnull)), stop=_Clock(state, phases))
    return row


def run_to(job: Job, iterations: int, *, journal: Journal, saved: Any = None) -> TrainState:
    """Train up to an iteration as a run does that is stopped then; the journal has its state."""
    state = start_state(job)
    if saved is not None:
        state.restore(saved)
    _run(state, job, journal=journal, stop=_Clock(state, iter([None] * (iterations - state.iteration - 1))))
    return state


def _run(state: TrainState, job: Job, *, journal: Journal, stop: StopFlag) -> None:
    loop = dataclasses.replace(job.loop, validation=None)
    try:
        fit(state, loop, journal=journal, stop=stop)
    except StoppedError:
        return
    raise AssertionError("the loop did not look at its flag")


def plain(job: Job, files: Path, params: Any, *, workers: int, plan: Plan) -> Row:
    """Measure a loop of the usual kind: see ``tools.plain_loop.amp_step``."""
    device = job.loop.compute.device
    torch.use_deterministic_algorithms(False)
    torch.backends.cudnn.benchmark = True
    ignored = job.loop.batches.augmentation.ignore_index
    images = Images(
        files, params.augment, mean=params.model.numbers()[0], std=params.model.numbers()[1], ignore_index=ignored
    )
    pinned = device.type == "cuda"
    batches = endless(images, batch_size=params.train.batch_size, workers=workers, pinned=pinned)
    return steps((amp_step(job, *batch, ignore_index=ignored) for batch in batches), device, plan)


def compute(job: Job, plan: Plan) -> Row:
    """Measure forward, losses, backward and optimizer on a batch that lies ready."""
    return steps(ready_steps(job), job.loop.compute.device, plan)


def captured(job: Job, plan: Plan) -> Row:
    """Measure the same as one CUDA graph."""
    return steps(_replayed(job), job.loop.compute.device, plan)


def _replayed(job: Job) -> Iterator[Any]:
    for group in job.optimizer.param_groups:
        if "capturable" in group:
            group["capturable"] = True
    eager, stream = ready_steps(job), torch.cuda.Stream()  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            next(eager)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        loss = next(eager)
    while True:
        graph.replay()
        yield loss


def steps(made: Iterator[Any], device: torch.device, plan: Plan) -> Row:
    """Measure an endless series of steps."""
    row: Row = {}
    for _ in _phases(device, plan, row):
        next(made)
    return row


def _phases(device: torch.device, plan: Plan, row: Row) -> Generator[None, None, None]:
    """Fill the row; each ``yield`` is one step of whoever goes on."""
    for _ in range(plan.warm):
        yield
    times: list[float] = []
    begun = time.perf_counter()
    while len(times) < plan.blocks and (not times or time.perf_counter() - begun < plan.limit_s):
        synchronize(device)
        started = time.perf_counter()
        for _ in range(plan.steps):
            yield
        synchronize(device)
        times.append((time.perf_counter() - started) / plan.steps)
    row["step_ms"] = round(1000 * statistics.median(times), 3)
    row |= dict.fromkeys(("peak_mib", "waits", "wait_lines", "kernels", "kernel_ms", "busy", "top_kernels"))
    if device.type == "cuda":
        row["peak_mib"] = round(torch.cuda.max_memory_allocated() / 2**20)
        with _waits(row, plan.seen):
            for _ in range(plan.seen):
                yield
        with _profile(row, plan.seen):
            for _ in range(plan.seen):
                yield


@contextmanager
def _waits(row: Row, number: int) -> Iterator[None]:
    """Count how often the block's steps wait for the device, and where."""
    torch.cuda.synchronize()
    before = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            yield
        finally:
            torch.cuda.set_sync_debug_mode(before)
    places = collections.Counter(_place(each) for each in caught if "synchroniz" in str(each.message))
    row["waits"] = round(places.total() / number, 2)
    row["wait_lines"] = {place: round(times / number, 2) for place, times in places.most_common()}


def _place(warning: warnings.WarningMessage) -> str:
    path = Path(warning.filename)
    return f"{path.relative_to(ROOT) if path.is_relative_to(ROOT) else path.name}:{warning.lineno}"


@contextmanager
def _profile(row: Row, number: int) -> Iterator[None]:
    """Count the block's kernels and copies, by name, and the time in which one at least runs."""
    torch.cuda.synchronize()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profiler:
        yield
        torch.cuda.synchronize()
    kernels = [each for each in profiler.events() or () if "CUDA" in str(each.device_type)]
    spans = sorted((each.time_range.start, each.time_range.end) for each in kernels)
    busy_ms = _covered(spans) / 1000 / number
    names: dict[str, list[float]] = collections.defaultdict(lambda: [0, 0.0])
    for each in kernels:
        names[each.name][0] += 1
        names[each.name][1] += (each.time_range.end - each.time_range.start) / 1000
    top = sorted(names.items(), key=lambda item: -item[1][1])[:_TOP]
    row["kernels"] = round(len(kernels) / number)
    row["kernel_ms"] = round(busy_ms, 3)
    row["busy"] = round(busy_ms / row["step_ms"], 3)
    row["top_kernels"] = [
        {"name": name[:100], "a_step": round(times / number, 2), "ms_a_step": round(ms / number, 3)}
        for name, (times, ms) in top
    ]


def _covered(spans: list[tuple[float, float]]) -> float:
    """Return the length that sorted spans cover together."""
    total, reached = 0.0, float("-inf")
    for start, end in spans:
        total += max(end - max(start, reached), 0.0)
        reached = max(reached, end)
    return total


def synchronize(device: torch.device) -> None:
    """Wait for the device; a CPU is never behind."""
    if device.type == "cuda":
        torch.cuda.synchronize()


def clean(device: torch.device) -> None:
    """Drop what the case before left."""
    gc.collect()
    if "torch._dynamo" in sys.modules:  # it takes seconds to load
        torch.compiler.reset()
    torch.backends.cudnn.benchmark = False
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
