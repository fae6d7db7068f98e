"""Times of the exported files beside torch on the same work."""

import csv
import io
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from maskline.core.seeds import numpy_generator
from maskline.export.latency import measure
from maskline.export.package import Trained
from maskline.export.parity import Model
from maskline.export.trace import third_party_warnings_ignored

_WARM_UP_RUNS = 3
_ONNX_FILES = {"fp32": "model.onnx", "fp16": "model-fp16.onnx", "int8": "model-int8.onnx"}


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
        those of further numbers of threads stand under ``threads_N``; ``fastest`` is the .onnx file that took least
        time at the first batch and number of threads.
    """
    report: dict[str, Any] = {"threads": threads[0], "height": size[0], "width": size[1], "runs": runs}
    for count in threads:
        torch.set_num_threads(count)
        calls = _calls(trained, models, threads=count, compiled=compiled)
        shapes = {f"batch_{batch}": (batch, *size, len(trained.mean)) for batch in batches}
        times = {name: _times(calls, shape=shape, runs=runs) for name, shape in shapes.items()}
        report |= times if count == threads[0] else {f"threads_{count}": times}
    return report | {"fastest": fastest(report[f"batch_{batches[0]}"])}


def fastest(times: Mapping[str, Any]) -> str:
    """Return the file that took least time among those that onnxruntime opens.

    Args:
        times: Those of one batch, by the name of the model.
    """
    opened = {name: time["median_ms"] for name, time in times.items() if name in _ONNX_FILES}
    return _ONNX_FILES[min(opened, key=lambda name: opened[name])]


def table(report: Mapping[str, Any], *, sizes: Mapping[str, int]) -> str:
    """Return the times of ``latency`` as CSV: one row a model, batch and number of threads.

    Args:
        report: From ``latency``.
        sizes: Name -> bytes of its files; torch has none.
    """
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(
        ["model", "name", "batch", "threads", "median_ms", "p95_ms", "ratio", "bytes", "height", "width", "runs"]
    )
    further = {
        int(key.removeprefix("threads_")): batches for key, batches in report.items() if key.startswith("threads_")
    }
    for threads, batches in {report["threads"]: report, **further}.items():
        for key in (key for key in batches if key.startswith("batch_")):
            batch = int(key.removeprefix("batch_"))
            for name, time in batches[key].items():
                label = f"{name}, batch {batch}, {threads} thread{'s' if threads > 1 else ''}"
                row = [label, name, batch, threads, time["median_ms"], time["p95_ms"], time.get("ratio", 1.0)]
                writer.writerow([*row, sizes.get(name, ""), report["height"], report["width"], report["runs"]])
    return stream.getvalue()


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
    calls: Mapping[str, Callable[[NDArray[np.uint8]], object]], *, shape: tuple[int, int, int, int], runs: int
) -> dict[str, Any]:
    images = numpy_generator(0, "latency").integers(0, 256, shape, dtype=np.uint8)
    with torch.inference_mode(), third_party_warnings_ignored():
        times = measure({name: partial(call, images) for name, call in calls.items()}, runs=runs, warm_up=_WARM_UP_RUNS)
    reference = times.pop("torch")
    rows = {
        name: {**time.to_dict(), "ratio": round(time.median_ms / reference.median_ms, 3)}
        for name, time in times.items()
    }
    return {"torch": reference.to_dict(), **rows}


def headline(agreement: Mapping[str, Any], measured: Mapping[str, Any], *, split: str, batch: int) -> str:
    """Return agreement and time of model.onnx beside torch's, in a line."""
    seen, ratio = agreement[split], measured[f"batch_{batch}"]["fp32"]["ratio"]
    return f"{seen['differing_pixels']} of {seen['pixels']} {split} pixels differ from torch, {ratio:.2f} of its time"
