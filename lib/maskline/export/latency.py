"""Times of two or more ways to compute the same, taken in turn so that a busy moment hits them alike."""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds a call.

    Args:
        median_ms: Half of the calls took less.
        p95_ms: Nineteen of twenty calls took less (linear interpolation between calls).
    """

    median_ms: float
    p95_ms: float

    def to_dict(self) -> dict[str, float]:
        """Return plain JSON types, rounded to a microsecond."""
        return {"median_ms": round(self.median_ms, 3), "p95_ms": round(self.p95_ms, 3)}


def measure(calls: Mapping[str, Callable[[], object]], *, runs: int, warm_up: int) -> dict[str, Latency]:
    """Time each call ``runs`` times, one of each in turn, after ``warm_up`` untimed rounds.

    Before each timed call the same one is made untimed: the threads of the call before that one, which wait busily for
    more work, would take the processor from it.
    """
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for round_index in range(warm_up + runs):
        for name, call in calls.items():
            call()
            start = time.perf_counter()
            call()
            elapsed = time.perf_counter() - start
            if round_index >= warm_up:
                seconds[name].append(elapsed)
    return {name: summarize(values) for name, values in seconds.items()}


def summarize(seconds: list[float]) -> Latency:
    """Return median and 95th percentile of at least one duration in seconds."""
    if len(seconds) == 1:
        return Latency(seconds[0] * 1e3, seconds[0] * 1e3)
    p95 = statistics.quantiles(seconds, n=20, method="inclusive")[18]
    return Latency(statistics.median(seconds) * 1e3, p95 * 1e3)
