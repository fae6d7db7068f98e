"""Times of the exported files beside torch on the same work."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from maskline.export.latency import measure
from maskline.export.package import Trained
from maskline.export.runtime_onnx import OnnxModel
from maskline.export.trace import Deployable
from maskline.seeds import numpy_generator

_WARM_UP_RUNS = 3


def latency(
    trained: Trained,
    models: Mapping[str, Path],
    *,
    size: tuple[int, int],
    batches: tuple[int, ...],
    runs: int,
    threads: int,
) -> dict[str, Any]:
    """Time the exported files beside torch eager on the same work: uint8 images in, labels and probabilities out.

    Args:
        trained: The network.
        models: Name -> ONNX file.
        size: Height and width of the images.
        batches: Images a call, one row of times each.
        runs: Timed runs of each.
        threads: CPU threads of all.

    Returns:
        Plain types; ``batch_N`` holds the times of torch and of each file, whose ``ratio`` is its median over torch's.
    """
    torch.set_num_threads(threads)
    eager = trained.deployable()
    sessions = {name: OnnxModel(path, threads=threads) for name, path in models.items()}
    report: dict[str, Any] = {"threads": threads, "height": size[0], "width": size[1], "runs": runs}
    for batch in batches:
        images = numpy_generator(0, "latency").integers(0, 256, (batch, *size, 3), dtype=np.uint8)
        report[f"batch_{batch}"] = _times(eager, sessions, images, runs=runs)
    return report


def _times(
    eager: Deployable, sessions: Mapping[str, OnnxModel], images: NDArray[np.uint8], *, runs: int
) -> dict[str, Any]:
    tensor = torch.from_numpy(images)
    calls: dict[str, Callable[[], object]] = {"torch": lambda: eager(tensor)}
    calls |= {name: partial(session.predict, images) for name, session in sessions.items()}
    with torch.inference_mode():
        times = measure(calls, runs=runs, warm_up=_WARM_UP_RUNS)
    reference = times.pop("torch")
    rows = {
        name: {**time.to_dict(), "ratio": round(time.median_ms / reference.median_ms, 3)}
        for name, time in times.items()
    }
    return {"torch": reference.to_dict(), **rows}
