"""Many small tensors as one buffer, so that a batch is copied to a device once and nothing waits for it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

_ALIGNED = 16  # bytes: more than any type needs


class _Part(NamedTuple):
    name: str
    dtype: torch.dtype
    shape: tuple[int, ...]
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Packed:
    """Named tensors in one buffer.

    Args:
        buffer: One dimension, uint8.
        parts: Where each tensor lies.
    """

    buffer: Tensor
    parts: tuple[_Part, ...]

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor], *, pinned: bool = False) -> "Packed":
        """Copy tensors on the CPU into one buffer.

        Args:
            tensors: Of any types and shapes.
            pinned: Into memory from which a GPU copies by itself.
        """
        parts, start = [], 0
        for name, tensor in tensors.items():
            stop = start + tensor.numel() * tensor.element_size()
            parts.append(_Part(name, tensor.dtype, tuple(tensor.shape), start, stop))
            start = -(-stop // _ALIGNED) * _ALIGNED
        packed = cls(torch.empty(start, dtype=torch.uint8, pin_memory=pinned), tuple(parts))
        for name, tensor in packed.tensors().items():
            tensor.copy_(tensors[name])
        return packed

    def to(self, device: torch.device) -> "Packed":
        """Return it on a device; from pinned memory the copy goes on beside what the caller does next."""
        return Packed(self.buffer.to(device, non_blocking=True), self.parts)

    def tensors(self) -> dict[str, Tensor]:
        """Return the tensors by name, as views of the buffer."""
        return {part.name: self.buffer[part.start : part.stop].view(part.dtype).view(part.shape) for part in self.parts}
