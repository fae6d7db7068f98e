"""Several networks as one: the mean of their probabilities."""

import math
import re
from collections.abc import Mapping, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from maskline.models.heads.base import Head, Pair
from maskline.models.segmentor import SegmentorBase

# Keeps the logarithm of a probability finite.
_LEAST = 1e-30
_MEMBER = re.compile(r"^members\.(\d+)\.")


class Ensemble(SegmentorBase):
    """Networks of the same images and classes; its logits are the logarithm of the mean of their probabilities.

    Their softmax is therefore that mean, and all that follows a network follows this one. In training each member has
    the losses that it has alone, on batches that all share; what looks at a whole run, such as a bound on the norm of
    all gradients or the choice of the best step, looks at all members together.

    Args:
        members: Two or more.
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
        fields = [cast("Tensor", member(images)).softmax(1) for member in self._members()]
        mean = torch.stack(fields).sum(0) / len(fields)
        return {"decode_head": mean.clamp_min(_LEAST).log()}

    def heads(self) -> dict[str, Head]:
        """Return the heads of all members by name: ``members.0.decode_head``."""
        return {
            member_name(i, name): head for i, own in enumerate(self._members()) for name, head in own.heads().items()
        }

    def head_logits(self, images: Tensor) -> dict[str, Tensor]:
        """See ``SegmentorBase``; by the names of ``heads``."""
        return {
            member_name(i, name): value
            for i, own in enumerate(self._members())
            for name, value in own.head_logits(images).items()
        }

    def training_pairs(self, images: Tensor, target: Tensor) -> dict[str, Pair]:
        """See ``SegmentorBase``; by the names of ``heads``."""
        pairs: dict[str, Pair] = {}
        for i, member in enumerate(self._members()):
            own = member.training_pairs(images, target)
            pairs |= {member_name(i, name): pair for name, pair in own.items()}
        return pairs

    def supervise_heads(self, images: Tensor, target: Tensor) -> dict[str, Pair]:
        """Return the logits beside the target."""
        return {"decode_head": (self.run_heads(images, auxiliary=False)["decode_head"], target)}

    def _members(self) -> list[SegmentorBase]:
        return [cast("SegmentorBase", member) for member in self.members]


def member_name(position: int, name: str) -> str:
    """Return the name that an output or a tensor of a member has in the ensemble."""
    return f"members.{position}.{name}"


def of_member(weights: Mapping[str, Tensor], position: int) -> dict[str, Tensor]:
    """Return the tensors of one member under the names that they have where it stands alone.

    Args:
        weights: Of an ensemble; those of a single network are returned as they are.
        position: Of the member, counted anew after the last.
    """
    found = {name: match for name in weights if (match := _MEMBER.match(name))}
    if not found:
        return dict(weights)
    chosen = position % (1 + max(int(match[1]) for match in found.values()))
    return {name[match.end() :]: weights[name] for name, match in found.items() if int(match[1]) == chosen}
