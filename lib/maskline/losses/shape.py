"""Losses on outlines and centre lines. See ``maskline.losses.pixel`` for what all losses have in common.

Neighbourhoods are taken by shifts: torch's max pooling has no deterministic backward on CUDA.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from maskline.losses.pixel import ClassWeights, keep_valid, one_hot
from maskline.losses.region import mean_of_present
from maskline.runtime import gpu_forms
from maskline.runtime.processes.distributed import totals

_EPS = 1e-7


def boundary(logits: Tensor, target: Tensor, ignore_index: int, *, class_weights: ClassWeights, radius: int) -> Tensor:
    """Return one minus the mean boundary F1 score of the classes that have an outline in the target.

    An outline is one pixel wide, inside the region; it is found when the other one is within ``radius``. Outlines next
    to ignored pixels and at the image's border do not count.

    Args:
        logits: NCHW, any float type; computed in float32.
        target: Class ids, int64 NHW.
        ignore_index: Target value that does not count.
        class_weights: One factor a class, or None.
        radius: How far outlines may lie apart, pixels, along the axes.

    Source: Bokhovkin, Burnaev, "Boundary loss for remote sensing imagery semantic segmentation", 2019.
    """
    logits, target, valid = keep_valid(logits, target, ignore_index)
    counted = valid.unsqueeze(1).float()
    inner = 1 - dilate(1 - counted, 1)
    probabilities, truth = torch.softmax(logits, dim=1) * counted, one_hot(logits, target, valid).float()
    drawn = (probabilities - erode(probabilities)) * inner
    actual = (truth - erode(truth)) * inner
    over = (0, 2, 3)
    right, met = (drawn * dilate(actual, radius)).sum(over), (actual * dilate(drawn, radius)).sum(over)
    right, all_drawn, met, all_actual = totals(right, drawn.sum(over), met, actual.sum(over))
    precision, recall = right / (all_drawn + _EPS), met / (all_actual + _EPS)
    lost = 1 - 2 * precision * recall / (precision + recall + _EPS)
    return mean_of_present(lost, all_actual > 0, class_weights)


def cldice(
    logits: Tensor, target: Tensor, ignore_index: int, *, class_weights: ClassWeights, iterations: int, smooth: float
) -> Tensor:
    """Return one minus the mean centre-line Dice of the classes from 1 on: for vessels, roads, cracks.

    How much of the predicted centre lines lies in the truth, and of the true ones in the prediction. It says nothing of
    widths: sum it with Dice or cross-entropy. Class 0 is background and has no part.

    Args:
        logits: NCHW, any float type; computed in float32.
        target: Class ids, int64 NHW.
        ignore_index: Target value that does not count; such pixels are background.
        class_weights: One factor a class, class 0's unread, or None.
        iterations: Of the thinning; at least half the width of the widest structure, pixels.
        smooth: Added to both sides of the fractions, pixels; larger than 0.

    Source: Shit, Paetzold et al., "clDice - a novel topology-preserving loss function for tubular structure
    segmentation", 2021.
    """
    logits, target, valid = keep_valid(logits, target, ignore_index)
    probabilities = (torch.softmax(logits, dim=1) * valid.unsqueeze(1))[:, 1:]
    truth = one_hot(logits, target, valid)[:, 1:].float()
    over = (0, 2, 3)
    drawn, actual = skeleton(probabilities, iterations), skeleton(truth, iterations)
    right, all_drawn = (drawn * truth).sum(over), drawn.sum(over)
    found, all_actual = (actual * probabilities).sum(over), actual.sum(over)
    right, all_drawn, found, all_actual, pixels = totals(right, all_drawn, found, all_actual, truth.sum(over))
    precision, recall = (right + smooth) / (all_drawn + smooth), (found + smooth) / (all_actual + smooth)
    lost = 1 - 2 * precision * recall / (precision + recall)
    return mean_of_present(lost, pixels > 0, class_weights[1:] if class_weights is not None else None)


def skeleton(regions: Tensor, iterations: int) -> Tensor:
    """Return the soft centre lines of regions, NCHW of 0..1."""
    lines = F.relu(regions - _open(regions))
    for _ in range(iterations):
        regions = _erode_cross(regions)
        more = F.relu(regions - _open(regions))
        lines = lines + F.relu(more - lines * more)
    return lines


def dilate(regions: Tensor, radius: int) -> Tensor:
    """Return the largest value within ``radius`` along both axes, NCHW; outside is like the border."""
    for axis in (2, 3):
        regions = _shifted(regions, radius, axis).amax(0)
    return regions


def erode(regions: Tensor) -> Tensor:
    """Return the smallest value within one pixel along both axes, NCHW; outside is like the border."""
    return -dilate(-regions, 1)


def _open(regions: Tensor) -> Tensor:
    return dilate(_erode_cross(regions), 1)


def _erode_cross(regions: Tensor) -> Tensor:
    """Return the smallest value of a pixel and its four neighbours."""
    return torch.minimum(_shifted(regions, 1, 2).amin(0), _shifted(regions, 1, 3).amin(0))


def _shifted(regions: Tensor, radius: int, axis: int) -> Tensor:
    """Return the regions moved by -radius to radius pixels along an axis, as one more, first, dimension."""
    length = regions.shape[axis]
    if gpu_forms.deterministic(regions):
        return torch.stack([_moved(regions, step, axis) for step in range(-radius, radius + 1)])
    index = torch.arange(length, device=regions.device)
    moved = [regions.index_select(axis, (index + step).clamp(0, length - 1)) for step in range(-radius, radius + 1)]
    return torch.stack(moved)


def _moved(regions: Tensor, step: int, axis: int) -> Tensor:
    """Return the regions moved by ``step`` pixels, by slices: a GPU sorts the gradient of an index."""
    length = regions.shape[axis]
    count = min(abs(step), length - 1)
    if count == 0:
        return regions
    border, start = (length - 1, count) if step > 0 else (0, 0)
    ends = [-1] * regions.ndim
    ends[axis] = count
    edge = regions.narrow(axis, border, 1).expand(ends)
    kept = regions.narrow(axis, start, length - count)
    return torch.cat([kept, edge] if step > 0 else [edge, kept], dim=axis)
