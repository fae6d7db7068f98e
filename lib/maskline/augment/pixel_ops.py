"""CLAHE, gamma, gray images, a lost channel, erased boxes: each with its own probability, after the colors.

Source: CLAHE and gamma by kornia (Apache-2.0), each channel for itself; erasing after Zhong et al. 2020, Random Erasing
Data Augmentation.
"""

import math
from dataclasses import dataclass
from typing import Literal

import kornia.enhance
import numpy as np
from torch import Tensor

LUMA = (0.299, 0.587, 0.114)
"""Shares of red, green and blue in a gray level."""
_LEAST_ASPECT = 0.3  # of an erased box; the most is its inverse


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """What happens to one sample. Plain numbers, so that it can be written as JSON and replayed.

    Args:
        clahe_clip: Contrast limit, or None.
        gamma: Exponent, or None.
        grayscale: Whether the colors go.
        lost_channel: Channel that gets the fill value, or None.
        erased: Boxes as top, left, bottom, right, px.
    """

    clahe_clip: float | None
    gamma: float | None
    grayscale: bool
    lost_channel: int | None
    erased: tuple[tuple[int, int, int, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PixelOps:
    """Params: each key of the sections clahe, gamma, grayscale, channel_dropout and erase of augment, by both names."""

    channels: int
    clahe_prob: float
    clahe_clip: tuple[float, float]
    clahe_tiles: int
    gamma_prob: float
    gamma_exponent: tuple[float, float]
    grayscale_prob: float
    channel_dropout_prob: float
    erase_prob: float
    erase_count: int
    erase_area: tuple[float, float]
    erase_labels: Literal["keep", "ignore"]

    def draw(self, rng: np.random.Generator, crop_size: tuple[int, int]) -> Effect:
        """Draw for one sample; every number is drawn whether it is used or not."""
        happens = rng.random(5)
        clip, channel = float(rng.uniform(*self.clahe_clip)), int(rng.integers(self.channels))
        low, high = self.gamma_exponent
        gamma = float(math.exp(rng.uniform(math.log(low), math.log(high))))
        boxes = tuple(self._box(rng, crop_size) for _ in range(self.erase_count))
        return Effect(
            clahe_clip=clip if happens[0] < self.clahe_prob else None,
            gamma=gamma if happens[1] < self.gamma_prob else None,
            grayscale=bool(happens[2] < self.grayscale_prob),
            lost_channel=channel if happens[3] < self.channel_dropout_prob else None,
            erased=boxes if happens[4] < self.erase_prob else (),
        )

    def recolor(self, images: Tensor, samples: list[Effect], *, fill: Tensor) -> Tensor:
        """Apply all but the erasing.

        Args:
            images: NCHW float32 gray levels, 0..255; only three channels are colors that can go gray.
            samples: One entry an image.
            fill: C float, value of a lost channel.
        """
        images = images.clone()
        for i, sample in enumerate(samples):
            if sample.clahe_clip is not None:
                tiles = (self.clahe_tiles, self.clahe_tiles)
                scaled = (images[i] / 255).clamp(0, 1)
                images[i] = kornia.enhance.equalize_clahe(scaled, sample.clahe_clip, tiles).clamp(0, 1) * 255
            if sample.gamma is not None:
                images[i] = (images[i] / 255).clamp(0, 1).pow(sample.gamma) * 255
            if sample.grayscale and len(images[i]) == len(LUMA):
                images[i] = sum(share * images[i, c] for c, share in enumerate(LUMA))
            if sample.lost_channel is not None:
                images[i, sample.lost_channel] = fill[sample.lost_channel]
        return images

    def erase(self, images: Tensor, labels: list[tuple[Tensor, int]], samples: list[Effect], *, fill: Tensor) -> None:
        """Erase boxes, in place.

        Args:
            images: NCHW float32.
            labels: Masks NHW with the value that they get there where ``erase_labels`` is ``ignore``.
            samples: One entry an image.
            fill: C float, value of the image.
        """
        for i, sample in enumerate(samples):
            for top, left, bottom, right in sample.erased:
                images[i, :, top:bottom, left:right] = fill[:, None, None]
                for masks, value in labels if self.erase_labels == "ignore" else []:
                    masks[i, top:bottom, left:right] = value

    def _box(self, rng: np.random.Generator, crop_size: tuple[int, int]) -> tuple[int, int, int, int]:
        height, width = crop_size
        area = float(rng.uniform(*self.erase_area)) * height * width
        aspect = math.exp(rng.uniform(math.log(_LEAST_ASPECT), -math.log(_LEAST_ASPECT)))
        rows = min(max(round(math.sqrt(area * aspect)), 1), height)
        columns = min(max(round(area / rows), 1), width)
        top, left = int(rng.integers(height - rows + 1)), int(rng.integers(width - columns + 1))
        return top, left, top + rows, left + columns
