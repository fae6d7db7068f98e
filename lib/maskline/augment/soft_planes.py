"""Soft labels on their way through the augmentation: planes of uint8 behind an image's channels, one a class.

What moves the image moves them, by the same numbers and bilinear too: the warp, transforms of kornia, copy-paste and
CutMix. What changes colors leaves them alone. Where the mask is ignored they do not count, so that outside of the
source and in what was erased the mask decides.
"""

import torch
from torch import Tensor

_WHOLE = 255.0


def with_room(fill: Tensor, images: Tensor) -> Tensor:
    """Return the fill values of an image's channels with zeros for the planes that follow them in a batch NCHW."""
    planes = images.shape[1] - len(fill)
    return torch.cat([fill, fill.new_zeros(planes)]) if planes else fill


def apart(images: Tensor, channels: int) -> tuple[Tensor, Tensor | None]:
    """Return the images, views of NCHW, and the planes behind them; None: there are none."""
    if images.shape[1] == channels:
        return images, None
    return images[:, :channels], images[:, channels:]


def together(images: Tensor, planes: Tensor | None) -> Tensor:
    """Return what ``apart`` was given."""
    return images if planes is None else torch.cat([images, planes], dim=1)


def shares(planes: Tensor | None) -> Tensor | None:
    """Return planes of 0..255, NCHW, as shares that sum to 1 at a pixel, or are 0 where less than half is known."""
    if planes is None:
        return None
    whole = planes.clamp(min=0).sum(1, keepdim=True)
    known = whole >= _WHOLE / 2
    return torch.where(known, planes.clamp(min=0) / torch.where(known, whole, 1.0), 0.0)
