"""Losses on the overlap of whole regions. See ``maskline.losses.pixel`` for what all losses have in common."""

import torch
from torch import Tensor

from maskline.losses.pixel import keep_valid


def dice(logits: Tensor, target: Tensor, ignore_index: int, *, smooth: float) -> Tensor:
    """Return one minus the mean Dice score of the classes that the target holds, on softmax probabilities.

    For class c, over all pixels of the batch that are not ignored, with p the probability and t the one-hot target:
    ``dice_c = (2 * sum(p_c * t_c) + smooth) / (sum(p_c) + sum(t_c) + smooth)``. A class that no pixel has would score
    near 0 whatever the network does, so it has no part in the mean; its false positives still cost the others.

    Args:
        logits: NCHW, any float type; computed in float32.
        target: Class ids, int64 NHW.
        ignore_index: Target value that does not count.
        smooth: Added to both sides of the fraction, pixels; larger than 0.

    Source: Milletari, Navab, Ahmadi, "V-Net", 2016 (there with squares in the denominator).
    """
    logits, target, valid = keep_valid(logits, target, ignore_index)
    probabilities = torch.softmax(logits, dim=1) * valid.unsqueeze(1)
    classes = torch.arange(logits.shape[1], device=logits.device).view(1, -1, 1, 1)
    one_hot = (target.unsqueeze(1) == classes) & valid.unsqueeze(1)
    overlap = (probabilities * one_hot).sum(dim=(0, 2, 3))
    actual = one_hot.sum(dim=(0, 2, 3))
    predicted = probabilities.sum(dim=(0, 2, 3))
    lost = 1 - (2 * overlap + smooth) / (predicted + actual + smooth)
    present = actual > 0
    return (lost * present).sum() / present.sum().clamp(min=1)
