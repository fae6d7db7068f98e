"""The loss of heads that predict masks, and a class for each: every class of an image is matched with one query.

A query's class is compared with that of its match, or with none; a matched query's mask is compared with its class's.
Sums and counts go over the batches of all processes where training says so, as in ``maskline.losses.pixel``.

Source: Cheng et al., "Per-Pixel Classification is Not All You Need for Semantic Segmentation", 2021 (whole masks, focal
loss), and "Masked-attention Mask Transformer for Universal Image Segmentation", 2022 (points, cross-entropy); numbers
as in MMDetection 3.3.0 (Apache-2.0).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from maskline.losses.class_masks import ClassMasks
from maskline.losses.matching import Matches, assign
from maskline.runtime.gpu_forms import draw_points, sample_points
from maskline.runtime.patches import interpolation
from maskline.runtime.processes.distributed import totals

_GAMMA, _ALPHA = 2.0, 0.25
_SMOOTH = 1.0
_LITTLE = torch.finfo(torch.float32).eps


class Predictions(Protocol):
    """What a head gives: class logits (N, Q, classes + 1), none last, and mask logits (N, Q, h, w), layer by layer.

    ``padded`` are the height and width in px that masks cover, those of the target or more at the bottom and right.
    """

    @property
    def classes(self) -> Sequence[Tensor]:
        """Class logits."""

    @property
    def masks(self) -> Sequence[Tensor]:
        """Mask logits."""

    @property
    def padded(self) -> tuple[int, int]:
        """What masks cover."""


@dataclass(frozen=True, kw_only=True)
class MaskPoints:
    """At how many points masks are compared, and which.

    Args:
        count: Points of a mask.
        oversample: Candidates per chosen point.
        uncertain_share: Share of the points that are the most uncertain candidates; the others are random.
    """

    count: int
    oversample: float
    uncertain_share: float


class MaskClassification(nn.Module):
    """The loss of each layer's predictions; weights are those of the matching's costs too.

    Args:
        class_loss_weight: Of the cross-entropy of the classes.
        mask_loss_weight: Of the mean over a mask's places of its own loss.
        dice_loss_weight: Of one minus the Dice score of a mask.
        void_weight: Of a query without a match in the cross-entropy of the classes.
        mask_loss: What a place of a mask is compared by.
        points: Which places; None: all pixels, and for the matching those of the predicted masks.
        count_ignored: An ignored pixel is outside of every mask; else it does not count.
    """

    reads_back = "its matches"

    def __init__(
        self,
        *,
        class_loss_weight: float,
        mask_loss_weight: float,
        dice_loss_weight: float,
        void_weight: float,
        mask_loss: Literal["cross_entropy", "focal"],
        points: MaskPoints | None,
        count_ignored: bool,
    ) -> None:
        super().__init__()
        self._weights = class_loss_weight, mask_loss_weight, dice_loss_weight
        self._void_weight, self._mask_loss = void_weight, mask_loss
        self._points, self._count_ignored = points, count_ignored

    def forward(
        self, predictions: Predictions | Tensor, target: Tensor, ignore_index: int
    ) -> dict[str, Tensor] | Tensor:
        """Return each layer's loss by ``.layer_0`` and so on, the last one's by an empty name, as float32 scalars.

        Class scores (NCHW, at least 0: what a head gives at inference) have no layers; theirs is the mean of minus the
        logarithm of the true class's share.

        Args:
            predictions: See there; or class scores.
            target: Class ids, int64 NHW.
            ignore_index: Target value that does not count; see ``count_ignored``.
        """
        if isinstance(predictions, Tensor):
            return _of_scores(predictions, target, ignore_index)
        height, width = predictions.padded
        classes, masks = ([_wide(x) for x in part] for part in (predictions.classes, predictions.masks))
        truth = ClassMasks(
            F.pad(target, (0, width - target.shape[2], 0, height - target.shape[1]), value=ignore_index),
            num_classes=classes[0].shape[2] - 1,
            ignore_index=ignore_index,
            count_ignored=self._count_ignored,
            dtype=classes[0].dtype,
        )
        matches = self._match(classes, masks, truth)
        *earlier, last = (self._of_layer(*layer, truth) for layer in zip(classes, masks, matches, strict=True))
        return {**{f".layer_{i}": loss for i, loss in enumerate(earlier)}, "": last}

    @torch.no_grad()
    def _match(self, classes: Sequence[Tensor], masks: Sequence[Tensor], truth: ClassMasks) -> list[Matches]:
        on_grid = None if self._points else truth.on_grid((masks[0].shape[2], masks[0].shape[3]))
        costs = []
        for of_class, mask in zip(classes, masks, strict=True):
            if on_grid is None:
                assert self._points is not None
                points = torch.rand(len(mask), self._points.count, 2, device=mask.device)
                at, (shares, counted) = sample_points(mask, points, align_corners=False), truth.at(points)
            else:
                at, (shares, counted) = mask.flatten(2), on_grid
            costs.append(self._costs(of_class, at, shares, counted))
        return assign(costs, truth.present())

    def _costs(self, classes: Tensor, at: Tensor, shares: Tensor, counted: Tensor) -> Tensor:
        """Return the cost of each query for each class, (N, Q, classes).

        Args:
            classes: (N, Q, classes + 1).
            at: Mask logits at P places, (N, Q, P).
            shares: Of each class there, (N, P, classes).
            counted: How much each place counts, (N, P).
        """
        class_weight, mask_weight, dice_weight = self._weights
        inside, outside = self._of_places(at)
        mask_cost = inside @ shares + outside @ (counted.unsqueeze(2) - shares)
        mask_cost = mask_cost / counted.sum(1).clamp(min=_LITTLE)[:, None, None]
        probability = at.sigmoid()
        sums = (probability * counted.unsqueeze(1)).sum(2, keepdim=True) + shares.sum(1, keepdim=True)
        dice_cost = 1 - (2 * probability @ shares + _SMOOTH) / (sums + _SMOOTH)
        class_cost = -classes.softmax(2)[..., :-1]
        return class_weight * class_cost + mask_weight * mask_cost + dice_weight * dice_cost

    def _of_places(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss of each place if it is inside of the true mask, and if it is outside."""
        inside, outside = -F.logsigmoid(logits), -F.logsigmoid(-logits)
        if self._mask_loss == "cross_entropy":
            return inside, outside
        probability = logits.sigmoid()
        return _ALPHA * (1 - probability) ** _GAMMA * inside, (1 - _ALPHA) * probability**_GAMMA * outside

    def _of_layer(self, classes: Tensor, masks: Tensor, matches: Matches, truth: ClassMasks) -> Tensor:
        void = classes.shape[2] - 1
        labels = torch.full(classes.shape[:2], void, dtype=torch.int64, device=classes.device)
        labels = labels.index_put((matches.image, matches.query), matches.of_class)
        factors = torch.where(labels == void, self._void_weight, 1.0).to(classes.dtype)
        missed = -classes.log_softmax(2).gather(2, labels.unsqueeze(2)).squeeze(2) * factors
        mask_loss, dice_loss = self._of_masks(masks[matches.image, matches.query], matches, truth)
        count = mask_loss.new_full((), len(mask_loss))
        missed_sum, factor_sum, mask_sum, dice_sum, count = totals(
            missed.sum(), factors.sum(), mask_loss.sum(), dice_loss.sum(), count
        )
        count, (class_weight, mask_weight, dice_weight) = count.clamp(min=1), self._weights
        # MMDetection's denominators have this little more, which keeps them from 0.
        class_loss = missed_sum / (factor_sum + _LITTLE)
        return class_weight * class_loss + mask_weight * mask_sum / count + dice_weight * dice_sum / (count + _LITTLE)

    def _of_masks(self, masks: Tensor, matches: Matches, truth: ClassMasks) -> tuple[Tensor, Tensor]:
        """Return the loss of each matched mask (M, h, w) by its places, and by its Dice score: two of (M,)."""
        masks = masks.unsqueeze(1)
        if self._points is None:
            at = interpolation.interpolate(masks, truth.size, mode="bilinear", align_corners=False).flatten(1)
            shares, counted = truth.whole(matches.image, matches.of_class)
        else:
            with torch.no_grad():
                points = self._draw(masks, self._points)
                shares, counted = truth.of(matches.image, matches.of_class, points)
            at = sample_points(masks, points, align_corners=False).squeeze(1)
        inside, outside = self._of_places(at)
        by_place = (inside * shares + outside * (counted - shares)).sum(1) / counted.sum(1).clamp(min=_LITTLE)
        probability = at.sigmoid()
        sums = (probability * counted).sum(1) + shares.sum(1)
        return by_place, 1 - (2 * (probability * shares).sum(1) + _SMOOTH) / (sums + _SMOOTH)

    @staticmethod
    def _draw(masks: Tensor, plan: MaskPoints) -> Tensor:
        return draw_points(
            lambda points: -sample_points(masks, points, align_corners=False).squeeze(1).abs(),
            rows=len(masks),
            count=plan.count,
            oversample=plan.oversample,
            uncertain_share=plan.uncertain_share,
            like=masks,
        )


def _wide(x: Tensor) -> Tensor:
    return x if x.dtype == torch.float64 else x.float()


def _of_scores(scores: Tensor, target: Tensor, ignore_index: int) -> Tensor:
    valid = target != ignore_index
    shares = scores.float() / scores.float().sum(1, keepdim=True).clamp(min=_LITTLE)
    own = shares.gather(1, target.masked_fill(~valid, 0).unsqueeze(1)).squeeze(1)
    summed, count = totals((-own.clamp(min=_LITTLE).log() * valid).sum(), valid.sum())
    return summed / count.clamp(min=1)
