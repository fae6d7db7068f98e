"""The receipt: what a model was made of, as hashes and versions that do not change from run to run."""

import platform
import sys
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from maskline.engine.device import Compute
from maskline.files import sha256_file, sha256_json

_LIBRARIES = ("torch", "numpy", "pillow", "kornia", "segmentation-models-pytorch", "timm")


def receipt(*, params: Mapping[str, Any], prepared: Path, compute: Compute, threads: int) -> dict[str, Any]:
    """Return what determines the weights: data, params, code, libraries, device, thread count.

    Args:
        params: The sections that training reads, as plain types.
        prepared: Folder of the manifest, whose rows hold the hash of every image and mask.
        compute: Resolved device and precision.
        threads: CPU threads.
    """
    return {
        "manifest_sha256": sha256_file(prepared / "manifest.csv"),
        "labels_sha256": sha256_file(prepared / "labels.json"),
        "params_sha256": sha256_json(dict(params)),
        "code_sha256": code_sha256(),
        "libraries": {name: version(name) for name in _LIBRARIES},
        "python": platform.python_version(),
        "device": compute.device.type,
        "device_name": _device_name(compute.device),
        "precision": compute.precision,
        "channels_last": compute.channels_last,
        "threads": threads,
        "random_numbers": "blake2b(seed, purpose, iteration, position) -> Philox, torch CPU generator",
    }


def code_sha256() -> str:
    """Return one hash over this package's files that the running process has loaded.

    Files that it has not loaded are no input of the run, and DVC would not see that they are in its output.
    """
    loaded = {name: module.__file__ for name, module in sorted(sys.modules.items()) if name.split(".")[0] == "maskline"}
    return sha256_json({name: sha256_file(Path(file)) for name, file in loaded.items() if file})


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}"
