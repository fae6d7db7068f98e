"""Batches made ahead of the computation by a thread, and copied to a GPU on a stream of their own."""

from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TypeVar

import torch

from maskline.augment.fixed import FixedBatch, pack
from maskline.augment.pipeline import Augmentation
from maskline.augment.sample import RegionBatch

T = TypeVar("T")
R = TypeVar("R")
_AHEAD = 2  # batches


def on_gpu(
    source: Iterator[RegionBatch], settings: Augmentation, device: torch.device
) -> Generator[FixedBatch, None, None]:
    """Yield batches that lie on a GPU, in the order of the source.

    Args:
        source: Advanced in a thread, so it must touch nothing that the caller changes.
        settings: What packs them.
        device: The GPU; without an index, that of the calling thread.
    """
    device = torch.device("cuda", torch.cuda.current_device() if device.index is None else device.index)
    stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def sent(batch: RegionBatch) -> tuple[FixedBatch, torch.Event]:
        with torch.cuda.device(device), torch.cuda.stream(stream):  # a thread starts on the first GPU
            there = pack(settings, batch, pinned=True).to(device)
            return there, stream.record_event()

    with closing(ahead(source, sent)) as ready:
        for batch, copied in ready:
            current = torch.cuda.current_stream(device)
            current.wait_event(copied)
            batch.packed.buffer.record_stream(current)  # its memory belongs to the other stream
            yield batch


def ahead(source: Iterator[T], make: Callable[[T], R]) -> Generator[R, None, None]:
    """Yield ``make(item)`` for the items of a source, made two ahead by a thread.

    What the source or ``make`` raises is raised here, after the items before it. The thread ends with the generator.
    """

    def one() -> tuple[R] | None:
        for item in source:
            return (make(item),)
        return None

    pool = ThreadPoolExecutor(1, thread_name_prefix="batches ahead")
    try:
        waiting = deque(pool.submit(one) for _ in range(_AHEAD))
        while made := waiting.popleft().result():
            waiting.append(pool.submit(one))
            yield made[0]
    finally:
        pool.shutdown(cancel_futures=True)
