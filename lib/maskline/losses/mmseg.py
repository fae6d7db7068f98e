"""MMSegmentation's own losses, to its numbers. See ``maskline.losses.pixel`` for what all losses have in common.

They differ from the losses of the same name here in what a sum is divided by: all pixels, ignored ones too, and no
weights of classes. An ignored pixel still adds nothing, in value and gradient. Dice is ``maskline.losses.region``'s.

Source: MMSegmentation 1.2.2 (Apache-2.0): CrossEntropyLoss, OHEMPixelSampler, FocalLoss, TverskyLoss, LovaszLoss. Where
its own numbers are an error or NaN (no pixel counts; class weights beside ignored pixels), a mean is over what counts.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from maskline.losses.pixel import (
    ClassWeights,
    class_factors,
    focal_by_class,
    hard_of_batch,
    keep_valid,
    of_truth,
    one_hot,
    pixel_weights,
    smallest_up_to,
)
from maskline.losses.region import lovasz_by_class, softmax_errors
from maskline.runtime.processes.distributed import is_joint, size, totals

Reduction = Literal["mean", "sum"]


def cross_entropy_mmseg(
    logits: Tensor,
    target: Tensor,
    ignore_index: int,
    *,
    class_weights: ClassWeights,
    activation: Literal["softmax", "sigmoid"],
    reduction: Reduction,
) -> Tensor:
    """Return the cross-entropy over the number of all pixels: what ``avg_non_ignore=False`` gives.

    Args:
        logits: NCHW, any float type; computed in float32.
        target: Class ids, int64 NHW.
        ignore_index: Target value that adds nothing, yet counts in the mean.
        class_weights: One factor a class, or None; the mean is not divided by them.
        activation: softmax; sigmoid: each class by itself, mean over the classes too.
        reduction: mean, or sum over pixels and classes.
    """
    logits, target, valid = keep_valid(logits, target, ignore_index)
    if activation == "softmax":
        negative_log = -of_truth(torch.log_softmax(logits, dim=1), target)
        return _reduced(negative_log * pixel_weights(logits, target, valid, class_weights), reduction)
    missed = F.binary_cross_entropy_with_logits(logits, one_hot(logits, target, valid).float(), reduction="none")
    return _reduced(missed * class_factors(logits, class_weights) * valid.unsqueeze(1), reduction)


def ohem_mmseg(
    logits: Tensor,
    target: Tensor,
    ignore_index: int,
    *,
    class_weights: ClassWeights,
    threshold: float | None,
    min_kept: int,
    count_ignored: bool,
) -> Tensor:
    """Return the cross-entropy of the hard pixels over the number of all pixels, hard or not.

    Hard is a pixel whose own class has a probability under ``threshold``, or under that of the pixel which is number
    ``min_kept`` times images of the batch, counted from 0 at the hardest. Without a threshold, hard are the pixels of
    the ``min_kept`` times images largest losses; pixels that tie with the last of them count too.

    Args:
        logits: NCHW, any float type; computed in float32.
        target: Class ids, int64 NHW.
        ignore_index: Target value that is never hard.
        class_weights: One factor a class, or None. With them the sum is divided by the factors of all pixels that are
            not ignored.
        threshold: Probability, 0..1, or None.
        min_kept: Pixels an image.
        count_ignored: Whether ignored pixels are among those that the sum is divided by, without class weights.
    """
    logits, target, valid = keep_valid(logits, target, ignore_index)
    negative_log = -of_truth(torch.log_softmax(logits, dim=1), target)
    factors = pixel_weights(logits, target, valid, class_weights)
    losses = negative_log * factors
    kept = min_kept * len(target) * (size() if is_joint() else 1)
    with torch.no_grad():
        if threshold is not None:
            hard = hard_of_batch(torch.exp(-negative_log), valid, kept=kept, threshold=threshold)
        else:
            ease = -losses.detach().masked_fill(~valid, -torch.inf)
            hard = valid & (ease <= smallest_up_to(ease, kept)[-1])
    if class_weights is None and count_ignored:
        return _reduced(losses * hard, "mean")
    summed, count = totals((losses * hard).sum(), factors.sum())
    return summed / torch.where(count > 0, count, 1)


def focal_mmseg(
    logits: Tensor,
    target: Tensor,
    ignore_index: int,
    *,
    class_weights: ClassWeights,
    gamma: float,
    alpha: float | Sequence[float],
    reduction: Reduction,
) -> Tensor:
    """Return the focal loss of each class by itself, over the number of all pixels times classes.

    Args:
        logits: NCHW, any float type; computed in float32.
        target: Class ids, int64 NHW.
        ignore_index: Target value that adds nothing, yet counts in the mean.
        class_weights: One factor a class, or None; the mean is not divided by them.
        gamma: At least 0: how much less easy pixels count.
        alpha: Weight of a pixel's own class against 1 - alpha of the others; one for all, or one a class.
        reduction: mean, or sum over pixels and classes.
    """
    logits, target, valid = keep_valid(logits, target, ignore_index)
    balance = class_factors(logits, [alpha] * logits.shape[1] if isinstance(alpha, float | int) else alpha)
    eased = focal_by_class(logits, one_hot(logits, target, valid), gamma=gamma, alpha=balance)
    return _reduced(eased * class_factors(logits, class_weights) * valid.unsqueeze(1), reduction)


def tversky_mmseg(
    logits: Tensor,
    target: Tensor,
    ignore_index: int,
    *,
    class_weights: ClassWeights,
    alpha: float,
    beta: float,
    smooth: float,
) -> Tensor:
    """Return one minus the Tversky index of each image and class, absent ones too: the mean over both.

    Args:
        logits: NCHW, any float type; computed in float32.
        target: Class ids, int64 NHW.
        ignore_index: Target value that does not count; an image of ignored pixels alone costs 0, and is in the mean.
        class_weights: One factor a class, or None; the mean is not divided by them.
        alpha: Weight of false positives.
        beta: Weight of false negatives.
        smooth: Added to both sides of the fraction, pixels; larger than 0.
    """
    logits, target, valid = keep_valid(logits, target, ignore_index)
    probabilities = torch.softmax(logits, dim=1) * valid.unsqueeze(1)
    truth = one_hot(logits, target, valid)
    overlap, predicted, actual = (
        part.sum((2, 3)) for part in (probabilities * truth, probabilities, truth.to(probabilities.dtype))
    )
    wrong = alpha * (predicted - overlap) + beta * (actual - overlap)
    lost = 1 - (overlap + smooth) / (overlap + wrong + smooth)
    return _reduced(lost * class_factors(logits, class_weights).flatten(1), "mean")


def lovasz_mmseg(
    logits: Tensor,
    target: Tensor,
    ignore_index: int,
    *,
    class_weights: ClassWeights,
    classes: Literal["present", "all"] | Sequence[int],
    per_image: bool,
    reduction: Reduction,
) -> Tensor:
    """Return the Lovasz-softmax loss, each class times its factor, over the number of classes.

    Args:
        logits: NCHW, any float type; computed in float32.
        target: Class ids, int64 NHW.
        ignore_index: Target value that does not count.
        class_weights: One factor a class, or None; the mean is not divided by them.
        classes: Those that the target holds, all, or these.
        per_image: Image by image instead of over the batch; one of ignored pixels alone has no part.
        reduction: mean over images, or their sum (per_image).
    """
    errors, truth, valid = softmax_errors(logits, target, ignore_index)
    factors = class_factors(logits, class_weights).flatten().to(errors.dtype)
    if not per_image:
        return _mean_of_classes(*lovasz_by_class(errors, truth), factors, classes)
    images, pixels = len(target), target[0].numel()
    parts = [
        _mean_of_classes(*lovasz_by_class(error, true, joint=False), factors, classes)
        for error, true in zip(torch.split(errors, pixels, dim=1), torch.split(truth, pixels, dim=1), strict=True)
    ]
    summed, count = totals(torch.stack(parts).sum(), valid.view(images, -1).any(1).sum())
    return summed if reduction == "sum" else summed / count.clamp(min=1)


def _mean_of_classes(lost: Tensor, present: Tensor, factors: Tensor, classes: str | Sequence[int]) -> Tensor:
    """Return the mean of a value a class, times its factor, over the classes that are wanted; 0 without one."""
    if classes == "present":
        return (lost * factors * present).sum() / present.sum().clamp(min=1)
    weighted = lost * factors
    return weighted.mean() if classes == "all" else torch.stack([weighted[int(c)] for c in classes]).mean()


def _reduced(values: Tensor, reduction: Reduction) -> Tensor:
    """Return the sum, or mean, of all values of all processes where they are joint."""
    summed, count = totals(values.sum(), torch.full((), values.numel(), device=values.device))
    return summed if reduction == "sum" else summed / count
