"""One of several processes of a stage: how it joins the others, and how it ends when it or another one fails."""

import logging
import os
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as torch_distributed
from torch.distributed import PrefixStore, Store  # type: ignore[attr-defined]
from torch.distributed.rendezvous import rendezvous

from maskline.core.errors import MasklineError, ParamsError, TrainingError
from maskline.runtime.processes import distributed

log = logging.getLogger("maskline")

# How long a process that lost another one waits for its agent's signal, s.
_PATIENCE_S = 60

# How long the first process waits for all others to have started, s.
_MEETING_S = 1800
_POLL_S = 0.01


def is_member() -> bool:
    """Tell whether torchrun, or our own start of its agent, started this process."""
    return "RANK" in os.environ and "WORLD_SIZE" in os.environ


@contextmanager
def joined(*, device: str, stage: str, key: str) -> Iterator[None]:
    """Be one of the processes inside the block, where this process was started as one; each gets to its end or none.

    The first that fails says why; the others end without a word. Only the first process's progress is shown.

    Args:
        device: auto, cpu or cuda. Each process of a machine has a GPU of its own.
        stage: Its name, for messages.
        key: Where the number of processes stands in params.yaml.

    Raises:
        ParamsError: More processes than GPUs.
        TrainingError: Another process was lost, and nobody ended this one.
    """
    if not is_member():
        yield
        return
    on_gpu = device != "cpu" and torch.cuda.is_available()
    store, rank, size = next(rendezvous("env://"))
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True":
        store = fresh_store(store, rank=rank, size=size)
    if rank > 0:
        log.setLevel(logging.ERROR)
    try:
        if on_gpu:
            _take_gpu(int(os.environ.get("LOCAL_RANK", "0")), key)
        backend = "cpu:gloo,cuda:nccl" if on_gpu else "gloo"
        torch_distributed.init_process_group(backend, store=store, rank=rank, world_size=size)
        log.info("%s: %d processes (%s)", stage, size, "nccl" if on_gpu else "gloo")
        yield
        distributed.wait()  # for the first one's results
    except Exception as error:
        _end(error, store, stage)
    torch_distributed.destroy_process_group()


def fresh_store(store: Store, *, rank: int, size: int) -> Store:
    """Return a part of torchrun's store that no earlier start of these processes has written to.

    torchrun keeps one store while it restarts workers, where new ones would read the addresses of dead ones; their
    count of restarts may differ from machine to machine. So each new process shows the first one a name that it has
    drawn, and waits for an answer to that very name.
    """
    name = uuid.uuid4().hex
    if rank > 0:
        store.set(f"maskline/asks/{rank}", name)
        part = PrefixStore(store.get(f"maskline/answer/{name}").decode(), store)
        part.add("here", 1)
        return part
    part, answered, until = PrefixStore(name, store), set(), time.monotonic() + _MEETING_S
    while part.add("here", 0) < size - 1:
        for other in range(1, size):
            asks = f"maskline/asks/{other}"
            asked = store.get(asks).decode() if store.check([asks]) else None
            if asked is not None and asked not in answered:
                store.set(f"maskline/answer/{asked}", name)
                answered.add(asked)
        if time.monotonic() > until:
            raise torch_distributed.DistStoreError("not all processes came")
        time.sleep(_POLL_S)
    return part


def _take_gpu(number: int, key: str) -> None:
    count = torch.cuda.device_count()
    if number >= count:
        raise ParamsError(
            f"params.yaml: {key}", f"more processes than GPUs ({count}) on a machine", f"set it to {count}"
        )
    torch.cuda.set_device(number)


def _end(error: Exception, store: Any, stage: str) -> None:
    """End this process because of ``error``: raise it, or exit where another process has spoken."""
    if _is_loss(error):
        # The agent ends us as soon as it sees that the other one is gone; so it alone says what happened.
        threading.Event().wait(_PATIENCE_S)
        error = TrainingError(
            f"{stage}, process {distributed.rank()}",
            f"lost the others ({str(error).splitlines()[0]})",
            "look at what they and torchrun say, then start again"
            + (" to go on from the journal" if stage == "train" else ""),
        )
    try:
        first = store.add("failed", 1) == 1
    except RuntimeError:  # its process is gone
        first = False
    if not first:
        sys.exit(error.exit_code if isinstance(error, MasklineError) else 1)
    raise error


def _is_loss(error: Exception) -> bool:
    """Tell whether the error is that another process is gone; gloo raises a plain RuntimeError with its file's name."""
    if isinstance(error, torch_distributed.DistError):
        return True
    return type(error) is RuntimeError and ("gloo" in str(error) or "Connection closed by peer" in str(error))
