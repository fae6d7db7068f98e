"""Necks that compute nothing of their own: a choice of features, and a concatenation at one size."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from maskline.models.layers import resize, size_of


class Select(nn.Module):
    """Some of the features, in the order given.

    Args:
        indices: Positions in the list of features (negative: from the end).
    """

    def __init__(self, *, indices: Sequence[int]) -> None:
        super().__init__()
        self.indices = tuple(indices)

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Return the chosen features."""
        return [features[i] for i in self.indices]


class ResizeConcat(nn.Module):
    """One feature: the chosen ones, resized to the first one's size and concatenated.

    Args:
        indices: Positions in the list of features (negative: from the end).
        align_corners: How features are resized.
    """

    def __init__(self, *, indices: Sequence[int], align_corners: bool) -> None:
        super().__init__()
        self.indices = tuple(indices)
        self.align_corners = align_corners

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Return a list of one feature."""
        first, *others = (features[i] for i in self.indices)
        same = [first, *(resize(x, size_of(first), align_corners=self.align_corners) for x in others)]
        return [torch.cat(same, dim=1)]
