"""Checkpoint files of other projects, read without their packages and without running what is inside.

A ``.pth`` file is a pickle, and a pickle is a program. Here it may make containers and tensors; every other class
or function that it names becomes a stand-in that ignores all it is given (mmengine's HistoryBuffer, optimizer
state, or an attack).
"""

import pickle
import zipfile
from collections import OrderedDict, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, BinaryIO

import safetensors
import torch
from safetensors.torch import load_file
from torch import Tensor

from maskline.core.errors import CheckpointError


@dataclass(frozen=True, kw_only=True)
class Foreign:
    """What a checkpoint holds.

    Args:
        tensors: By name, on the CPU.
        meta: What its makers wrote beside them: configuration text, class names.
    """

    tensors: dict[str, Tensor]
    meta: dict[str, Any]


class Skipped:
    """Stands for whatever a pickle names that is neither container nor tensor; keeps nothing, does nothing."""

    def __new__(cls, *_args: Any, **_keywords: Any) -> "Skipped":
        """Ignore the arguments of a constructor or function."""
        return super().__new__(cls)

    def __init__(self, *_args: Any, **_keywords: Any) -> None:
        pass

    def __call__(self, *_args: Any, **_keywords: Any) -> "Skipped":
        """Ignore a call."""
        return self

    def __setstate__(self, _state: Any) -> None:
        pass

    def __setitem__(self, _key: Any, _value: Any) -> None:
        pass

    def append(self, _item: Any) -> None:
        """Ignore an item."""

    def extend(self, _items: Any) -> None:
        """Ignore items."""

    def add(self, _item: Any) -> None:
        """Ignore an item."""

    def __hash__(self) -> int:
        return id(self)


_ALLOWED: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("collections", "defaultdict"): defaultdict,
    ("torch", "Size"): torch.Size,
    **{
        ("torch._utils", name): getattr(torch._utils, name)
        for name in ("_rebuild_tensor", "_rebuild_tensor_v2", "_rebuild_parameter")
    },
    **{("torch", name): value for name, value in vars(torch).items() if isinstance(value, torch.dtype)},
    **{
        (module, name): kind
        for module in ("builtins", "__builtin__")
        for name, kind in (("set", set), ("list", list), ("dict", dict), ("tuple", tuple))
    },
}


class _Unpickler(pickle.Unpickler):
    """torch.load adds the storages of tensors to this."""

    def find_class(self, module: str, name: str) -> Any:
        return _ALLOWED.get((module, name), Skipped)


def _load(file: BinaryIO, **options: Any) -> Any:
    return _Unpickler(file, **options).load()


_PICKLE = SimpleNamespace(Unpickler=_Unpickler, load=_load, __name__="maskline.weights.reading")


def read_checkpoint(path: Path) -> Foreign:
    """Read a ``.pth``, ``.pt`` or ``.safetensors`` file.

    Raises:
        CheckpointError: No such file, damaged, or without tensors.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(path, "no such file", "name a .pth, .pt or .safetensors file")
    content = _safetensors(path) if path.suffix == ".safetensors" else _pickled(path)
    meta = content.get("meta")
    for key in ("state_dict", "model_state_dict", "model"):
        if isinstance(content.get(key), Mapping):
            content = content[key]
            break
    tensors = {str(key): value.detach() for key, value in content.items() if isinstance(value, Tensor)}
    if not tensors:
        raise CheckpointError(path, "holds no tensors", "name the file with the network's weights")
    if all(key.startswith("module.") for key in tensors):  # saved from inside a data-parallel wrapper
        tensors = {key.removeprefix("module."): value for key, value in tensors.items()}
    return Foreign(tensors=tensors, meta=dict(meta) if isinstance(meta, Mapping) else {})


def _safetensors(path: Path) -> dict[str, Any]:
    try:
        return dict(load_file(path))
    except safetensors.SafetensorError as error:
        raise CheckpointError(path, f"damaged ({error})", "copy it anew") from error


def _pickled(path: Path) -> dict[str, Any]:
    if _is_torchscript(path):
        raise CheckpointError(path, "a TorchScript program", "give the state dict that it was made from")
    try:
        content = torch.load(path, map_location="cpu", pickle_module=_PICKLE, weights_only=False)
    except Exception as error:  # a damaged pickle can raise anything
        text = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise CheckpointError(path, f"damaged, or no checkpoint ({text})", "copy it anew") from error
    if not isinstance(content, Mapping):
        raise CheckpointError(path, "holds no state dict", "save model.state_dict(), not the model itself")
    return dict(content)


def _is_torchscript(path: Path) -> bool:
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())
