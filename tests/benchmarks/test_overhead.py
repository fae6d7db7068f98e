"""What the engine adds to forward, backward and optimizer step on a ready batch. ``make bench`` times it."""

import math
import statistics
import time

import pytest

from tools.compare_loops import job_of, stepper
from tools.loop_cases import settings


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("case", ["unet-s5-d16", "smp-unet-r18"])
def test_overhead(benchmark, prepared, tmp_path, case, workers):
    """``extra_info`` has the share; the two take turns, so that a disturbance meets both.

    One thread computes; a loader process, where there is one, needs a core of its own.
    """
    benchmark.group = f"a step of {case}, {workers} loader processes: engine; extra_info: compute alone, overhead"
    params = settings(case, threads=1, compiled=False, workers=workers)
    engine, compute = (stepper(way, job_of(way, params, prepared), params, tmp_path) for way in ("engine", "compute"))
    losses, times, alone = [next(engine)], [], []
    next(compute)

    def turn():
        started = time.perf_counter()
        next(compute)
        alone.append(time.perf_counter() - started)

    def one():
        started = time.perf_counter()
        losses.append(next(engine))
        times.append(time.perf_counter() - started)

    benchmark.pedantic(one, setup=turn, rounds=9)
    benchmark.extra_info["compute_s"] = statistics.median(alone)
    benchmark.extra_info["overhead"] = statistics.median(times) / statistics.median(alone) - 1
    assert len(times) == len(alone)
    assert all(map(math.isfinite, losses))
