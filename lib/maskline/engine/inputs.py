"""What the network and its losses get of a batch: tensors that can be overwritten in place by the next batch's."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from maskline.augment.sample import Augmented


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """A batch on the device.

    Args:
        images: Normalized, float32 NCHW, in the network's memory format.
        targets: Class ids, int64 NHW.
        other_targets: With mixup, those of the samples that these are blended with; else None.
        share: Of ``targets`` in the loss, and of ``other_targets``: numbers, or a float32 tensor of two.
        soft: Soft labels, float32 NCHW, as ``Augmented`` has them; None: none.
        other_soft: With mixup, those that belong to ``other_targets``.
    """

    images: Tensor
    targets: Tensor
    other_targets: Tensor | None
    share: tuple[float, float] | Tensor
    soft: Tensor | None = None
    other_soft: Tensor | None = None

    @classmethod
    def of(cls, batch: Augmented, *, memory_format: torch.memory_format) -> "Inputs":
        """Return the inputs of an augmented batch."""
        return cls(
            images=batch.images.contiguous(memory_format=memory_format),
            targets=batch.targets,
            other_targets=batch.other_targets,
            share=(batch.share, 1 - batch.share),
            soft=batch.soft,
            other_soft=batch.other_soft,
        )

    @property
    def signature(self) -> tuple[object, ...]:
        """What two batches have in common whose step runs the same operations."""
        return tuple(None if each is None else (each.shape, each.dtype, each.stride()) for each in self._tensors)

    @property
    def _tensors(self) -> tuple[Tensor | None, ...]:
        return self.images, self.targets, self.other_targets, self.soft, self.other_soft

    def kept(self) -> "Inputs":
        """Return a copy, to be overwritten by ``take``."""
        others, soft, other_soft = (None if each is None else each.clone() for each in self._tensors[2:])
        share = torch.tensor(tuple(self.share), dtype=torch.float32, device=self.images.device)
        return replace(
            self,
            images=self.images.clone(),
            targets=self.targets.clone(),
            other_targets=others,
            share=share,
            soft=soft,
            other_soft=other_soft,
        )

    def take(self, other: "Inputs") -> None:
        """Overwrite all tensors by those of another batch of the same signature."""
        for held, given in zip(self._tensors, other._tensors, strict=True):
            if held is not None and given is not None:
                held.copy_(given)
        if self.other_targets is not None:
            assert isinstance(self.share, Tensor)
            for slot, value in zip(self.share.unbind(), other.share, strict=True):
                slot.fill_(value)  # a number travels with the kernel; a tensor of the CPU would be waited for
