"""Losses that are means over pixels.

Every loss takes logits NCHW of any float type and a target NHW of class ids, and returns a float32 scalar. Ignored
pixels have no part in it: neither in the value, nor in the count, nor in the gradient; not even a logit that is
not finite there. With no other pixel the loss is 0.
"""

import torch
from torch import Tensor

IGNORED_LOGIT = 0.0


def cross_entropy(logits: Tensor, target: Tensor, ignore_index: int) -> Tensor:
    """Return the mean of -log softmax(logits)[target] over the pixels that are not ignored.

    Written with ``gather``: torch's own 2D loss has no deterministic backward on CUDA.

    Args:
        logits: NCHW, any float type; computed in float32.
        target: Class ids, int64 NHW.
        ignore_index: Target value that does not count.
    """
    logits, target, valid = keep_valid(logits, target, ignore_index)
    negative_log = -torch.log_softmax(logits, dim=1).gather(1, target.unsqueeze(1)).squeeze(1)
    return (negative_log * valid).sum() / valid.sum().clamp(min=1)


def keep_valid(logits: Tensor, target: Tensor, ignore_index: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return float32 logits and targets with ignored pixels made harmless, and where pixels count (bool NHW)."""
    valid = target != ignore_index
    logits = logits.float().masked_fill(~valid.unsqueeze(1), IGNORED_LOGIT)
    return logits, target.masked_fill(~valid, 0), valid
