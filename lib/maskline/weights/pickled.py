"""Tensors and plain containers of a file that ``torch.save`` wrote; nothing that the file names is run.

Such a file is a pickle, and a pickle is a program. It is run by a machine of our own, not by Python's, which makes
lists, tuples, mappings and tensors alone: whatever else the file names (mmengine's HistoryBuffer, optimizer state, or
an attack) becomes a stand-in that keeps nothing. No object's state is set, keys are words and whole numbers, and the
file's own bytes bound what is made. One parser reads the file: what was checked is what is used. ``torch.load`` reads
an archive by another one, which can see other members than Python's, and hands what it takes for TorchScript over to
be run.

Of the forms that PyTorch has had: the zip archive (1.6 and later) and the row of pickles before it. The tar archive of
the time before 0.1.10 is refused.
"""

import io
import math
import operator
import pickletools
import stat
import sys
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor

from maskline.core.errors import CheckpointError

_MAGIC, _PROTOCOL = 0x1950A86A20F9469CFC6C, 1001  # of the row of pickles
_TAR_MAGIC = slice(257, 262)
_SAVE_AGAIN = "load it where it was made, and torch.save(model.state_dict(), ...) anew"
# A network has some thousand tensors, of about 40 steps each; most of a training run's file are numbers of its log.
_MOST_STEPS = 2_000_000
_MOST_AXES, _MOST_INDEX, _MOST_VIEWS = 64, 1 << 60, 4
_SHOWN = 200  # characters of what a parser complains of


class Skipped:
    """Stands for whatever a pickle names that is neither container nor tensor."""


_SKIPPED = Skipped()


def read_pickled(path: Path) -> Any:
    """Return what ``torch.save`` was given, its tensors on the CPU.

    No more memory is taken for tensors than the file has bytes; views of them have at most four times as many.

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
        text = (str(error).strip() or type(error).__name__).splitlines()[0][:_SHOWN]
        raise CheckpointError(path, f"damaged, or no checkpoint ({text})", "copy it anew") from error


def _tensor(storage: Any, offset: int, size: Any, stride: Any, *_further: Any) -> Tensor | Skipped:
    """Stand in for torch's own: it enlarges a storage that is too small, and this refuses it."""
    if not isinstance(storage, Tensor):
        return _SKIPPED
    if len(size) > _MOST_AXES or not all(type(side) is int and 0 <= side < _MOST_INDEX for side in size):
        raise ValueError("a tensor of no shape")
    if math.prod(size) > storage.numel():
        raise ValueError(f"a tensor of more values than the {storage.numel()} that are stored")
    return storage.as_strided(tuple(size), tuple(stride), offset)


def _parameter(value: Any, *_further: Any) -> Any:
    return value


def _sequence(kind: type[list[Any]] | type[tuple[Any, ...]]) -> "_Called":
    return lambda items=(), *_: kind(items) if isinstance(items, list | tuple) else _SKIPPED


def _mapping(items: Any = (), *_further: Any) -> dict[Any, Any]:
    """Return what pairs make: Python 2 gives those of an OrderedDict at once."""
    if isinstance(items, dict):
        return dict(items)
    return _with_items({}, items if isinstance(items, list | tuple) else ())


def _with_items(mapping: dict[Any, Any], pairs: Iterable[tuple[Any, Any]]) -> dict[Any, Any]:
    """Add what has a key that is a word or an index; the hash of another one can take any time and depth."""
    mapping.update(
        (key, value)
        for key, value in pairs
        if isinstance(key, str) or (isinstance(key, int) and abs(key) < _MOST_INDEX)
    )
    return mapping


def _paired(mapping: dict[Any, Any], items: list[Any]) -> dict[Any, Any]:
    return _with_items(mapping, zip(items[::2], items[1::2], strict=True))


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
_Called = Callable[..., Any]
_CALLED: dict[tuple[str, str], _Called] = {
    ("collections", "OrderedDict"): _mapping,
    ("collections", "defaultdict"): lambda *_: {},
    ("torch", "Size"): _sequence(tuple),
    ("torch._utils", "_rebuild_tensor"): _tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_parameter"): _parameter,
    **{
        (module, name): kind
        for module in ("builtins", "__builtin__")
        for name, kind in (("list", _sequence(list)), ("dict", _mapping), ("tuple", _sequence(tuple)))
    },
}
_DTYPES: dict[tuple[str, str], torch.dtype] = {
    # No other ones: torch ends the process on tensors of some, such as the quantized ones.
    **{
        ("torch", name): value
        for name, value in vars(torch).items()
        if isinstance(value, torch.dtype) and value in _STORAGES.values()
    },
    **{
        (module, name): dtype
        for module in ("torch", "torch.cuda", "torch.storage")
        for name, dtype in _STORAGES.items()
    },
}


@dataclass(frozen=True)
class _Function:
    """One of ``_CALLED``, told from all else that lies on the stack."""

    call: _Called


class _Machine:
    """Does the steps of one pickle.

    Args:
        storage: Returns the values of a storage for its persistent id; None: there are none.
        most_bytes: Of all tensors together, counted as often as a storage is seen.
    """

    def __init__(self, storage: Callable[..., Any] | None = None, *, most_bytes: int = 0) -> None:
        self._storage, self._left_bytes, self._left = storage, most_bytes, _MOST_STEPS
        self.stack: list[Any] = []
        self._marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def run(self, stream: IO[bytes]) -> Any:
        """Return what the pickle makes; the stream is left behind its end."""
        for opcode, argument, _ in pickletools.genops(stream):
            self._count(1)
            if opcode.name in _VALUES:
                self.stack.append(argument)
            elif opcode.name != "STOP":
                if opcode.name not in _STEPS:
                    raise ValueError(f"a pickle with {opcode.name}")
                _STEPS[opcode.name](self, argument)
        return self.stack.pop()

    def _count(self, steps: int) -> None:
        self._left -= steps
        if self._left < 0:
            raise ValueError(f"more than {_MOST_STEPS} values")

    def word(self, argument: str) -> None:
        self.stack.append(argument.encode("latin-1").decode("utf-8"))  # of what Python 2 wrote

    def mark(self, _argument: Any) -> None:
        self._marks.append(len(self.stack))

    def since_mark(self) -> list[Any]:
        start = self._marks.pop()
        items = self.stack[start:]
        del self.stack[start:]
        return items

    def pop(self, _argument: Any) -> None:
        if self._marks and self._marks[-1] == len(self.stack):
            self._marks.pop()
        else:
            self.stack.pop()

    def last(self, count: int) -> list[Any]:
        """Take that many from the stack."""
        if len(self.stack) < count:
            raise ValueError("a pickle that takes what is not there")
        items = self.stack[-count:]
        del self.stack[-count:]
        return items

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def put(self, index: int | None) -> None:
        index = len(self.memo) if index is None else index
        if not 0 <= index < _MOST_INDEX:
            raise ValueError("a place that no pickle has")
        self.memo[index] = self.stack[-1]

    def add(self, items: list[Any]) -> None:
        if isinstance(self.stack[-1], list):
            self.stack[-1].extend(items)

    def pair(self, items: list[Any]) -> None:
        if isinstance(self.stack[-1], dict):
            _paired(self.stack[-1], items)

    def find(self, *key: Any) -> None:
        if not all(isinstance(part, str) for part in key):
            raise ValueError("a class without a name")
        self.stack.append(_Function(_CALLED[key]) if key in _CALLED else _DTYPES.get(key, _SKIPPED))

    def reduce(self, _argument: Any) -> None:
        arguments, function = self.stack.pop(), self.stack.pop()
        result = _SKIPPED
        if isinstance(function, _Function):
            # What is given is copied, and may lie in the memo to be given again and again.
            self._count(len(arguments) + sum(len(each) for each in arguments if isinstance(each, list | tuple | dict)))
            result = function.call(*arguments)
        if isinstance(result, Tensor):
            self._left_bytes -= result.nbytes
            if self._left_bytes < 0:
                raise ValueError("the same values in too many tensors")
        self.stack.append(result)

    def persistent(self, _argument: Any) -> None:
        reference = self.stack.pop()
        self._count(len(reference))
        kind, *rest = reference
        if _text(kind) == "module":  # a whole network: its class
            self.stack.append(rest[0])
        elif self._storage is None or _text(kind) != "storage":
            raise ValueError("a reference to something else than a storage")
        else:
            self.stack.append(self._storage(*rest))

    def skip(self, _replaced: list[Any]) -> None:
        """Put the stand-in in the place of some objects."""
        self.stack.append(_SKIPPED)


_VALUES = {
    *("NONE", "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "STRING"),
    *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
}
_Step = Callable[[_Machine, Any], object]
_STEPS: dict[str, _Step] = {
    **dict.fromkeys(("PROTO", "FRAME"), lambda *_: None),
    **dict.fromkeys(("BINSTRING", "SHORT_BINSTRING"), _Machine.word),
    "NEWTRUE": lambda machine, _: machine.push(True),
    "NEWFALSE": lambda machine, _: machine.push(False),
    "EMPTY_LIST": lambda machine, _: machine.push([]),
    "EMPTY_DICT": lambda machine, _: machine.push({}),
    "EMPTY_TUPLE": lambda machine, _: machine.push(()),
    "EMPTY_SET": lambda machine, _: machine.push(_SKIPPED),
    "MARK": _Machine.mark,
    "POP": _Machine.pop,
    "POP_MARK": lambda machine, _: machine.since_mark(),
    "DUP": lambda machine, _: machine.push(machine.stack[-1]),
    "LIST": lambda machine, _: machine.push(machine.since_mark()),
    "TUPLE": lambda machine, _: machine.push(tuple(machine.since_mark())),
    "TUPLE1": lambda machine, _: machine.push(tuple(machine.last(1))),
    "TUPLE2": lambda machine, _: machine.push(tuple(machine.last(2))),
    "TUPLE3": lambda machine, _: machine.push(tuple(machine.last(3))),
    "DICT": lambda machine, _: machine.push(_paired({}, machine.since_mark())),
    "APPEND": lambda machine, _: machine.add(machine.last(1)),
    "APPENDS": lambda machine, _: machine.add(machine.since_mark()),
    "SETITEM": lambda machine, _: machine.pair(machine.last(2)),
    "SETITEMS": lambda machine, _: machine.pair(machine.since_mark()),
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"), _Machine.put),
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), lambda machine, index: machine.push(machine.memo[index])),
    "GLOBAL": lambda machine, argument: machine.find(*argument.split(" ", 1)),
    "STACK_GLOBAL": lambda machine, _: machine.find(*machine.last(2)),
    **dict.fromkeys(("REDUCE", "NEWOBJ"), _Machine.reduce),
    "BINPERSID": _Machine.persistent,
    "BUILD": lambda machine, _: machine.last(1),  # what an object would set in itself
    "ADDITEMS": lambda machine, _: machine.since_mark(),  # of a set
    **dict.fromkeys(("FROZENSET", "INST", "OBJ"), lambda machine, _: machine.skip(machine.since_mark())),
    "NEWOBJ_EX": lambda machine, _: machine.skip(machine.last(3)),
}


class _Budget:
    """Bytes of tensors that a file can hold: those of the file."""

    def __init__(self, path: Path, stream: IO[bytes]) -> None:
        self._path = path
        self.whole = self._left = stream.seek(0, 2)
        stream.seek(0)

    def memory(self, count: int, dtype: torch.dtype | Skipped) -> tuple[bytearray, Tensor]:
        """Return zeros and the tensor of ``count`` values that shares them."""
        if not isinstance(dtype, torch.dtype):
            problem = "quantized tensors, or tensors of another type of number that is not read"
            raise CheckpointError(self._path, problem, "save the state dict of the network in float32")
        size = operator.index(count) * dtype.itemsize
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
        order = archive.read(members["byteorder"]).decode() if "byteorder" in members else sys.byteorder
        if order not in ("little", "big"):
            raise ValueError(f"byte order {order!r}")
        budget, storages = _Budget(path, stream), dict[str, Tensor]()

        def storage(dtype: torch.dtype | Skipped, key: Any, _place: Any, count: int, *_view: Any) -> Tensor:
            name = _text(key)
            if name not in storages:
                content, storages[name] = budget.memory(count, dtype)
                with archive.open(members[f"data/{name}"]) as source:
                    _fill(source, content)
                if order != sys.byteorder:
                    storages[name].untyped_storage().byteswap(dtype)  # type: ignore[no-untyped-call]
            return storages[name]

        source = io.BytesIO(archive.read(members["data.pkl"]))
        return _Machine(storage, most_bytes=_MOST_VIEWS * budget.whole).run(source)


def _from_row(path: Path, stream: IO[bytes]) -> Any:
    """Read magic number, version, system, the object, keys of its storages, and their values in this order."""
    budget, storages = _Budget(path, stream), dict[str, tuple[bytearray, Tensor]]()
    if (_Machine().run(stream), _Machine().run(stream)) != (_MAGIC, _PROTOCOL):
        raise CheckpointError(path, "damaged, or no checkpoint (another kind of file)", "copy it anew")
    _Machine().run(stream)

    def storage(dtype: torch.dtype | Skipped, key: Any, _place: Any, count: int, view: Any = None) -> Tensor:
        name = _text(key)
        if name not in storages:
            storages[name] = budget.memory(count, dtype)
        values = storages[name][1]
        return values if view is None else values[view[1] : view[1] + view[2]]

    content = _Machine(storage, most_bytes=_MOST_VIEWS * budget.whole).run(stream)
    for key in _Machine().run(stream):
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
    if not isinstance(value, str | bytes | int):
        raise TypeError("a storage without a name")
    return value.decode("ascii") if isinstance(value, bytes) else str(value)
