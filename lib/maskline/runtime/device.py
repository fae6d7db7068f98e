"""Where and how to compute: device, precision, threads, determinism, and how large a network may be."""

import math
import os
import shutil
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, Literal

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from maskline.core.errors import ParamsError


@dataclass(frozen=True, slots=True, kw_only=True)
class Compute:
    """A resolved choice.

    Args:
        device: Where the network runs.
        precision: Of the forward pass; weights and losses stay float32.
        channels_last: Memory format of 4-d tensors.
    """

    device: torch.device
    precision: Literal["fp32", "bf16", "fp16"]
    channels_last: bool

    @property
    def memory_format(self) -> torch.memory_format:
        """Memory format of images and weights."""
        return torch.channels_last if self.channels_last else torch.contiguous_format

    def autocast(self) -> AbstractContextManager[None]:
        """Return the context of the forward pass."""
        dtype = torch.float16 if self.precision == "fp16" else torch.bfloat16
        return torch.autocast(self.device.type, dtype=dtype, enabled=self.precision != "fp32")

    def scaler(self) -> torch.amp.GradScaler:
        """Return a fresh scaler of the loss, which does nothing but for fp16."""
        return torch.amp.GradScaler(self.device.type, enabled=self.precision == "fp16")


def resolve(*, device: str, precision: str, channels_last: bool) -> Compute:
    """Turn ``auto`` values into what this machine has.

    Args:
        device: auto, cpu or cuda.
        precision: auto, fp32, bf16 or fp16.
        channels_last: See ``Compute``.

    Raises:
        ParamsError: cuda is asked for and not there, or fp16 without it.
    """
    kind = resolve_kind(device, place="train.device")
    if precision == "fp16" and kind != "cuda":
        raise ParamsError("train.precision", "fp16 trains on a GPU only", "set train.precision to auto, bf16 or fp32")
    if precision == "auto":
        precision = "bf16" if _computes_bf16(kind) else "fp32"
    chosen: Literal["fp32", "bf16", "fp16"] = "bf16" if precision == "bf16" else "fp32"
    return Compute(
        device=torch.device(kind),
        precision="fp16" if precision == "fp16" else chosen,
        channels_last=channels_last,
    )


def resolve_kind(device: str, *, place: str) -> str:
    """Return cpu or cuda for auto, cpu or cuda.

    Args:
        device: As in params.
        place: Its key.

    Raises:
        ParamsError: cuda is asked for and not there.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise ParamsError(place, "cuda, but torch sees no GPU here", f"set {place} to auto or cpu")
    return device if device != "auto" else ("cuda" if torch.cuda.is_available() else "cpu")


def resolve_compile(wanted: bool | Literal["auto"], kind: str) -> bool:
    """Tell whether to compile the network.

    auto compiles on a GPU. On two CPU cores it was no faster than bf16 with channels_last for whole networks of a
    library, and took minutes; ``maskline tune`` measures whether it pays for a given one.

    Args:
        wanted: As in params.
        kind: cpu or cuda.
    """
    if wanted != "auto":
        return wanted
    # What torch writes for a GPU is compiled by Triton, whose launcher needs a compiler of the machine's own.
    return kind == "cuda" and find_spec("triton") is not None and any(map(shutil.which, ("cc", "gcc", "clang")))


def set_deterministic(threads: int) -> None:
    """Fix the thread count and choose deterministic algorithms.

    The bits of sums and convolution gradients depend on the number of CPU threads, so it is a parameter.
    """
    # cuBLAS needs this before its first use to give the same bits twice.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.set_num_threads(threads)
    torch.set_deterministic_debug_mode("error")  # without loading the compiler, as torch's other way does
    # Filling fresh memory only helps to find reads of it; it costs up to a fifth of a step.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.benchmark = False


class TooManyValues(Exception):  # noqa: N818 - the reason of an error, not the error that a user sees
    """More values were asked for than allowed."""


class ValueLimit(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Inside the block, empty tensors may have so many values together; each parameter of a module begins as one.

    Args:
        most: Values; filled ones and what computations give are not counted.

    Raises:
        TooManyValues: Before the tensor that is one too many.
    """

    def __init__(self, most: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._left = most

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Count what an operation asks for, then run it."""
        del types
        if func is torch.ops.aten.empty.memory_format:
            self._left -= math.prod(args[0])
            if self._left < 0:
                raise TooManyValues
        return func(*args, **(kwargs or {}))


def _computes_bf16(kind: str) -> bool:
    if kind == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    # Without native instructions bf16 is slower than fp32 on a CPU. torch has no public question for it on 2.11.
    return bool(torch.cpu._is_avx512_bf16_supported())
