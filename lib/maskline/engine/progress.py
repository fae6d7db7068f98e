"""Progress of training: a bar in a terminal, plain log lines elsewhere."""

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from maskline.runtime.processes import distributed

log = logging.getLogger("maskline")

# Between two plain lines, so that the log of a long run without validations shows that it is alive.
_QUIET_SECONDS = 60.0


class Meter:
    """Counts iterations and says so: a bar in a terminal, elsewhere a line a minute.

    Args:
        total: Iterations of the run.
        done: Iterations already done when it starts.
        bar: The terminal's bar; None prints lines.
    """

    def __init__(self, *, total: int, done: int, bar: Progress | None) -> None:
        self.total = total
        self.first = done
        self.bar = bar
        self.started = self.spoken = time.perf_counter()
        self.task = bar.add_task("train", total=total, completed=done, loss="", speed="") if bar else None

    def advance(self, iteration: int, loss: float | None) -> None:
        """Show that ``iteration`` iterations are done, and the last loss that was read, if any."""
        text = "" if loss is None else f"loss {loss:.4f}"
        if self.bar is not None and self.task is not None:
            self.bar.update(self.task, completed=iteration, loss=text, speed=f"{self.speed(iteration):.2f} it/s")
        elif time.perf_counter() - self.spoken >= _QUIET_SECONDS:
            self.report(iteration, text)

    def speed(self, iteration: int) -> float:
        """Return iterations a second since the start, validation included."""
        return (iteration - self.first) / max(time.perf_counter() - self.started, 1e-9)

    def report(self, iteration: int, text: str) -> None:
        """Print a line that stays: progress, speed, time left, and ``text``."""
        self.spoken = time.perf_counter()
        speed = self.speed(iteration)
        left = (self.total - iteration) / speed if speed > 0 else 0.0
        line = f"{iteration}/{self.total}  {speed:.2f} it/s  {left:.0f} s left  {text}"
        if self.bar is not None:
            self.bar.console.print(line)
        else:
            log.info(line)


@contextmanager
def meter(*, total: int, done: int) -> Iterator[Meter]:
    """Yield a meter; the bar, where there is one, is closed at the end."""
    if distributed.rank() > 0 or not sys.stderr.isatty():
        yield Meter(total=total, done=done, bar=None)
        return
    from rich.console import Console

    columns = [
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[speed]}"),
        TextColumn("{task.fields[loss]}"),
    ]
    with Progress(*columns, console=Console(stderr=True)) as bar:
        yield Meter(total=total, done=done, bar=bar)
