"""A target of class ids as a mask a class: at points, on a coarser grid, or pixel by pixel."""

import torch
from torch import Tensor
from torch.nn import functional as F

from maskline.runtime.point_sampling import corners


class ClassMasks:
    """The masks of the classes that images have.

    What is asked for at places is given with how much each place counts.

    Args:
        target: Class ids, int64 NHW.
        num_classes: Number of classes.
        ignore_index: Target value that is of no class.
        count_ignored: A pixel of no class is outside of every mask; else it does not count.
        dtype: Of what is given.
    """

    def __init__(
        self, target: Tensor, *, num_classes: int, ignore_index: int, count_ignored: bool, dtype: torch.dtype
    ) -> None:
        self._num_classes, self._count_ignored, self._dtype = num_classes, count_ignored, dtype
        self._index = torch.where(target == ignore_index, num_classes, target)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width, px."""
        return self._index.shape[1], self._index.shape[2]

    def present(self) -> Tensor:
        """Return which image has a pixel of which class: 1 or 0, (N, classes)."""
        flat = self._index.flatten(1)
        seen = torch.zeros(len(flat), self._num_classes + 1, dtype=self._dtype, device=flat.device)
        return seen.scatter_(1, flat, 1.0)[:, : self._num_classes]

    def at(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Return each class's share at points (N, P, 2): (N, P, classes), bilinear; and what counts, (N, P)."""
        flat = self._index.flatten(1)
        shares = torch.zeros(*points.shape[:2], self._num_classes + 1, dtype=self._dtype, device=flat.device)
        for index, share in corners(points.to(self._dtype), self.size, align_corners=False):
            of_class = flat.gather(1, index).unsqueeze(2)
            # Not added in place: two threads of a GPU would take turns in an order of their own.
            shares = shares + torch.zeros_like(shares).scatter(2, of_class, share.unsqueeze(2))
        shares = shares[..., : self._num_classes]
        return shares, self._counted(shares.sum(2))

    def on_grid(self, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Return the same for the pixels of a coarser grid, each the nearest pixel's: (N, h*w, classes), (N, h*w)."""
        nearest = F.interpolate(self._index.unsqueeze(1).double(), size, mode="nearest").long().flatten(1)
        classes = torch.arange(self._num_classes, device=nearest.device)
        return (nearest.unsqueeze(2) == classes).to(self._dtype), self._counted(nearest != self._num_classes)

    def of(self, image: Tensor, of_class: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
        """Return the share of one class at points of one image, and what counts, for each of M rows.

        Args:
            image: Which image, int64 (M,).
            of_class: Which class, int64 (M,).
            points: (M, P, 2).

        Returns:
            Both (M, P).
        """
        height, width = self.size
        flat, offset = self._index.flatten(), (image * (height * width)).unsqueeze(1)
        shares = counted = points.new_zeros(points.shape[:2], dtype=self._dtype)
        for index, share in corners(points.to(self._dtype), self.size, align_corners=False):
            found = flat[index + offset]
            shares = shares + share * (found == of_class.unsqueeze(1))
            counted = counted + share * (found != self._num_classes)
        return shares, self._counted(counted)

    def whole(self, image: Tensor, of_class: Tensor) -> tuple[Tensor, Tensor]:
        """Return the same for all pixels: two of (M, H*W)."""
        found = self._index.flatten(1)[image]
        return (found == of_class.unsqueeze(1)).to(self._dtype), self._counted(found != self._num_classes)

    def _counted(self, counted: Tensor) -> Tensor:
        counted = counted.to(self._dtype)
        return torch.ones_like(counted) if self._count_ignored else counted
