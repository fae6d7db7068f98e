"""The loss of a batch whose samples are blended in pairs: that of either target, weighed as the images were.

A head may compare any pixels of the target that it is given (point heads draw some), so both targets go through it as
one: two class ids in one integer.

Source: Zhang et al. 2018, mixup: Beyond Empirical Risk Minimization.
"""

from typing import Any

from torch import Tensor, nn

from maskline.engine.inputs import Inputs

_BITS = 16  # class ids and the ignore index are below 2^16


def packed(batch: Inputs) -> Tensor:
    """Return what the network's heads get as their target: NHW int64."""
    if batch.other_targets is None:
        return batch.targets
    return batch.targets | (batch.other_targets << _BITS)


def loss(criterion: nn.Module, logits: Any, target: Tensor, *, ignore_index: int, batch: Inputs) -> dict[str, Tensor]:
    """Return a head's losses as scalars, by what follows the head's name; most have one, under an empty name.

    Args:
        criterion: Takes logits, target and the ignore index; gives a scalar, or several by name.
        logits: As the head gives them.
        target: As the head gives it, of ``packed``.
        ignore_index: Target value that does not count.
        batch: Whose ``share`` weighs the two targets.
    """
    if batch.other_targets is None:
        return _by_name(criterion(logits, target, ignore_index))
    own = _by_name(criterion(logits, target & ((1 << _BITS) - 1), ignore_index))
    other = _by_name(criterion(logits, target >> _BITS, ignore_index))
    share, rest = batch.share
    return {name: share * own[name] + rest * other[name] for name in own}


def _by_name(losses: Tensor | dict[str, Tensor]) -> dict[str, Tensor]:
    return {"": losses} if isinstance(losses, Tensor) else losses
