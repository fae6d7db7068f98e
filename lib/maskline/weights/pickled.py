"""Tensors and plain containers of a file that ``torch.save`` wrote; nothing that the file names is run.

Such a file is a pickle, and a pickle is a program. Here it may make containers and tensors; every other class or
function that it names becomes a stand-in that ignores all it is given (mmengine's HistoryBuffer, optimizer state, or
an attack). One parser reads the file: what was checked is what is used. ``torch.load`` reads an archive by another
one, which can see other members than Python's, and hands what it takes for TorchScript over to be run.

Of the forms that PyTorch has had: the zip archive (1.6 and later) and the row of pickles before it. The tar archive of
the time before 0.1.10 is refused.
"""

import pickle
import stat
import sys
import zipfile
from collections import OrderedDict, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor

from maskline.core.errors import CheckpointError

_MAGIC, _PROTOCOL = 0x1950A86A20F9469CFC6C, 1001  # of the row of pickles
_TAR_MAGIC = slice(257, 262)
_SAVE_AGAIN = "load it where it was made, and torch.save(model.state_dict(), ...) anew"


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


def read_pickled(path: Path) -> Any:
    """Return what ``torch.save`` was given, its tensors on the CPU.

    No more memory is taken for tensors than the file has bytes.

    Raises:
        CheckpointError: Not a plain file, damaged, compressed, a TorchScript program, or in the tar form.
    """
    if not stat.S_ISREG(path.stat().st_mode):  # a pipe or device would be waited for
        raise CheckpointError(path, "not a plain file", "name a .pth, .pt or .safetensors file")
    try:
        with path.open("rb") as stream:
            head = stream.read(512)
            stream.seek(0)
            if head[_TAR_MAGIC] == b"ustar":
                raise CheckpointError(path, "in the tar form of PyTorch before 0.1.10", _SAVE_AGAIN)
            return _from_zip(path, stream) if head.startswith(b"PK") else _from_row(path, stream)
    except CheckpointError:
        raise
    except Exception as error:  # a damaged pickle can raise anything
        text = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise CheckpointError(path, f"damaged, or no checkpoint ({text})", "copy it anew") from error


def _tensor(storage: Any, offset: int, size: Any, stride: Any, *_further: Any) -> Tensor | Skipped:
    """Stand in for torch's own: it enlarges a storage that is too small, and this refuses it."""
    if not isinstance(storage, Tensor):
        return Skipped()
    tensor = storage.as_strided(tuple(size), tuple(stride), offset)
    if tensor.numel() > storage.numel():
        raise ValueError(f"a tensor of {tensor.numel()} values of which {storage.numel()} are stored")
    return tensor


def _parameter(value: Any, *_further: Any) -> Any:
    return value


_STORAGES = {
    f"{kind}Storage": dtype
    for kind, dtype in {
        "Double": torch.float64,
        "Float": torch.float32,
        "Half": torch.float16,
        "BFloat16": torch.bfloat16,
        "Long": torch.int64,
        "Int": torch.int32,
        "Short": torch.int16,
        "Char": torch.int8,
        "Byte": torch.uint8,
        "Bool": torch.bool,
        "ComplexFloat": torch.complex64,
        "ComplexDouble": torch.complex128,
        "Untyped": torch.uint8,
    }.items()
}
_ALLOWED: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("collections", "defaultdict"): defaultdict,
    ("torch", "Size"): torch.Size,
    ("torch._utils", "_rebuild_tensor"): _tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_parameter"): _parameter,
    **{("torch", name): value for name, value in vars(torch).items() if isinstance(value, torch.dtype)},
    **{
        (module, name): dtype
        for module in ("torch", "torch.cuda", "torch.storage")
        for name, dtype in _STORAGES.items()
    },
    **{
        (module, name): kind
        for module in ("builtins", "__builtin__")
        for name, kind in (("set", set), ("list", list), ("dict", dict), ("tuple", tuple))
    },
}


class _Unpickler(pickle.Unpickler):
    """Makes containers and tensors alone.

    Args:
        stream: Of the pickle; left behind its end.
        storage: Returns the values of a storage for its persistent id.
    """

    def __init__(self, stream: IO[bytes], storage: Callable[..., Any] | None = None) -> None:
        super().__init__(stream, encoding="utf-8")  # of what Python 2 wrote
        self._storage = storage

    def find_class(self, module: str, name: str) -> Any:
        return _ALLOWED.get((module, name), Skipped)

    def persistent_load(self, pid: Any) -> Any:
        kind, *rest = pid
        if _text(kind) == "module":  # a whole network: its class
            return rest[0]
        if self._storage is None or _text(kind) != "storage":
            raise ValueError(f"a reference to {kind!r}")
        return self._storage(*rest)


class _Budget:
    """Bytes of tensors that a file can hold: those of the file."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._left = stream.seek(0, 2)
        stream.seek(0)

    def memory(self, count: int, dtype: torch.dtype) -> tuple[bytearray, Tensor]:
        """Return zeros and the tensor of ``count`` values that shares them."""
        size = count * dtype.itemsize
        if count < 0 or size > self._left:
            raise ValueError("it declares more values than it holds")
        self._left -= size
        content = bytearray(size)
        return content, torch.frombuffer(content, dtype=dtype) if size else torch.empty(0, dtype=dtype)


def _from_zip(path: Path, stream: IO[bytes]) -> Any:
    with zipfile.ZipFile(stream) as archive:
        members = {info.filename.partition("/")[2]: info for info in archive.infolist()}
        if "constants.pkl" in members:
            raise CheckpointError(path, "a TorchScript program", "give the state dict that it was made from")
        for info in members.values():
            if info.compress_type != zipfile.ZIP_STORED:
                raise CheckpointError(path, f"compressed ({info.filename})", _SAVE_AGAIN)
            if info.CRC == 0:  # written without checksums (torch.serialization.set_crc32_options)
                del info.CRC
        swapped = "byteorder" in members and archive.read(members["byteorder"]).decode() != sys.byteorder
        budget, storages = _Budget(stream), dict[str, Tensor]()

        def storage(dtype: torch.dtype, key: Any, _place: Any, count: int, *_view: Any) -> Tensor:
            name = _text(key)
            if name not in storages:
                content, storages[name] = budget.memory(count, dtype)
                with archive.open(members[f"data/{name}"]) as source:
                    _fill(source, content)
                if swapped:
                    storages[name].untyped_storage().byteswap(dtype)  # type: ignore[no-untyped-call]
            return storages[name]

        with archive.open(members["data.pkl"]) as source:
            return _Unpickler(source, storage).load()


def _from_row(path: Path, stream: IO[bytes]) -> Any:
    """Read magic number, version, system, the object, keys of its storages, and their values in this order."""
    budget, storages = _Budget(stream), dict[str, tuple[bytearray, Tensor]]()
    if (_Unpickler(stream).load(), _Unpickler(stream).load()) != (_MAGIC, _PROTOCOL):
        raise CheckpointError(path, "damaged, or no checkpoint (another kind of file)", "copy it anew")
    _Unpickler(stream).load()

    def storage(dtype: torch.dtype, key: Any, _place: Any, count: int, view: Any = None) -> Tensor:
        name = _text(key)
        if name not in storages:
            storages[name] = budget.memory(count, dtype)
        values = storages[name][1]
        return values if view is None else values[view[1] : view[1] + view[2]]

    content = _Unpickler(stream, storage).load()
    for key in _Unpickler(stream).load():
        memory, values = storages[_text(key)]
        if int.from_bytes(stream.read(8), "little") != values.numel():
            raise ValueError("a storage of another size than declared")
        _fill(stream, memory)
    return content


def _fill(source: IO[bytes], memory: bytearray) -> None:
    """Read as many bytes as there is room for.

    Raises:
        EOFError: There are fewer.
    """
    view, done = memoryview(memory), 0
    while done < len(memory):
        count = source.readinto(view[done:])  # type: ignore[attr-defined]
        if not count:
            raise EOFError("it ends inside of a tensor")
        done += count
    if isinstance(source, zipfile.ZipExtFile) and source.read(1):  # at the end the checksum is compared
        raise ValueError("a storage of another size than declared")


def _text(value: Any) -> str:
    return value.decode("ascii") if isinstance(value, bytes) else str(value)
