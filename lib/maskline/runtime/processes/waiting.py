"""How OpenMP's threads wait for work: turning round (spinning), or giving the processor away. Loads no torch.

The result is the same bits. On a processor that other programs want too, a thread that spins takes the time that the
thread it waits for would need.
"""

import os
import time
from pathlib import Path
from typing import Literal

Wait = Literal["auto", "spin", "yield"]

_VARIABLES = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")
_SAMPLES, _PAUSE = 10, 0.02  # s
_STAT = Path("/proc/stat")


def tune(wait: Wait) -> bool:
    """Choose how threads wait; to be called before torch is loaded, whose libgomp asks the environment once.

    Where the environment says it already, that stays. Processes that are started later do as this one.

    Args:
        wait: spin: as libgomp does by itself. yield: give the processor away at once. auto: yield where the machine is
            busy.

    Returns:
        Whether threads yield because of this call.
    """
    if is_said() or wait == "spin" or (wait == "auto" and not is_busy()):
        return False
    os.environ["GOMP_SPINCOUNT"] = "0"
    return True


def is_said() -> bool:
    """Return whether the environment says how threads wait."""
    return any(name in os.environ for name in _VARIABLES)


def unsaid() -> dict[str, str]:
    """Return the environment for a process that is to choose anew."""
    return {name: value for name, value in os.environ.items() if name not in _VARIABLES}


def is_busy() -> bool:
    """Return whether more processes want processors than there are: over the last minute, and now without this one.

    The minute alone would count what this machine has just done for the same person, such as a training that has ended.
    Takes 0.2 s on a machine whose minute was busy; False where the system does not tell.
    """
    cores = os.cpu_count() or 1
    return load() > cores and _others() > cores / 2


def load() -> float:
    """Return how many processes ran or wanted to, on average of the last minute; 0 where the system does not tell."""
    try:
        return os.getloadavg()[0]
    except (OSError, AttributeError):
        return 0.0


def _others() -> float:
    """Return how many processes beside this one run or want to, on average of some looks."""
    counts = []
    for _ in range(_SAMPLES):
        time.sleep(_PAUSE)
        counts.append(_running() - 1)
    return sum(counts) / len(counts)


def _running() -> int:
    try:
        lines = _STAT.read_text(encoding="ascii").splitlines()
    except OSError:
        return 1
    return next((int(line.split()[1]) for line in lines if line.startswith("procs_running ")), 1)
