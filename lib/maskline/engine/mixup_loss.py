"""The loss of a batch whose pixels have more than one class: soft labels, and samples that are blended in pairs.

Of a pair it is that of either target, weighed as the images were. A head may compare any pixels of the target that it
is given (point heads draw some), so all that is known of a pixel goes through it as one integer: two class ids, and
with soft labels which pixel of the batch it is.

Source: Zhang et al. 2018, mixup: Beyond Empirical Risk Minimization.
"""

from typing import Any

import torch
from torch import Tensor, nn

from maskline.engine.inputs import Inputs

_BITS = 16  # class ids and the ignore index are below 2^16
_CLASS = (1 << _BITS) - 1


def packed(batch: Inputs) -> Tensor:
    """Return what the network's heads get as their target: NHW int64."""
    target = batch.targets
    if batch.other_targets is not None:
        target = target | (batch.other_targets << _BITS)
    if batch.soft is not None:
        target = target | (torch.arange(target.numel(), device=target.device).view_as(target) << 2 * _BITS)
    return target


def loss(
    criterion: nn.Module, logits: Any, target: Tensor, *, ignore_index: int, batch: Inputs, soft_weight: float = 0.0
) -> dict[str, Tensor]:
    """Return a head's losses as scalars, by what follows the head's name; most have one, under an empty name.

    Args:
        criterion: Takes logits, target and the ignore index; gives a scalar, or several by name.
        logits: As the head gives them.
        target: As the head gives it, of ``packed``.
        ignore_index: Target value that does not count.
        batch: Whose ``share`` weighs the two targets.
        soft_weight: Share of the soft labels in the target of a pixel that has some; the mask has the rest.
    """

    def of(classes: Tensor, soft: Tensor | None) -> dict[str, Tensor]:
        if soft is not None:
            at_target = _read(soft, target >> 2 * _BITS)
            classes = _joined(classes, at_target, weight=soft_weight, ignore_index=ignore_index)
        return _by_name(criterion(logits, classes, ignore_index))

    if batch.other_targets is None:
        return of(target if batch.soft is None else target & _CLASS, batch.soft)
    own, other = of(target & _CLASS, batch.soft), of((target >> _BITS) & _CLASS, batch.other_soft)
    share, rest = batch.share
    return {name: share * own[name] + rest * other[name] for name in own}


def _read(soft: Tensor, pixels: Tensor) -> Tensor:
    """Return the soft labels (NCHW) of numbered pixels (N...), as NC..."""
    by_pixel = soft.movedim(1, -1).reshape(-1, soft.shape[1])
    return by_pixel.index_select(0, pixels.flatten()).view(*pixels.shape, -1).movedim(-1, 1)


def _joined(classes: Tensor, soft: Tensor, *, weight: float, ignore_index: int) -> Tensor:
    """Return the target NC... of class ids N... and soft labels NC...; 0 where ignored, the class where they are 0."""
    ids = torch.arange(soft.shape[1], device=soft.device).view(1, -1, *[1] * (classes.ndim - 1))
    hard = (classes.unsqueeze(1) == ids).to(soft.dtype)
    known = soft.sum(1, keepdim=True) > 0
    return torch.where(known, torch.lerp(hard, soft, weight), hard) * (classes != ignore_index).unsqueeze(1)


def _by_name(losses: Tensor | dict[str, Tensor]) -> dict[str, Tensor]:
    return {"": losses} if isinstance(losses, Tensor) else losses
