"""Peak memory of ``maskline predict --stream`` on a large drawn image and a tiny network.

``python -m tools.stream_memory 20000`` draws an image of that width and height as a TIFF, segments it in a process of
its own and prints one line of JSON: size, peak resident memory in MiB, seconds.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from tools.closure import ROOT
from tools.trial import write_params

_TILE = 256
_NETWORK = {
    "model.backbone.base_channels": 4,
    "model.backbone.num_stages": 2,
    "model.decode_head.channels": 4,
    "model.auxiliary_heads": [],
}
# Runs the command and tells its peak in KiB. getrusage would count what the parent held when it started the process.
_RUN = """
import sys
from maskline.commands.main import main
try:
    main()
finally:
    sys.stderr.flush()
    print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


def measure(folder: Path, *, height: int, width: int, window: int, stream_mib: int) -> dict[str, Any]:
    """Segment a drawn image by rows and return its size, the peak memory in MiB and the time in seconds.

    Args:
        folder: Empty; gets the image, the network and the result.
        height: Of the image, px.
        width: Of the image, px.
        window: Side of the sliding window, px; the windows do not overlap.
        stream_mib: As predict.stream_mib.
    """
    params_path = _settings(folder, window, stream_mib)
    _network(folder / "models", params_path)
    image = folder / "large.tif"
    tifffile.imwrite(
        image,
        _tiles(height, width),
        shape=(height, width, 3),
        dtype=np.uint8,
        photometric="rgb",
        tile=(_TILE, _TILE),
        compression="zlib",
    )
    arguments = ["predict", folder / "models", image, "-o", folder / "out", "--params", params_path, "--stream"]
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", _RUN, *map(str, arguments), "--save", "index", "--threads", "2"],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    if done.returncode != 0:
        raise RuntimeError(done.stderr)
    seconds = time.perf_counter() - started
    peak = int(done.stdout.split()[-1]) / 1024
    return {"height": height, "width": width, "peak_mib": round(peak), "seconds": round(seconds, 1)}


def _tiles(height: int, width: int) -> Iterator[NDArray[np.uint8]]:
    """Yield the tiles of a smooth pattern, so that the file is small."""
    inside = np.arange(_TILE, dtype=np.uint32)
    for top in range(0, height, _TILE):
        for left in range(0, width, _TILE):
            gray = (((top + inside[:, None]) // 16 + (left + inside) // 16) % 256).astype(np.uint8)
            yield np.repeat(gray[..., None], 3, axis=2)


def _settings(folder: Path, window: int, stream_mib: int) -> Path:
    path = folder / "params.yaml"
    path.write_bytes((ROOT / "params.yaml").read_bytes())
    evaluate = {"window": [window] * 2, "stride": [window] * 2, "stream_mib": stream_mib}
    write_params(path, _NETWORK | {f"evaluate.{key}": value for key, value in evaluate.items()})
    return path


def _network(folder: Path, params_path: Path) -> None:
    from maskline.builders.model import segmentor
    from maskline.data.labels import LabelSet
    from maskline.params.whole import load_params
    from maskline.runtime.checkpoint import save_model

    model = load_params(params_path).model
    weights = segmentor(model, num_classes=2).state_dict()
    card = {
        "params": {"model": model.model_dump(mode="json")},
        "labels": LabelSet(class_names=("background", "vessel"), palette=((0, 0, 0), (230, 60, 60))).to_dict(),
        "preprocessing": {"mean": [*model.numbers()[0]], "std": [*model.numbers()[1]], "scale": 255},
        "receipt": {},
    }
    save_model(folder, weights=weights, last=weights, card=card)


def main() -> None:
    """Measure the size that the command line names."""
    side = int(sys.argv[1])
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(measure(Path(folder), height=side, width=side, window=512, stream_mib=512)))


if __name__ == "__main__":
    main()
