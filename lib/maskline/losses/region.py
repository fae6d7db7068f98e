"""Losses on the overlap of whole regions. See ``maskline.losses.pixel`` for what all losses have in common.

All but MMSegmentation's Dice are taken class by class over all pixels of the batch; the mean, weighted by
``class_weights``, is over the classes that the target holds. A class that no pixel has would score near 0 whatever the
network does; its false positives still cost the others. Sums go over all processes, as in ``maskline.losses.pixel``.

Of soft labels t, a class is held where they sum to half a pixel, and the overlap with the probabilities p is
``(sum(p) + sum(t) - sum(|p - t|)) / 2``, pixel by pixel the smaller of both: the loss is least where p is t. With the
sum of products, which is the same for one-hot labels, it would be least where p is 1 for the likeliest class. Source:
Wang, Popordanoska, Bertels, Lemmens, Blaschko, "Dice semimetric losses: optimizing the Dice score with soft labels",
2023; Wang, Ning, Blaschko, "Jaccard metric losses: optimizing the Jaccard index with soft labels", 2023.
"""

from typing import Literal

import torch
from torch import Tensor

from maskline.losses.composite import takes_soft
from maskline.losses.pixel import ClassWeights, class_factors, keep_known, keep_valid, one_hot
from maskline.runtime import gpu_forms
from maskline.runtime.processes.distributed import is_joint, rank, rows, size, totals

_HELD = 0.5  # pixels of a class that the target holds; of class ids, one is the least


@takes_soft
def dice(logits: Tensor, target: Tensor, ignore_index: int, *, class_weights: ClassWeights, smooth: float) -> Tensor:
    """Return one minus the mean Dice score of the classes that the target holds, on softmax probabilities.

    For class c, with p the probability and t the one-hot target:
    ``dice_c = (2 * sum(p_c * t_c) + smooth) / (sum(p_c) + sum(t_c) + smooth)``.

    Args:
        logits: NCHW, any float type; computed in float32.
        target: Class ids, int64 NHW; or probabilities, NCHW.
        ignore_index: Target value that does not count.
        class_weights: One factor a class, or None.
        smooth: Added to both sides of the fraction, pixels; larger than 0.

    Source: Milletari, Navab, Ahmadi, "V-Net", 2016 (there with squares in the denominator).
    """
    overlap, predicted, actual = _sums(logits, target, ignore_index)
    lost = 1 - (2 * overlap + smooth) / (predicted + actual + smooth)
    return mean_of_present(lost, actual >= _HELD, class_weights)


def dice_mmseg(
    logits: Tensor,
    target: Tensor,
    ignore_index: int,
    *,
    activation: Literal["sigmoid", "softmax"],
    naive: bool,
    eps: float,
    count_ignored: bool,
) -> Tensor:
    """Return MMSegmentation's Dice loss: one fraction over all classes and pixels of an image, mean over images.

    Args:
        logits: NCHW, any float type; computed in float32.
        target: Class ids, int64 NHW.
        ignore_index: Target value that does not count.
        activation: From logits to probabilities.
        naive: Plain sums in the denominator instead of sums of squares.
        eps: Added to the fraction.
        count_ignored: An ignored pixel is of no class, and what is predicted there is wrong, with a gradient, as in
            MMSegmentation. Else it has no part, nor has an image of ignored pixels alone in the mean.

    Source: MMSegmentation 1.2.2 (Apache-2.0), DiceLoss.
    """
    kept, target, valid = keep_valid(logits, target, ignore_index)
    truth = one_hot(kept, target, valid).flatten(1).float()
    if count_ignored:
        kept, valid = logits.float(), torch.ones_like(valid)
    probabilities = torch.softmax(kept, dim=1) if activation == "softmax" else torch.sigmoid(kept)
    probabilities = (probabilities * valid.unsqueeze(1)).flatten(1)
    overlap = (probabilities * truth).sum(1)
    if naive:
        score = (2 * overlap + eps) / (probabilities.sum(1) + truth.sum(1) + eps)
    else:
        score = 2 * overlap / (probabilities.square().sum(1) + truth.sum(1) + 2 * eps)
    counted = valid.flatten(1).any(1)
    lost, images = totals(((1 - score) * counted).sum(), counted.sum())
    return lost / images.clamp(min=1)


@takes_soft
def jaccard(logits: Tensor, target: Tensor, ignore_index: int, *, class_weights: ClassWeights, smooth: float) -> Tensor:
    """Return one minus the mean soft intersection over union.

    Args:
        logits: NCHW, any float type; computed in float32.
        target: Class ids, int64 NHW; or probabilities, NCHW.
        ignore_index: Target value that does not count.
        class_weights: One factor a class, or None.
        smooth: Added to both sides of the fraction, pixels; larger than 0.

    Source: Rahman, Wang, "Optimizing intersection-over-union in deep neural networks for image segmentation", 2016.
    """
    overlap, predicted, actual = _sums(logits, target, ignore_index)
    lost = 1 - (overlap + smooth) / (predicted + actual - overlap + smooth)
    return mean_of_present(lost, actual >= _HELD, class_weights)


@takes_soft
def tversky(
    logits: Tensor,
    target: Tensor,
    ignore_index: int,
    *,
    class_weights: ClassWeights,
    alpha: float,
    beta: float,
    smooth: float,
) -> Tensor:
    """Return one minus the mean Tversky index: false positives weigh ``alpha``, false negatives ``beta``.

    Args:
        logits: NCHW, any float type; computed in float32.
        target: Class ids, int64 NHW; or probabilities, NCHW.
        ignore_index: Target value that does not count.
        class_weights: One factor a class, or None.
        alpha: Weight of false positives; 0.5 with beta 0.5 gives Dice.
        beta: Weight of false negatives.
        smooth: Added to both sides of the fraction, pixels; larger than 0.

    Source: Salehi, Erdogmus, Gholipour, "Tversky loss function for image segmentation using 3D fully convolutional deep
    networks", 2017. MMSegmentation's is taken image by image and over absent classes too.
    """
    lost, present = _tversky(logits, target, ignore_index, alpha=alpha, beta=beta, smooth=smooth)
    return mean_of_present(lost, present, class_weights)


@takes_soft
def focal_tversky(
    logits: Tensor,
    target: Tensor,
    ignore_index: int,
    *,
    class_weights: ClassWeights,
    alpha: float,
    beta: float,
    gamma: float,
    smooth: float,
) -> Tensor:
    """Return the mean of (1 - Tversky index) ** gamma.

    Args:
        logits: NCHW, any float type; computed in float32.
        target: Class ids, int64 NHW; or probabilities, NCHW.
        ignore_index: Target value that does not count.
        class_weights: One factor a class, or None.
        alpha: Weight of false positives.
        beta: Weight of false negatives.
        gamma: Below 1 dwells on what is nearly right, above 1 on what is wrong.
        smooth: Added to both sides of the fraction, pixels; larger than 0.

    Source: Abraham, Khan, "A novel focal Tversky loss function with improved attention U-Net for lesion segmentation",
    2018; their gamma is the inverse of this one.
    """
    lost, present = _tversky(logits, target, ignore_index, alpha=alpha, beta=beta, smooth=smooth)
    # A power below 1 has no finite slope at 0.
    return mean_of_present(lost.clamp(min=1e-6) ** gamma, present, class_weights)


def lovasz(logits: Tensor, target: Tensor, ignore_index: int, *, class_weights: ClassWeights) -> Tensor:
    """Return the Lovasz-softmax loss: the convex extension of one minus intersection over union.

    Args:
        logits: NCHW, any float type; computed in float32.
        target: Class ids, int64 NHW.
        ignore_index: Target value that does not count.
        class_weights: One factor a class, or None.

    Source: Berman, Triki, Blaschko, "The Lovasz-Softmax loss", 2018.
    """
    errors, truth, _ = softmax_errors(logits, target, ignore_index)
    return mean_of_present(*lovasz_by_class(errors, truth), class_weights)


def softmax_errors(logits: Tensor, target: Tensor, ignore_index: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return how far probabilities are from the truth, and where each class is the truth: C x pixels; valid NHW.

    An ignored pixel has error 0: wherever it is sorted among zeros, it adds nothing.

    Args:
        logits: NCHW, any float type; computed in float32.
        target: Class ids, int64 NHW.
        ignore_index: Target value that does not count.
    """
    logits, target, valid = keep_valid(logits, target, ignore_index)
    truth = one_hot(logits, target, valid).transpose(0, 1).flatten(1)
    probabilities = torch.softmax(logits, dim=1).transpose(0, 1).flatten(1)
    return (truth.float() - probabilities).abs() * valid.flatten(), truth, valid


def lovasz_by_class(errors: Tensor, truth: Tensor, *, joint: bool = True) -> tuple[Tensor, Tensor]:
    """Return the Lovasz extension of each class, and which classes the truth holds.

    Args:
        errors: C x pixels, of ``softmax_errors``.
        truth: Where each class is the truth, bool C x pixels.
        joint: Of the pixels of all processes, where they are joint.
    """
    if not (joint and is_joint()):
        slopes, present = _slopes(errors.detach(), truth)
        return (errors * slopes).sum(1), present
    slopes, present = _slopes(rows(errors), rows(truth))
    (lost,) = totals((errors * slopes.chunk(size(), dim=1)[rank()]).sum(1))
    return lost, present


def _slopes(errors: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    """Return by how much each error moves its class's index (C x pixels), and which classes the target holds (C)."""
    order = errors.sort(dim=1, descending=True, stable=True).indices
    hits = truth.gather(1, order).long()
    actual = hits.sum(1, keepdim=True)
    union = actual + (1 - hits).cumsum(1)
    index = 1 - (actual - hits.cumsum(1)).float() / union
    sorted_slopes = torch.cat([index[:, :1], index[:, 1:] - index[:, :-1]], dim=1)
    present = actual.squeeze(1) > 0
    if gpu_forms.deterministic(errors):  # to write by an index, a GPU would sort it first, and more slowly
        return sorted_slopes.gather(1, order.argsort(dim=1)), present
    return torch.empty_like(sorted_slopes).scatter_(1, order, sorted_slopes), present


def mean_of_present(lost: Tensor, present: Tensor, class_weights: ClassWeights) -> Tensor:
    """Return the mean, weighted by class, of a value a class over the classes that are present; 0 without one."""
    if class_weights is None:
        return (lost * present).sum() / present.sum().clamp(min=1)
    factors = class_factors(lost.view(1, -1, 1, 1), class_weights).flatten() * present
    total = factors.sum()
    return (lost * factors).sum() / torch.where(total > 0, total, 1.0)


def _sums(logits: Tensor, target: Tensor, ignore_index: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return, by class, the overlap of probability and truth, and the sums of probability and of truth."""
    over = (0, 2, 3)
    if target.is_floating_point():
        logits, valid = keep_known(logits, target)
        probabilities = torch.softmax(logits, dim=1) * valid.unsqueeze(1)
        sums = torch.minimum(probabilities, target).sum(over), probabilities.sum(over), target.sum(over)
        overlap, predicted, actual = totals(*sums)
        return overlap, predicted, actual
    logits, target, valid = keep_valid(logits, target, ignore_index)
    probabilities = torch.softmax(logits, dim=1) * valid.unsqueeze(1)
    truth = one_hot(logits, target, valid)
    overlap, predicted, actual = totals((probabilities * truth).sum(over), probabilities.sum(over), truth.sum(over))
    return overlap, predicted, actual


def _tversky(
    logits: Tensor, target: Tensor, ignore_index: int, *, alpha: float, beta: float, smooth: float
) -> tuple[Tensor, Tensor]:
    overlap, predicted, actual = _sums(logits, target, ignore_index)
    wrong = alpha * (predicted - overlap) + beta * (actual - overlap)
    return 1 - (overlap + smooth) / (overlap + wrong + smooth), actual >= _HELD
