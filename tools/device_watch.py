"""Looks at each operation of torch inside a block: its device, what it copies, what it reads back, how many there are.

It stands for a GPU where there is none: tensors of the meta device have shapes and types and no values, so a whole
training step runs on them in little time. By itself the meta device lets a weight of the CPU pass in some operations,
copies without a word, and refuses to be read; here each of these is written down, and what is read gets an answer.
"""

import collections
import itertools
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, Self

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from tools.closure import ROOT

# What waits for the device by itself: the size or the value of its result is read.
_READS = {
    "_local_scalar_dense",
    "nonzero",
    "masked_select",
    "unique",
    "_unique2",
    "unique_dim",
    "unique_consecutive",
    "equal",
    "is_nonzero",
    "bincount",
    "argwhere",
}
# A value of theirs is a number for the kernel: one that lies on the device is read first.
_READ_VALUE = {"masked_fill", "masked_fill_"}
_INDEXED = {"index", "index_put", "index_put_", "_index_put_impl_", "_unsafe_index", "_unsafe_index_put"}
_COPIES = {"_to_copy", "copy_", "copy"}

Answers = Mapping[str, float]


class DeviceWatch(TorchDispatchMode):
    """Writes down what happens inside the block; tensors of ``device`` are those of the GPU.

    Args:
        device: A type of torch's; meta for a dry run.
        answers: What a value that is read at a place is taken to be; 0 where nothing is said.

    Attributes:
        mixed: Operation and place of each whose tensors lie on several devices.
        reads: Number by operation and place.
        copies: Number by place of what went from the CPU to the device.
        operations: Number of all, by name, but for views.
    """

    def __init__(self, device: str = "meta", answers: Answers | None = None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.device = device
        self.answers = answers or {}
        self._made = _Made(self)
        self.clear()

    def clear(self) -> None:
        """Begin anew."""
        self.mixed: list[str] = []
        self.reads: collections.Counter[str] = collections.Counter()
        self.copies: collections.Counter[str] = collections.Counter()
        self.operations: collections.Counter[str] = collections.Counter()

    def __enter__(self) -> Self:
        super().__enter__()  # type: ignore[no-untyped-call]
        self._made.__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *error: Any) -> None:
        self._made.__exit__(*error)  # type: ignore[no-untyped-call]
        super().__exit__(*error)  # type: ignore[no-untyped-call]

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """See torch: called instead of each operation."""
        kwargs = kwargs or {}
        if torch._C._dispatch_has_kernel_for_dispatch_key(func.name(), "CompositeImplicitAutograd"):
            # In inference mode an operation comes whole that elsewhere comes as the ones it is made of.
            with self._again():
                parts = func.decompose(*args, **kwargs)
            if parts is not NotImplemented:
                return parts
        name = func.overloadpacket.__name__
        if not func.is_view:
            self.operations[name] += 1
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        if name in _COPIES:
            return self._copy(func, name, args, kwargs)
        if name in _INDEXED:
            args = self._indexed(name, args)
        # A CPU scalar is handed to a kernel as a number.
        devices = {each.device.type for each in tensors if each.ndim or each.device.type != "cpu"}
        if name not in _INDEXED and len(devices) > 1:
            self.mixed.append(f"{name} at {place()}: {', '.join(sorted(devices))}")
        if self.device not in devices:
            return func(*args, **kwargs)
        return self._on_device(func, name, args, kwargs)

    def _on_device(self, func: Any, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        takes_value = name in _READ_VALUE and isinstance(args[2], Tensor) and args[2].device.type == self.device
        if takes_value or name in _READS:
            self.reads[f"{name} at {place()}"] += 1
        if self.device == "meta" and name in _READS:
            return self._answer(name, args[0], args)
        if self.device == "meta" and name.startswith("_fused_"):
            return None  # a whole optimizer's step in place, not every one of which knows the meta device
        return func(*args, **kwargs)

    @contextmanager
    def _again(self) -> Iterator[None]:
        """Watch inside of ``__torch_dispatch__`` too."""
        super().__enter__()  # type: ignore[no-untyped-call]
        try:
            yield
        finally:
            super().__exit__(None, None, None)  # type: ignore[no-untyped-call]

    def _copy(self, func: Any, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        source = args[0] if name == "_to_copy" else args[1]
        asked = kwargs.get("device") if name == "_to_copy" else args[0].device
        target = torch.device(asked or source.device).type
        if source.device.type == self.device and target != self.device:
            self.reads[f"copy at {place()}"] += 1
            if self.device == "meta":
                source = torch.zeros(source.shape, dtype=source.dtype)
                args = (source, *args[1:]) if name == "_to_copy" else (args[0], source, *args[2:])
        elif source.device.type != target == self.device:
            self.copies[place()] += 1
        return func(*args, **kwargs)

    def _indexed(self, name: str, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """Note what an index costs: a mask is looked through, one that lies on the CPU is copied."""
        indexed, indices = args[0], list(args[1])
        if indexed.device.type != self.device:
            return args
        for axis, index in enumerate(indices):
            if not isinstance(index, Tensor):
                continue
            if index.device.type != self.device:
                self.copies[place()] += 1
            if index.dtype in {torch.bool, torch.uint8}:
                self.reads[f"{name} with a mask at {place()}"] += 1
                if self.device == "meta":  # as if one pixel were meant, in as many axes as the mask has
                    one = torch.zeros(1, dtype=torch.int64, device="meta")
                    indices[axis : axis + 1] = [one] * index.ndim
        return (indexed, indices, *args[2:])

    def _answer(self, name: str, tensor: Tensor, args: tuple[Any, ...]) -> Any:
        value = self.answers.get(place(), 0.0)
        if name in {"_local_scalar_dense", "is_nonzero", "equal"}:
            kind: Callable[[float], Any] = bool
            if name == "_local_scalar_dense" and tensor.dtype != torch.bool:
                kind = float if tensor.is_floating_point() else int
            return kind(value)
        if name in {"nonzero", "argwhere"}:
            return torch.zeros(1, tensor.ndim, dtype=torch.int64, device=tensor.device)
        if name == "bincount":
            return torch.zeros(max(int(args[2]) if len(args) > 2 else 0, 1), dtype=torch.int64, device=tensor.device)
        one = torch.zeros(1, dtype=tensor.dtype, device=tensor.device)
        number = torch.zeros(1, dtype=torch.int64, device=tensor.device)
        return one if name == "masked_select" else (one, number, number)


class _Made(TorchFunctionMode):
    """Sees tensors made of Python's numbers: on a GPU they are copied there, on the meta device nothing is."""

    def __init__(self, watch: DeviceWatch) -> None:
        super().__init__()
        self._watch = watch

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """See torch: called instead of each function."""
        kwargs = kwargs or {}
        device = kwargs.get("device")
        makes = func in {torch.tensor, torch.as_tensor} and not isinstance(args[0], Tensor)
        if makes and device is not None and torch.device(device).type == self._watch.device == "meta":
            self._watch.copies[place()] += 1
        return func(*args, **kwargs)


def place() -> str:
    """Return file and function of the library's innermost call, as ``engine/train.py step``; of torch's own else."""
    lib = str(ROOT / "lib" / "maskline")
    for frame in _frames():
        if frame.f_code.co_filename.startswith(lib):
            path = Path(frame.f_code.co_filename).relative_to(lib)
            # Python 3.12 has no function of its own for a comprehension.
            return f"{path.as_posix()} {re.sub(r'[.]<locals>[.]<[a-z]+>', '', frame.f_code.co_qualname)}"
    return "outside"


def _frames() -> Iterator[FrameType]:
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        yield frame
        frame = frame.f_back


def most(counters: Sequence[collections.Counter[str]]) -> dict[str, int]:
    """Return the largest number of each key, sorted."""
    keys = sorted(set(itertools.chain.from_iterable(counters)))
    return {key: max(counter[key] for counter in counters) for key in keys}
