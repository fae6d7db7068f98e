"""Where and how to compute: device, precision, threads, determinism, and how large a network may be."""

import math
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, Literal, cast

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from maskline.core.errors import ParamsError

Precision = Literal["fp32", "tf32", "bf16", "fp16"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Compute:
    """A resolved choice.

    Args:
        device: Where the network runs.
        precision: Of the forward pass; weights and losses stay float32. tf32 is fp32 whose products a GPU rounds.
        channels_last: Memory format of 4-d tensors.
    """

    device: torch.device
    precision: Precision
    channels_last: bool

    @property
    def memory_format(self) -> torch.memory_format:
        """Memory format of images and weights."""
        return torch.channels_last if self.channels_last else torch.contiguous_format

    def autocast(self) -> AbstractContextManager[None]:
        """Return the context of the forward pass."""
        dtype = torch.float16 if self.precision == "fp16" else torch.bfloat16
        return torch.autocast(self.device.type, dtype=dtype, enabled=self.precision in {"bf16", "fp16"})

    def scaler(self) -> torch.amp.GradScaler:
        """Return a fresh scaler of the loss, which does nothing but for fp16."""
        return torch.amp.GradScaler(self.device.type, enabled=self.precision == "fp16")


def resolve(*, device: str, precision: str, channels_last: bool) -> Compute:
    """Turn ``auto`` values into what this machine has, and let torch round products to tf32 where that was chosen.

    Args:
        device: auto, cpu or cuda.
        precision: auto, fp32, tf32, bf16 or fp16.
        channels_last: See ``Compute``.

    Raises:
        ParamsError: cuda is asked for and not there, or fp16 or tf32 without it.
    """
    kind = resolve_kind(device, place="train.device")
    if precision in {"fp16", "tf32"} and kind != "cuda":
        remedy = "set train.precision to auto, bf16 or fp32"
        raise ParamsError("train.precision", f"{precision} trains on a GPU only", remedy)
    if precision == "auto":
        precision = "bf16" if _computes_bf16(kind) else "fp32"
    chosen: Precision = cast(Precision, precision)
    _allow_tf32(chosen == "tf32")
    return Compute(device=torch.device(kind), precision=chosen, channels_last=channels_last)


@contextmanager
def tf32(*, allowed: bool) -> Iterator[None]:
    """Let a GPU round convolutions and matrix products of float32 to tf32 inside the block, or not.

    torch's own default rounds convolutions: three decimal digits, where a model's promise may be more.
    """
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    _allow_tf32(allowed)
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before


def _allow_tf32(allowed: bool) -> None:
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = allowed


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


def resolve_graph(wanted: bool | Literal["auto"], kind: str, *, own_code: bool) -> bool:
    """Tell whether to capture the training step as a graph.

    Args:
        wanted: As in params.
        kind: cpu or cuda.
        own_code: The network or a loss is of the user's own code: numbers that change from iteration to iteration, such
            as a weight that rises, would stay what they were in the captured one.
    """
    return wanted if wanted != "auto" else kind == "cuda" and not own_code


def set_deterministic(threads: int, *, enabled: bool = True) -> None:
    """Fix the thread count and choose deterministic algorithms.

    The bits of sums and convolution gradients depend on the number of CPU threads, so it is a parameter.

    Args:
        threads: Of the CPU.
        enabled: False: torch's defaults, and the fastest convolutions that cuDNN finds by trying.
    """
    # cuBLAS needs this before its first use to give the same bits twice.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.set_num_threads(threads)
    # Without loading the compiler, as torch's other way does.
    torch.set_deterministic_debug_mode("error" if enabled else "default")
    # Filling fresh memory only helps to find reads of it; it costs up to a fifth of a step.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.deterministic = enabled
    torch.backends.cudnn.benchmark = not enabled


class TooManyValues(Exception):  # noqa: N818 - the reason of an error, not the error that a user sees
    """More values were asked for than allowed."""


class ValueLimit(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Inside the block, empty tensors may have so many values together; each parameter of a module begins as one.

    Args:
        most: Values; filled ones and what computations give are not counted.
        most_tensors: Tensors: many small ones take their modules' memory, and time.

    Raises:
        TooManyValues: Before the tensor that is one too many.
    """

    def __init__(self, most: int, *, most_tensors: int = sys.maxsize) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._left, self._tensors_left = most, most_tensors

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Count what an operation asks for, then run it."""
        del types
        if func is torch.ops.aten.empty.memory_format:
            self._left -= math.prod(args[0])
            self._tensors_left -= 1
            if self._left < 0 or self._tensors_left < 0:
                raise TooManyValues
        return func(*args, **(kwargs or {}))

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Say that nothing in here is compiled: else torch, from 2.12, loads its compiler to say so itself."""
        return False


def _computes_bf16(kind: str) -> bool:
    if kind == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    # Without native instructions bf16 is slower than fp32 on a CPU. torch has no public question for it on 2.11.
    return bool(torch.cpu._is_avx512_bf16_supported())
