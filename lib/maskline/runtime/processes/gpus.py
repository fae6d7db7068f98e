"""A GPU of its own for each of several runs on one machine, such as those of DVC's queue workers.

Each GPU has lock files under ``.maskline/gpus`` of the main checkout; the system frees them when their process ends,
however it ends. Runs of other checkouts and of other programs are not seen.
"""

import importlib
import itertools
import logging
import os
from collections.abc import Callable
from pathlib import Path

import torch

from maskline.core.state_folder import state_folder

log = logging.getLogger("maskline")

# Runs that may share a GPU where there are more of them than GPUs.
_MOST_SHARING = 64

_held: list[int] = []  # open files


def take(count: int, *, device: str, gpus: Callable[[], int] = torch.cuda.device_count) -> tuple[int, ...]:
    """Take GPUs that no other run has, until this process ends, and let CUDA see only them.

    To be called before CUDA starts. Nothing is taken where ``CUDA_VISIBLE_DEVICES`` is given, inside torchrun, on a
    machine with one GPU or too few, and on Windows. Where all are taken, those with the fewest runs are shared.

    Args:
        count: How many.
        device: As in params; cpu takes none.
        gpus: Counts those of the machine without starting CUDA.

    Returns:
        Their numbers; empty where CUDA sees what it would see anyhow.
    """
    if device not in {"auto", "cuda"} or "CUDA_VISIBLE_DEVICES" in os.environ or "WORLD_SIZE" in os.environ:
        return ()
    total = gpus()
    if total < max(count, 2) or os.name != "posix":
        return ()
    folder = state_folder("gpus")
    folder.mkdir(parents=True, exist_ok=True)
    taken: list[int] = []
    for place, number in itertools.product(range(_MOST_SHARING), range(total)):
        if len(taken) < count and number not in taken and _lock(folder / f"{number}-{place}.lock"):
            taken.append(number)
    numbers = tuple(sorted(taken))
    os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(map(str, numbers))
    log.info("GPU %s of %d", ", ".join(map(str, numbers)), total)
    return numbers


def _lock(path: Path) -> bool:
    fcntl = importlib.import_module("fcntl")
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return False
    _held.append(descriptor)
    return True
