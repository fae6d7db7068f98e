"""Which classes an image has. For the context encoding head's second output.

Source: Zhang et al., "Context Encoding for Semantic Segmentation", 2018.
"""

import torch
from torch import Tensor
from torch.nn import functional as F


def class_presence(logits: Tensor, target: Tensor, ignore_index: int) -> Tensor:
    """Return the mean binary cross-entropy over images and classes, whether the target has a pixel of the class.

    Args:
        logits: N, classes, 1, 1, any float type; computed in float32.
        target: Class ids, int64 NHW.
        ignore_index: Target value that does not count.
    """
    scores = logits.flatten(1).float()
    count = scores.shape[1]
    index = torch.where(target == ignore_index, count, target).flatten(1)
    present = scores.new_zeros(len(scores), count + 1).scatter_(1, index, 1.0)[:, :count]
    return F.binary_cross_entropy_with_logits(scores, present)
