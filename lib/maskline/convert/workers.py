"""Records converted by several processes, and read in their order whatever process was first."""

import ctypes
import multiprocessing
import signal
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager

from maskline.convert.encode import Converted
from maskline.convert.records import Record
from maskline.convert.resume import Finished
from maskline.core.errors import DataError

PART_RECORDS = 16
"""Records of a part: what a kill costs each process at most."""

Convert = Callable[[Record], Converted]

_PR_SET_PDEATHSIG = 1
_task: Callable[[int], None]  # of a worker process


def converted(records: Sequence[Record], convert: Convert, finished: Finished, *, workers: int) -> Iterator[Converted]:
    """Yield each record converted, in their order; parts that are finished already are taken from there.

    Args:
        records: The whole set.
        convert: One record; its own errors are in its result.
        finished: Where parts are kept.
        workers: Processes; 1: this one alone.

    Raises:
        DataError: A process died.
        StorageError: A part cannot be written.
    """
    parts = [records[start : start + PART_RECORDS] for start in range(0, len(records), PART_RECORDS)]

    def task(number: int) -> None:
        if not finished.is_whole(number):
            finished.write(number, (convert(record) for record in parts[number]))

    with _mapped(task, len(parts), workers=min(workers, len(parts))) as done:
        for number, _ in enumerate(done):
            yield from finished.read(number)


@contextmanager
def _mapped(task: Callable[[int], None], count: int, *, workers: int) -> Iterator[Iterator[None]]:
    if workers < 2:
        yield map(task, range(count))
        return
    # Forked: a layout of the user's own cannot be imported by name, and the records need not travel.
    context = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_begin, initargs=(task,)) as pool:
        with warnings.catch_warnings():
            # Python warns of threads that numpy's BLAS has started; they are idle, and it survives a fork.
            warnings.filterwarnings("ignore", message=".*multi-threaded.*fork", category=DeprecationWarning)
            done = pool.map(_run, range(count))
        try:
            yield done
        except BrokenProcessPool as error:
            raise DataError(
                "convert, worker process",
                "it died, for want of memory or by a signal",
                "lower machine.convert_workers and run it again: what is finished is kept",
            ) from error
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _begin(task: Callable[[int], None]) -> None:
    global _task  # noqa: PLW0603  the one way to hand a closure to a forked process
    _task = task
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends them
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _run(number: int) -> None:
    _task(number)
