"""From gray levels to what a network sees, and back."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


def normalize(images: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Return ``(images - mean) / std`` a channel, NCHW float32; all three in gray levels of 255."""
    shape = (1, len(mean), 1, 1)
    offset = torch.tensor(tuple(mean), device=images.device).view(shape)
    return (images.float() - offset) / torch.tensor(tuple(std), device=images.device).view(shape)


def denormalize(image: Tensor, mean: Sequence[float], std: Sequence[float]) -> np.ndarray:
    """Undo ``normalize`` for one image CHW: HWC uint8."""
    gray = image.permute(1, 2, 0).cpu().numpy() * np.asarray(std) + np.asarray(mean)
    return np.asarray(gray.round().clip(0, 255).astype(np.uint8))
