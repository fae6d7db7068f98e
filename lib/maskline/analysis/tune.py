"""What computes fastest here: a few training steps for each way to compute them."""

import csv
import io
import itertools
import logging
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import torch

from maskline.augment.sample import RegionBatch
from maskline.core.errors import MasklineError
from maskline.core.text import one_line
from maskline.engine.run import Job, start_state
from maskline.engine.state import TrainState
from maskline.engine.train import Loop, step

log = logging.getLogger("maskline")

Precision = Literal["fp32", "tf32", "bf16", "fp16"]

_NOISE = 0.03  # a choice must be better than the present one by more than this share
_LONGEST_PROBLEM = 160


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One way to compute; the fields are those keys of the section train."""

    channels_last: bool
    precision: Precision
    compile: bool
    threads: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What a choice costs.

    Args:
        choice: See there.
        first_seconds: The first step, in which a compiled network is compiled; None: it failed.
        step_seconds: Median of the others; None: it failed.
        run_seconds: What the steps of the whole run would take; None: it failed.
        problem: Why it failed; empty where it did not.
    """

    choice: Choice
    first_seconds: float | None
    step_seconds: float | None
    run_seconds: float | None
    problem: str

    def to_dict(self) -> dict[str, Any]:
        """Return plain types, all on one level."""
        rounded = {key: _rounded(getattr(self, key)) for key in ("first_seconds", "step_seconds", "run_seconds")}
        return {**asdict(self.choice), **rounded, "problem": self.problem}


@dataclass(slots=True, kw_only=True)
class _Entrant:
    choice: Choice
    state: TrainState
    loop: Loop
    batch: RegionBatch
    first: float = 0.0
    problem: str = ""

    def step(self) -> float:
        """Do one step; return its seconds."""
        torch.set_num_threads(self.choice.threads)
        self._wait()
        started = time.perf_counter()
        step(self.state, self.loop, self.batch)
        self._wait()
        return time.perf_counter() - started

    def _wait(self) -> None:
        if self.loop.compute.device.type == "cuda":
            torch.cuda.synchronize()


def choices(*, precisions: Sequence[Precision], threads: Iterable[int], compiled: bool) -> list[Choice]:
    """Return all combinations.

    Args:
        precisions: Of the forward pass.
        threads: CPU threads.
        compiled: Compiled networks too.
    """
    formats, ways = (False, True), (False, True) if compiled else (False,)
    return [
        Choice(channels_last=last, precision=precision, compile=way, threads=count)
        for way, count, last, precision in itertools.product(ways, sorted(set(threads)), formats, precisions)
    ]


def measure(jobs: Callable[[Choice], Job], wanted: Sequence[Choice], *, steps: int, iterations: int) -> list[Measured]:
    """Time the steps of each choice on one ready batch, in turn, so that a disturbance meets all alike.

    A choice that fails (no compiler, no memory) is part of the result and stops nothing.

    Args:
        jobs: Builds the run of a choice.
        wanted: What to measure.
        steps: Timed steps of each.
        iterations: Length of the run, over which compiling must pay.
    """
    # Each compiled choice counts as a recompilation of one and the same function; torch would give up after eight.
    with torch._dynamo.config.patch(recompile_limit=max(64, 4 * len(wanted))):
        entrants = list(_started(jobs, wanted))
        times: dict[Choice, list[float]] = {each.choice: [] for each in entrants}
        for number in range(steps):
            for each in entrants[number % max(len(entrants), 1) :] + entrants[: number % max(len(entrants), 1)]:
                if not each.problem:
                    times[each.choice].append(each.step())
    return [_result(each, times[each.choice], iterations) for each in entrants]


def best(measured: Sequence[Measured], present: Choice) -> Choice:
    """Return the choice with the shortest run; the present one where no other is clearly better.

    Args:
        measured: At least one that did not fail, else the present one stays.
        present: The choice of now.
    """
    seconds = {each.choice: each.run_seconds for each in measured if each.run_seconds is not None}
    if not seconds:
        return present
    first = min(seconds, key=lambda choice: seconds[choice])
    own = seconds.get(present)
    return present if own is not None and own * (1 - _NOISE) <= seconds[first] else first


def table(measured: Sequence[Measured]) -> str:
    """Return the rows as CSV, the fastest first."""
    stream = io.StringIO()
    rows = [each.to_dict() for each in by_speed(measured)]
    writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue()


def by_speed(measured: Sequence[Measured]) -> list[Measured]:
    """Return the fastest run first, failures last."""
    return sorted(measured, key=lambda each: (each.run_seconds is None, each.run_seconds or 0.0))


def _started(jobs: Callable[[Choice], Job], wanted: Sequence[Choice]) -> Iterable[_Entrant]:
    """Do the first step of each; networks are shared by choices that differ in precision and threads alone."""
    built: dict[tuple[bool, bool], tuple[TrainState, Loop, RegionBatch]] = {}
    for number, choice in enumerate(wanted, start=1):
        key = (choice.channels_last, choice.compile)
        if key not in built:
            job = jobs(choice)
            built[key] = (start_state(job), job.loop, job.loop.batches.batch(0))
        state, loop, batch = built[key]
        compute = replace(loop.compute, precision=choice.precision)
        each = _Entrant(choice=choice, state=state, loop=replace(loop, compute=compute), batch=batch)
        try:
            each.first = each.step()
            each.step()  # memory and caches are warm after it
        except MasklineError:
            raise
        except Exception as error:  # whatever a compiler or a device says
            each.problem = one_line(f"{type(error).__name__}: {error}")[:_LONGEST_PROBLEM]
            built.pop(key)
        log.info("tune: %d of %d, %s: %s", number, len(wanted), _text(choice), each.problem or f"{each.first:.2f} s")
        yield each


def _result(each: _Entrant, times: Sequence[float], iterations: int) -> Measured:
    if each.problem:
        return Measured(
            choice=each.choice, first_seconds=None, step_seconds=None, run_seconds=None, problem=each.problem
        )
    median = statistics.median(times)
    return Measured(
        choice=each.choice,
        first_seconds=each.first,
        step_seconds=median,
        run_seconds=each.first + median * (iterations - 1),
        problem="",
    )


def _text(choice: Choice) -> str:
    return ", ".join(f"{key} {value}" for key, value in asdict(choice).items())


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
