"""Several networks as one: the mean of their probabilities."""

import math
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from maskline.models.segmentor import SegmentorBase

# Keeps the logarithm of a probability finite.
_LEAST = 1e-30


class Ensemble(SegmentorBase):
    """Networks of the same images and classes; its logits are the logarithm of the mean of their probabilities.

    Their softmax is therefore that mean, and all that follows a network follows this one. It is not trained.

    Args:
        members: Two or more, in eval mode.
    """

    def __init__(self, members: Sequence[SegmentorBase]) -> None:
        first = members[0]
        super().__init__(
            num_classes=first.num_classes,
            stride=math.lcm(*(member.stride for member in members)),
            align_corners=first.align_corners,
            min_side=max(member.min_side for member in members),
        )
        self.members = nn.ModuleList(members)

    def run_heads(self, images: Tensor, *, auxiliary: bool) -> dict[str, Tensor]:
        """Return the logits by the name of a decode head."""
        del auxiliary  # a member's auxiliary heads serve its own training
        fields = [cast("Tensor", member(images)).softmax(1) for member in self.members]
        mean = torch.stack(fields).sum(0) / len(fields)
        return {"decode_head": mean.clamp_min(_LEAST).log()}

    def supervise_heads(self, images: Tensor, target: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
        """Return the logits beside the target."""
        return {"decode_head": (self.run_heads(images, auxiliary=False)["decode_head"], target)}
