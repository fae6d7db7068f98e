"""A trainer that dies with its parent and stops cleanly on a signal.

DVC killed or out of memory leaves its command running (probed with 3.67.1): the kernel is asked to send SIGTERM when
the parent ends (Linux only; elsewhere nothing happens).
"""

import ctypes
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    """Ask for SIGTERM when the parent process ends. A parent that is gone already ends this process."""
    if not sys.platform.startswith("linux"):
        return
    parent = os.getppid()
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        sys.exit(128 + signal.SIGTERM)


class StopFlag:
    """Set by SIGINT or SIGTERM; the loop looks at it between two iterations."""

    def __init__(self) -> None:
        self.signal: int | None = None

    def set(self, number: int, _frame: FrameType | None) -> None:
        """Remember the signal; a second one ends the process at once."""
        if self.signal is not None:
            sys.exit(128 + number)
        self.signal = number


@contextmanager
def stop_on_signals() -> Iterator[StopFlag]:
    """Yield a flag that SIGINT and SIGTERM set inside the block; the former handlers come back after it."""
    flag = StopFlag()
    former = {number: signal.signal(number, flag.set) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield flag
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
