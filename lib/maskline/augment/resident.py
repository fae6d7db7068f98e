"""The images and masks of a split, kept on a device: a crop's source is cut out by index."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Resident:
    """A split on a device.

    Args:
        images: One dimension, uint8: image after image, each CHW.
        masks: One dimension, uint8, or int32 above 255: mask after mask, as training reads them.
        starts: First pixel of each image, counted over all images before it.
        channels: Of the images.
    """

    images: Tensor
    masks: Tensor
    starts: tuple[int, ...]
    channels: int

    @classmethod
    def of(cls, images: Sequence[np.ndarray], masks: Sequence[np.ndarray], device: torch.device) -> "Resident":
        """Copy images HWC uint8 and masks HW to a device."""
        pixels = [mask.size for mask in masks]
        kind = np.int32 if any(mask.dtype.itemsize > 1 for mask in masks) else np.uint8
        planes = np.concatenate([image.transpose(2, 0, 1).ravel() for image in images])
        return cls(
            images=torch.from_numpy(planes).to(device),
            masks=torch.from_numpy(np.concatenate([mask.ravel() for mask in masks]).astype(kind)).to(device),
            starts=tuple(int(start) for start in np.cumsum([0, *pixels])[:-1]),
            channels=images[0].shape[2],
        )

    def cut(self, starts: Tensor, boxes: Tensor, sizes: Tensor, region_size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Return regions as ``maskline.augment.sample.collate`` stacks them: NCHW uint8 and NHW.

        Args:
            starts: N int64, first pixel of each image.
            boxes: N4, top, left, bottom, right.
            sizes: N2, height and width of each image.
            region_size: Height and width of the largest region; zeros fill the others up at the right and bottom.
        """
        top, left, bottom, right = boxes.long().unbind(1)
        height, width = sizes.long().unbind(1)
        rows = torch.arange(region_size[0], device=boxes.device) + top[:, None]
        columns = torch.arange(region_size[1], device=boxes.device) + left[:, None]
        inside = (rows < bottom[:, None])[:, :, None] & (columns < right[:, None])[:, None, :]
        rows, columns = rows.minimum(bottom[:, None] - 1), columns.minimum(right[:, None] - 1)
        place = rows[:, :, None] * width[:, None, None] + columns[:, None, :]
        planes = (torch.arange(self.channels, device=boxes.device) * (height * width)[:, None])[:, :, None, None]
        first = starts[:, None, None]
        images = self.images[(first * self.channels)[:, None] + planes + place[:, None]]
        return torch.where(inside[:, None], images, 0), torch.where(inside, self.masks[first + place], 0)
