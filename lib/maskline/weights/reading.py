"""Checkpoint files of other projects, read without their packages and without running what is inside."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from maskline.core.errors import CheckpointError
from maskline.runtime.checkpoint import MOST_TENSORS, read_tensors
from maskline.weights.pickled import read_pickled


@dataclass(frozen=True, kw_only=True)
class Foreign:
    """What a checkpoint holds.

    Args:
        tensors: By name, on the CPU.
        meta: What its makers wrote beside them: configuration text, class names.
    """

    tensors: dict[str, Tensor]
    meta: dict[str, Any]


def read_checkpoint(path: Path) -> Foreign:
    """Read a ``.pth``, ``.pt`` or ``.safetensors`` file.

    Raises:
        CheckpointError: No such file, damaged, or without tensors.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(path, "no such file", "name a .pth, .pt or .safetensors file")
    content: dict[str, Any] = (
        {**read_tensors(path, remedy="copy it anew", most=MOST_TENSORS)}
        if path.suffix == ".safetensors"
        else _pickled(path)
    )
    meta = content.get("meta")
    for key in ("state_dict", "model_state_dict", "model"):
        if isinstance(content.get(key), Mapping):
            content = content[key]
            break
    tensors = {
        key: value.detach() for key, value in content.items() if isinstance(key, str) and isinstance(value, Tensor)
    }
    if not tensors:
        raise CheckpointError(path, "holds no tensors", "name the file with the network's weights")
    if all(key.startswith("module.") for key in tensors):  # saved from inside a data-parallel wrapper
        tensors = {key.removeprefix("module."): value for key, value in tensors.items()}
    return Foreign(tensors=tensors, meta=dict(meta) if isinstance(meta, Mapping) else {})


def _pickled(path: Path) -> dict[str, Any]:
    content = read_pickled(path)
    if not isinstance(content, Mapping):
        raise CheckpointError(path, "holds no state dict", "save model.state_dict(), not the model itself")
    return dict(content)
