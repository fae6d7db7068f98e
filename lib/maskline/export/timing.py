"""Times of the exported files beside torch on the same work."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from maskline.export.latency import measure
from maskline.export.package import Trained
from maskline.export.parity import Model
from maskline.export.trace import third_party_warnings_ignored
from maskline.seeds import numpy_generator

_WARM_UP_RUNS = 3


def latency(
    trained: Trained,
    models: Mapping[str, Callable[[int], Model]],
    *,
    size: tuple[int, int],
    batches: tuple[int, ...],
    runs: int,
    threads: tuple[int, ...],
    compiled: bool,
) -> dict[str, Any]:
    """Time the exported files beside torch on the same work: uint8 images in, the interface's outputs out.

    Args:
        trained: The network.
        models: Name -> its file, opened for a number of threads.
        size: Height and width of the images.
        batches: Images a call, one row of times each.
        runs: Timed runs of each.
        threads: CPU threads of all; the first is the main one.
        compiled: Time torch.compile too; compiling takes a minute or more.

    Returns:
        Plain types; ``batch_N`` holds the times of torch and of each file, whose ``ratio`` is its median over torch's;
        those of further numbers of threads stand under ``threads_N``. ``rows`` has all of them as a table.
    """
    report: dict[str, Any] = {"threads": threads[0], "height": size[0], "width": size[1], "runs": runs}
    rows = []
    for count in threads:
        torch.set_num_threads(count)
        calls = _calls(trained, models, threads=count, compiled=compiled)
        times = {f"batch_{batch}": _times(calls, size=size, batch=batch, runs=runs) for batch in batches}
        report |= times if count == threads[0] else {f"threads_{count}": times}
        rows += [
            {"model": f"{name}, {key.replace('_', ' ')}, {count} threads", **time}
            for key, found in times.items()
            for name, time in found.items()
        ]
    return {**report, "rows": rows}


def _calls(
    trained: Trained, models: Mapping[str, Callable[[int], Model]], *, threads: int, compiled: bool
) -> dict[str, Callable[[NDArray[np.uint8]], object]]:
    eager = trained.deployable()
    calls: dict[str, Callable[[NDArray[np.uint8]], object]] = {"torch": lambda images: eager(torch.from_numpy(images))}
    if compiled:
        fast = torch.compile(eager)
        calls["torch_compiled"] = lambda images: fast(torch.from_numpy(images))
    return calls | {name: open_model(threads).predict for name, open_model in models.items()}


def _times(
    calls: Mapping[str, Callable[[NDArray[np.uint8]], object]], *, size: tuple[int, int], batch: int, runs: int
) -> dict[str, Any]:
    images = numpy_generator(0, "latency").integers(0, 256, (batch, *size, 3), dtype=np.uint8)
    with torch.inference_mode(), third_party_warnings_ignored():
        times = measure({name: partial(call, images) for name, call in calls.items()}, runs=runs, warm_up=_WARM_UP_RUNS)
    reference = times.pop("torch")
    rows = {
        name: {**time.to_dict(), "ratio": round(time.median_ms / reference.median_ms, 3)}
        for name, time in times.items()
    }
    return {"torch": reference.to_dict(), **rows}
