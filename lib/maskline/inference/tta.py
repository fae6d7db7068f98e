"""Test-time augmentation: an image is seen at several scales and mirrored, and the probabilities are averaged.

Source: ``SegTTAModel`` of MMSegmentation 1.2.2 (Apache-2.0), written anew.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Flip = Literal["none", "horizontal", "vertical", "both"]

_AXES: dict[Flip, tuple[int, ...]] = {"none": (), "horizontal": (3,), "vertical": (2,), "both": (2, 3)}
_PLAIN = (1.0, "none")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tta:
    """What an image is turned into: every scale with every flip.

    Args:
        scales: Factors of both sides; see ``view_size``.
        flips: Mirrorings.
    """

    scales: tuple[float, ...]
    flips: tuple[Flip, ...]

    @property
    def is_plain(self) -> bool:
        """Whether the image itself is the only view."""
        return self.scales == (1.0,) and self.flips == ("none",)


def averaged_probabilities(
    logits_of: Callable[[Tensor], Tensor],
    view: Callable[[float], Tensor],
    tta: Tta,
    *,
    plain: Tensor,
    restored: Callable[[Tensor, tuple[int, int]], Tensor],
) -> Tensor:
    """Return the mean over views of the softmax, each at the size of the images.

    Args:
        logits_of: Maps NCHW to logits NCHW at input size; it gets all flips of a scale in one batch, but for ``plain``.
        view: Maps a factor to the images at that scale, NCHW float.
        tta: Scales and flips, at least one of each.
        plain: The softmax for the images as they are, NCHW, which is not computed again.
        restored: Resizes logits to a height and width.

    Returns:
        NCHW float32, sum 1 over C.
    """
    size = (int(plain.shape[2]), int(plain.shape[3]))
    total = torch.zeros_like(plain)
    for scale in tta.scales:
        new = [flip for flip in tta.flips if (scale, flip) != _PLAIN]
        scaled = view(scale) if new else plain
        flipped = [scaled.flip(_AXES[flip]) for flip in new]
        parts = iter(logits_of(torch.cat(flipped)).chunk(len(flipped)) if flipped else ())
        for flip in tta.flips:
            if (scale, flip) == _PLAIN:
                total += plain
                continue
            total += restored(next(parts).flip(_AXES[flip]), size).softmax(1)
    return total / (len(tta.scales) * len(tta.flips))


def view_size(size: tuple[int, int], scale: float) -> tuple[int, int]:
    """Return height and width of a view.

    As mmcv's ``imrescale`` has it: sides are rounded, and the image fills them as far as its shape allows, so that a
    side can be a pixel shorter than ``scale`` says.

    Args:
        size: Height and width of the image.
        scale: Factor of both.
    """
    room = [_rounded(side * scale) for side in size]
    factor = min(max(room) / max(size), min(room) / min(size))
    return _rounded(size[0] * factor), _rounded(size[1] * factor)


def _rounded(length: float) -> int:
    return max(1, int(length + 0.5))
