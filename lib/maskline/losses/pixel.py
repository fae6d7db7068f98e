"""Losses that are means over pixels.

Every loss takes logits NCHW of any float type and a target NHW of class ids, and returns a float32 scalar. Ignored
pixels have no part in it: neither in the value, nor in the count, nor in the gradient; not even a logit that is
not finite there. With no other pixel the loss is 0.

``class_weights`` is one factor a class, or None. Where a mean is weighted, it is divided by the sum of the weights of
the pixels, as torch does, so that a factor common to all classes changes nothing.

A loss that is marked ``takes_soft`` takes soft labels too: as target probabilities, float32 NCHW, which sum to 1 at
each pixel, or are all 0 where it is ignored. Of one-hot ones it is the loss of the class ids.

Sums and counts go over the batches of all processes where training says so (``runtime/processes/distributed.py``,
``joint``): a mean is over the pixels of the whole batch, however they are shared out.
"""

import functools
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from maskline.core.errors import ShapeError
from maskline.losses.composite import takes_soft
from maskline.runtime import gpu_forms
from maskline.runtime.processes.distributed import is_joint, rows, size, totals

IGNORED_LOGIT = 0.0

ClassWeights = Sequence[float] | None


@takes_soft
def cross_entropy(
    logits: Tensor, target: Tensor, ignore_index: int, *, class_weights: ClassWeights, label_smoothing: float
) -> Tensor:
    """Return the mean of -log softmax(logits)[target] over the pixels that are not ignored.

    Written with ``of_truth``: torch's own 2D loss has no deterministic backward on CUDA. Values are torch's; with soft
    labels and class weights torch would divide by the number of pixels.

    Args:
        logits: NCHW, any float type; computed in float32.
        target: Class ids, int64 NHW; or probabilities, NCHW.
        ignore_index: Target value that does not count.
        class_weights: One factor a class, or None.
        label_smoothing: Share of the target that is spread over all classes, 0 to below 1.
    """
    if target.is_floating_point():
        logits, valid = keep_known(logits, target)
        log_probabilities = torch.log_softmax(logits, dim=1)
        shares = target * class_factors(logits, class_weights)
        factors = shares.sum(1)
        loss = _mean(-(shares * log_probabilities).sum(1), factors)
    else:
        logits, target, valid = keep_valid(logits, target, ignore_index)
        log_probabilities = torch.log_softmax(logits, dim=1)
        factors = pixel_weights(logits, target, valid, class_weights)
        negative_log = -of_truth(log_probabilities, target)
        loss = _mean(negative_log * factors, factors)
    if label_smoothing == 0:
        return loss
    spread = -(log_probabilities * class_factors(logits, class_weights)).mean(dim=1)
    return (1 - label_smoothing) * loss + label_smoothing * _mean(spread * valid, factors)


def ohem(
    logits: Tensor, target: Tensor, ignore_index: int, *, class_weights: ClassWeights, threshold: float, min_kept: int
) -> Tensor:
    """Return the cross-entropy of the hard pixels: those whose own class has a probability below ``threshold``.

    Where these are fewer than ``min_kept`` an image on average, the hardest pixels of the batch make up for it; pixels
    that tie with the last of them count too.

    Args:
        logits: NCHW, any float type; computed in float32.
        target: Class ids, int64 NHW.
        ignore_index: Target value that does not count.
        class_weights: One factor a class, or None.
        threshold: Probability, 0..1.
        min_kept: Pixels an image.

    Source: Shrivastava, Gupta, Girshick, "Training region-based object detectors with online hard example mining",
    2016; the choice of pixels follows MMSegmentation 1.2.2 (Apache-2.0), whose mean is over all pixels instead.
    """
    logits, target, valid = keep_valid(logits, target, ignore_index)
    negative_log = -of_truth(torch.log_softmax(logits, dim=1), target)
    with torch.no_grad():
        probability = torch.exp(-negative_log).masked_fill(~valid, torch.inf)
        bound = _rank_of(probability, min_kept) if min_kept else probability.new_zeros(())
        hard = valid & ((probability < threshold) | ((probability <= bound) & (min_kept > 0)))
    factors = pixel_weights(logits, target, hard, class_weights)
    return _mean(negative_log * factors, factors)


def ohem_batch(
    logits: Tensor,
    target: Tensor,
    ignore_index: int,
    *,
    class_weights: ClassWeights,
    threshold: float,
    min_kept: int,
) -> Tensor:
    """Return the mean cross-entropy over the hard pixels of the batch, each times its class's factor.

    Hard is a pixel whose own class has a probability under ``threshold``, or under that of the pixel which is number
    ``min_kept`` of the batch, counted from 0 at the hardest.

    Args:
        logits: NCHW, any float type; computed in float32.
        target: Class ids, int64 NHW.
        ignore_index: Target value that does not count.
        class_weights: One factor a class, or None.
        threshold: Probability, 0..1.
        min_kept: Pixels of the whole batch, of all processes.

    Source: as ``ohem``; PIDNet's and DDRNet's form, as in MMSegmentation 1.2.2 (Apache-2.0), OhemCrossEntropy.
    """
    logits, target, valid = keep_valid(logits, target, ignore_index)
    negative_log = -of_truth(torch.log_softmax(logits, dim=1), target)
    with torch.no_grad():
        hard = hard_of_batch(torch.exp(-negative_log), valid, kept=max(min_kept, 1), threshold=threshold)
    return _mean(negative_log * pixel_weights(logits, target, hard, class_weights), hard)


def focal(
    logits: Tensor,
    target: Tensor,
    ignore_index: int,
    *,
    class_weights: ClassWeights,
    gamma: float,
    alpha: float | None,
    activation: Literal["softmax", "sigmoid"],
) -> Tensor:
    """Return the focal loss: easy pixels count less by ``(1 - p) ** gamma``, with p the probability of the truth.

    Args:
        logits: NCHW, any float type; computed in float32.
        target: Class ids, int64 NHW.
        ignore_index: Target value that does not count.
        class_weights: One factor a class, or None.
        gamma: At least 0, which gives cross-entropy.
        alpha: Weight of a pixel's own class against 1 - alpha of the others (sigmoid); None: both count whole.
        activation: softmax: classes exclude each other; sigmoid: each class by itself, mean over the classes too.

    Source: Lin, Goyal, Girshick, He, Dollar, "Focal loss for dense object detection", 2017.
    """
    logits, target, valid = keep_valid(logits, target, ignore_index)
    if activation == "softmax":
        log_probability = of_truth(torch.log_softmax(logits, dim=1), target)
        factors = pixel_weights(logits, target, valid, class_weights)
        eased = -((1 - log_probability.exp()).clamp(min=0) ** gamma) * log_probability
        return _mean(eased * factors, factors)
    eased = focal_by_class(logits, one_hot(logits, target, valid), gamma=gamma, alpha=alpha)
    eased = (eased * class_factors(logits, class_weights)).mean(dim=1)
    return _mean(eased * valid, valid)


def focal_by_class(logits: Tensor, truth: Tensor, *, gamma: float, alpha: float | Tensor | None) -> Tensor:
    """Return the focal loss of each class by itself, NCHW.

    Args:
        logits: NCHW float32.
        truth: Where each class is the truth, bool NCHW.
        gamma: See ``focal``.
        alpha: See ``focal``, or one a class, 1C11.
    """
    missed = F.binary_cross_entropy_with_logits(logits, truth.float(), reduction="none")
    wrong = torch.where(truth, torch.sigmoid(-logits), torch.sigmoid(logits))
    eased = wrong**gamma * missed
    if alpha is None:
        return eased
    return eased * torch.where(truth, alpha, 1 - alpha)


def hard_of_batch(probability: Tensor, valid: Tensor, *, kept: int, threshold: float) -> Tensor:
    """Return the hard pixels of the batch of all processes, bool NHW.

    Args:
        probability: Of each pixel's own class, NHW.
        valid: Pixels that count, bool NHW.
        kept: Hard is below the probability that so many pixels are below; where there are fewer pixels, below the
            largest.
        threshold: Or below this one.
    """
    probability = probability.masked_fill(~valid, torch.inf)
    smallest, (count,) = smallest_up_to(probability, kept + 1), totals(valid.sum())
    place = (count - 1).clamp(min=0, max=kept)
    beyond = torch.arange(len(smallest), device=smallest.device) > place
    bound = smallest.masked_fill(beyond, 0.0).max().clamp(min=threshold)
    return valid & (probability < bound)


def smallest_up_to(values: Tensor, count: int) -> Tensor:
    """Return the ``count`` smallest values of all processes, rising; all of them where there are fewer."""
    smallest = values.flatten().sort().values[:count]
    return rows(smallest).sort().values[:count] if is_joint() else smallest


def keep_valid(logits: Tensor, target: Tensor, ignore_index: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return float32 logits and targets with ignored pixels made harmless, and where pixels count (bool NHW)."""
    valid = target != ignore_index
    logits = logits.float().masked_fill(~valid.unsqueeze(1), IGNORED_LOGIT)
    return logits, target.masked_fill(~valid, 0), valid


def keep_known(logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Return what ``keep_valid`` does of soft labels: float32 logits, and where pixels count (bool NHW)."""
    valid = target.sum(1) > 0
    return logits.float().masked_fill(~valid.unsqueeze(1), IGNORED_LOGIT), valid


def one_hot(logits: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    """Return where each class is the truth: bool NCHW, false on ignored pixels."""
    classes = torch.arange(logits.shape[1], device=logits.device).view(1, -1, 1, 1)
    return (target.unsqueeze(1) == classes) & valid.unsqueeze(1)


def of_truth(values: Tensor, target: Tensor) -> Tensor:
    """Return each pixel's value of its own class, NHW.

    What ``gather`` gives; yet its gradient, where a GPU has to be deterministic, is sorted before it is written. There
    the others are masked and the sum is taken, which adds only zeros.

    Args:
        values: NCHW.
        target: Class ids, int64 NHW, none ignored.
    """
    index = target.unsqueeze(1)
    if not gpu_forms.deterministic(values):
        return values.gather(1, index).squeeze(1)
    classes = torch.arange(values.shape[1], device=values.device).view(1, -1, 1, 1)
    return values.masked_fill(index != classes, 0.0).sum(1)


def class_factors(logits: Tensor, class_weights: ClassWeights) -> Tensor:
    """Return the factor of each class as float32 1C11, ones for None.

    Raises:
        ShapeError: Not one factor a class.
    """
    classes = logits.shape[1]
    if class_weights is None:
        return logits.new_ones(1, classes, 1, 1)
    if len(class_weights) != classes:
        raise ShapeError("class_weights", f"{len(class_weights)} values for {classes} classes", "give one a class")
    return _held(tuple(class_weights), logits.device).view(1, -1, 1, 1)


@functools.lru_cache(maxsize=64)
def _held(factors: tuple[float, ...], device: torch.device) -> Tensor:
    """Return the factors on the device, copied there once: a step that is captured as a graph cannot do it."""
    with torch.inference_mode(mode=False):
        return torch.tensor(factors, dtype=torch.float32, device=device)


def pixel_weights(logits: Tensor, target: Tensor, counted: Tensor, class_weights: ClassWeights) -> Tensor:
    """Return the factor of each pixel, NHW: its class's where it is counted, else 0."""
    if class_weights is None:
        return counted
    return class_factors(logits, class_weights).flatten()[target] * counted


def _mean(values: Tensor, factors: Tensor) -> Tensor:
    """Return the sum of values over that of factors, of all processes where they are joint; 0 without any."""
    summed, total = totals(values.sum(), factors.sum())
    return summed / (total.clamp(min=1) if factors.dtype == torch.bool else torch.where(total > 0, total, 1.0))


def _rank_of(values: Tensor, kept: int) -> Tensor:
    """Return the largest of the ``kept`` smallest values an image (NHW), counted over the whole batch."""
    images = len(values) * (size() if is_joint() else 1)
    return smallest_up_to(values, kept * images)[-1]
