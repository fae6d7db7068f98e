"""The receipt: what a model was made of, as hashes and versions that do not change from run to run."""

import platform
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from maskline.cli import package_lock
from maskline.core.code_hash import loaded_sha256
from maskline.core.files import read_rows, sha256_file, sha256_json
from maskline.runtime.device import Compute
from maskline.runtime.processes import distributed

_LIBRARIES = ("torch", "numpy", "pillow", "kornia", "segmentation-models-pytorch", "timm")


def receipt(
    *,
    params: Mapping[str, Any],
    prepared: Path,
    lock: Path,
    compute: Compute,
    threads: int,
    compiled: bool,
    own_code: Mapping[str, str],
) -> dict[str, Any]:
    """Return what determines the weights: data, params, code, libraries, device, thread count.

    Args:
        params: The sections that training reads, as plain types.
        prepared: Folder of the manifest, whose rows hold the hash of every image and mask.
        lock: The file of all packages' versions; where there is none, the receipt says so.
        compute: Resolved device and precision.
        threads: CPU threads.
        compiled: The network is compiled.
        own_code: File -> SHA-256 of the user's own code.
    """
    manifest = prepared / "manifest.csv"
    return {
        "manifest_sha256": sha256_file(manifest),
        "images_sha256": _column_sha256(manifest, "image_sha256"),
        "masks_sha256": _column_sha256(manifest, "mask_sha256"),
        "labels_sha256": sha256_file(prepared / "labels.json"),
        "params_sha256": sha256_json(dict(params)),
        "code_sha256": loaded_sha256(),
        **({"own_code": dict(own_code)} if own_code else {}),
        "lock_sha256": sha256_file(lock) if lock.is_file() else None,
        **({"installed_instead": other} if (other := package_lock.differences(lock)) else {}),
        "libraries": {name: version(name) for name in _LIBRARIES},
        "python": platform.python_version(),
        "device": compute.device.type,
        "device_name": _device_name(compute.device),
        "precision": compute.precision,
        "channels_last": compute.channels_last,
        "compiled": compiled,
        "devices": distributed.size(),
        "threads": threads,
        "random_numbers": "blake2b(seed, purpose, iteration, position) -> Philox, torch CPU generator",
    }


def _column_sha256(manifest: Path, column: str) -> str:
    """Return one hash over each image's name and the hash that a column of the manifest has for it."""
    rows = read_rows(manifest, remedy="convert again (dvc repro -f convert)")
    return sha256_json({row["id"]: row[column] for row in rows})


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}"
