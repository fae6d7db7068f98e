"""Targets and losses at the borders between classes, for heads with outputs of their own there: STDC's and PIDNet's.

Sources: Fan et al., "Rethinking BiSeNet For Real-time Semantic Segmentation", 2021; Xu, Xiong, Bhattacharyya, "PIDNet",
2023; the numbers are MMSegmentation 1.2.2's (Apache-2.0) but that ignored pixels have no part.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from maskline.losses.composite import Loss
from maskline.runtime.processes.distributed import totals

_SHARES = (0.6, 0.3, 0.1)  # of the steps 1, 2, 4 px
_WIDTH = 4
_AT_BOUNDARY = 0.8


def on_details(logits: Tensor, target: Tensor, ignore_index: int, *, loss: Loss, threshold: float) -> Tensor:
    """Return a loss of two classes: no detail, and detail, which is where ``details`` finds it.

    Args:
        logits: N, 2, H, W, any float type.
        target: Class ids, int64 NHW.
        ignore_index: Target value that does not count.
        loss: What compares them.
        threshold: See ``details``.
    """
    detail = details(target, threshold=threshold).long()
    return loss(logits, detail.masked_fill(target == ignore_index, ignore_index), ignore_index)


def details(target: Tensor, *, threshold: float) -> Tensor:
    """Return where a pixel's class id is larger than its neighbours', at steps of 1, 2 and 4 px: bool NHW.

    Args:
        target: Class ids, int64 NHW; outside of the image is class 0.
        threshold: Of the Laplacian, and of the weighted sum of the three steps.
    """
    ids = target.unsqueeze(1).float()
    kernel = ids.new_full((1, 1, 3, 3), -1.0)
    kernel[:, :, 1, 1] = 8.0
    total = torch.zeros_like(ids)
    for step, share in zip((1, 2, 4), _SHARES, strict=True):
        raised = F.conv2d(ids, kernel, stride=step, padding=1)
        total += share * F.interpolate(raised, size=ids.shape[2:]).gt(threshold)
    return total.squeeze(1) > threshold


def at_boundary(logits: Tensor, target: Tensor, ignore_index: int, *, loss: Loss) -> Tensor:
    """Return a loss of the pixels that the network takes for a border with a probability above 0.8.

    Args:
        logits: NCHW, any float type; the last channel is the border's logit, which gets no gradient.
        target: Class ids, int64 NHW.
        ignore_index: Target value that does not count.
        loss: What compares the other channels with the target there.
    """
    chosen = torch.sigmoid(logits[:, -1].detach().float()) > _AT_BOUNDARY
    return loss(logits[:, :-1], target.masked_fill(~chosen, ignore_index), ignore_index)


def balanced_borders(logits: Tensor, target: Tensor, ignore_index: int) -> Tensor:
    """Return the binary cross-entropy of borders; border pixels weigh as much as there are others, and vice versa.

    Args:
        logits: N, 1, H, W, any float type; computed in float32.
        target: Class ids, int64 NHW; see ``borders``.
        ignore_index: Target value that does not count.
    """
    counted = target != ignore_index
    border = borders(target, ignore_index) & counted
    missed = F.binary_cross_entropy_with_logits(logits[:, 0].float(), border.float(), reduction="none")
    of_border, of_others, count, all_counted = totals(
        (missed * border).sum(), (missed * (counted & ~border)).sum(), border.sum(), counted.sum()
    )
    pixels = all_counted.clamp(min=1)
    return (of_border * (all_counted - count) + of_others * count) / (pixels * pixels)


def borders(target: Tensor, ignore_index: int) -> Tensor:
    """Return the borders between classes, 4 to 5 px wide: bool NHW.

    A border is where the pixel above, to the right, or diagonally below has another class, none of both ignored.

    Args:
        target: Class ids, int64 NHW.
        ignore_index: Target value that does not count.
    """
    edge = torch.zeros_like(target, dtype=torch.bool)
    whole, first, last = slice(None), slice(1, None), slice(None, -1)
    for here, there in (
        ((first, whole), (last, whole)),
        ((whole, last), (whole, first)),
        ((last, last), (first, first)),
        ((last, first), (first, last)),
    ):
        a, b = target[:, *here], target[:, *there]
        edge[:, *here] |= (a != b) & (a != ignore_index) & (b != ignore_index)
    # As OpenCV dilates with a square of even sides: two pixels to the left, one to the right.
    padded = F.pad(edge.float(), (_WIDTH // 2, _WIDTH // 2 - 1, _WIDTH // 2, _WIDTH // 2 - 1))
    return F.max_pool2d(padded, _WIDTH, stride=1) > 0
