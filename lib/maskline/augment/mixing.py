"""Copy-paste, CutMix and mixup: samples of one batch lend each other pixels, with their labels.

Copy-paste lays all pixels of one class of another sample over this one. CutMix lays a box over it. Both take the
labels along, so every pixel has one class. Mixup blends whole images, and a pixel then has two classes: the loss is
that of either target, weighed as the images were blended. As a loss is over a batch, so is mixup: one share for all
samples of it, each blended with another.

Pixels are lent before any sample has borrowed, so that the result does not depend on an order.

Source: Ghiasi et al. 2021, Simple Copy-Paste; Yun et al. 2019, CutMix; Zhang et al. 2018, mixup.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from maskline.core.seeds import numpy_generator


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyPaste:
    """What one sample gets by copy-paste.

    Args:
        partner: Position that lends.
        choice: 0..1, which of the classes that it can lend.
    """

    partner: int
    choice: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CutMix:
    """What one sample gets by CutMix.

    Args:
        partner: Position that lends.
        box: Top, left, bottom, right, px.
    """

    partner: int
    box: tuple[int, int, int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mixup:
    """How one sample is blended.

    Args:
        partner: Position that it is blended with.
        share: Of the sample itself; the same for the whole batch.
    """

    partner: int
    share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Mix:
    """What one sample borrows."""

    copy_paste: CopyPaste | None
    cutmix: CutMix | None
    mixup: Mixup | None

    @property
    def partners(self) -> set[int]:
        """Positions that it borrows from."""
        return {part.partner for part in (self.copy_paste, self.cutmix, self.mixup) if part is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class Mixing:
    """Settings; see ``augment.copy_paste``, ``cutmix``, ``mixup`` of params.yaml.

    ``classes`` are the ids that copy-paste may lend; ``batch_size`` is that of all processes together.
    """

    batch_size: int
    copy_paste_prob: float
    classes: tuple[int, ...]
    cutmix_prob: float
    cutmix_alpha: float
    mixup_prob: float
    mixup_alpha: float

    def draw(self, seed: int, iteration: int, position: int, *, crop_size: tuple[int, int]) -> Mix:
        """Draw for one sample; every number is drawn whether it is used or not.

        Args:
            seed: The run's seed.
            iteration: Of the batch; mixup depends on it alone.
            position: Of the sample in its batch.
            crop_size: Height and width, px.
        """
        rng = numpy_generator(seed, "augment mix", iteration, position)
        batch_rng = numpy_generator(seed, "augment mixup", iteration)
        happens, choice = rng.random(2), float(rng.random())
        others = [
            (position + 1 + int(offset)) % self.batch_size for offset in rng.integers(self.batch_size - 1, size=2)
        ]
        box = _box(rng, float(rng.beta(self.cutmix_alpha, self.cutmix_alpha)), crop_size)
        blends, turn = batch_rng.random() < self.mixup_prob, 1 + int(batch_rng.integers(self.batch_size - 1))
        share = float(batch_rng.beta(self.mixup_alpha, self.mixup_alpha))
        return Mix(
            copy_paste=CopyPaste(partner=others[0], choice=choice) if happens[0] < self.copy_paste_prob else None,
            cutmix=CutMix(partner=others[1], box=box) if happens[1] < self.cutmix_prob else None,
            mixup=Mixup(partner=(position + turn) % self.batch_size, share=share) if blends else None,
        )

    def paste(self, images: Tensor, labels: Sequence[Tensor], samples: Sequence[Mix], rows: dict[int, int]) -> None:
        """Apply copy-paste and CutMix, in place.

        Args:
            images: NCHW float32.
            labels: Masks NHW; the first decides what copy-paste takes, all go along.
            samples: One entry an image that borrows, from the first on.
            rows: Row of each position.
        """
        lent, lent_labels = images.clone(), [masks.clone() for masks in labels]
        for i, sample in enumerate(samples):
            for taken, row in self._taken(sample, lent_labels[0], rows):
                images[i] = torch.where(taken, lent[row], images[i])
                for masks, sources in zip(labels, lent_labels, strict=True):
                    masks[i] = torch.where(taken, sources[row], masks[i])

    def _taken(self, sample: Mix, lent: Tensor, rows: dict[int, int]) -> list[tuple[Tensor, int]]:
        """Return which pixels come from which row."""
        taken = []
        if sample.copy_paste is not None:
            row = rows[sample.copy_paste.partner]
            present = [each for each in self.classes if bool((lent[row] == each).any())]
            if present:
                chosen = present[int(sample.copy_paste.choice * len(present))]
                taken.append((lent[row] == chosen, row))
        if sample.cutmix is not None:
            row = rows[sample.cutmix.partner]
            inside = torch.zeros_like(lent[row], dtype=torch.bool)
            top, left, bottom, right = sample.cutmix.box
            inside[top:bottom, left:right] = True
            taken.append((inside, row))
        return taken


def blend(images: Tensor, samples: Sequence[Mix], rows: dict[int, int]) -> tuple[Tensor, list[int], float]:
    """Apply mixup.

    Args:
        images: NCHW float32.
        samples: One entry an image that borrows, from the first on.
        rows: Row of each position.

    Returns:
        The images of ``samples``, the row that each is blended with, and the share of the sample itself; without
        mixup the share is 1 and every row its own.
    """
    parts = [sample.mixup for sample in samples]
    first = parts[0]
    if first is None:
        return images[: len(samples)], list(range(len(samples))), 1.0
    partners = [rows[part.partner] for part in parts if part is not None]
    mixed = first.share * images[: len(samples)] + (1 - first.share) * images[partners]
    return mixed, partners, first.share


def _box(rng: np.random.Generator, kept: float, crop_size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Return a box of ``1 - kept`` of the crop about a uniform centre, cut off at the crop's border."""
    side = math.sqrt(1 - kept)
    spans = []
    for length in crop_size:
        centre, half = int(rng.integers(length)), int(length * side) // 2
        spans.append((max(centre - half, 0), min(centre + half, length)))
    return spans[0][0], spans[1][0], spans[0][1], spans[1][1]
