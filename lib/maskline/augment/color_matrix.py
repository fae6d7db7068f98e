"""Brightness, contrast, saturation, hue as one color matrix a sample; blur by kornia; noise.

Source: MMSegmentation 1.2.2 PhotoMetricDistortion (Apache-2.0) for ranges and probabilities. It clips to whole gray
levels after each step and turns the hue in HSV; here the steps are composed in linear YIQ space (Foley and van Dam,
Computer Graphics, hue as a rotation of the IQ plane) and applied and clipped once.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from kornia.filters import gaussian_blur2d
from torch import Tensor

from maskline.runtime.torch_seeds import torch_generator

_RGB_TO_YIQ = np.array([[0.299, 0.587, 0.114], [0.595716, -0.274453, -0.321263], [0.211456, -0.522591, 0.311135]])
_YIQ_TO_RGB = np.linalg.inv(_RGB_TO_YIQ)


@dataclass(frozen=True, slots=True, kw_only=True)
class Photometric:
    """What happens to one sample's colors. Plain numbers, so that it can be written as JSON and replayed.

    Args:
        brightness: Shift, gray levels of 255.
        contrast: Factor.
        saturation: Factor.
        hue_degrees: Turn of the hue.
        blur_sigma: Standard deviation of the blur, px; 0 is none.
        noise_std: Standard deviation of the noise, gray levels of 255; 0 is none.
        noise_seed: Seed of the noise map.
    """

    brightness: float
    contrast: float
    saturation: float
    hue_degrees: float
    blur_sigma: float
    noise_std: float
    noise_seed: int


def draw(
    rng: np.random.Generator,
    *,
    prob: float,
    brightness: float,
    contrast: tuple[float, float],
    saturation: tuple[float, float],
    hue_degrees: float,
    blur_prob: float,
    blur_sigma: tuple[float, float],
    noise_prob: float,
    noise_std: float,
) -> Photometric:
    """Draw the color changes of one sample; every number is drawn whether it is used or not."""
    happens = rng.random(6)
    values = [
        rng.uniform(-brightness, brightness),
        rng.uniform(*contrast),
        rng.uniform(*saturation),
        rng.uniform(-hue_degrees, hue_degrees),
        rng.uniform(*blur_sigma),
    ]
    probs = [prob, prob, prob, prob, blur_prob]
    neutral = [0.0, 1.0, 1.0, 0.0, 0.0]
    chosen = [float(v if h < p else n) for v, h, p, n in zip(values, happens[:5], probs, neutral, strict=True)]
    return Photometric(
        brightness=chosen[0],
        contrast=chosen[1],
        saturation=chosen[2],
        hue_degrees=chosen[3],
        blur_sigma=chosen[4],
        noise_std=float(noise_std if happens[5] < noise_prob else 0.0),
        noise_seed=int(rng.integers(2**32)),
    )


def color_matrix(sample: Photometric) -> np.ndarray:
    """Return the 3x4 float64 matrix (factors, then shift) that maps RGB gray levels to RGB gray levels."""
    # In the IQ plane red turns to yellow clockwise; in HSV that is a positive hue.
    angle = -math.radians(sample.hue_degrees)
    turn = sample.saturation * np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    yiq = np.eye(3)
    yiq[1:, 1:] = turn
    factors = sample.contrast * (_YIQ_TO_RGB @ yiq @ _RGB_TO_YIQ)
    shift = factors @ np.full((3, 1), sample.brightness)
    return np.concatenate([factors, shift], axis=1)


def matrices(samples: list[Photometric], channels: int) -> np.ndarray:
    """Return the matrix of each sample, N x C x (C + 1) float64; where C is not 3, contrast and brightness alone."""
    return np.stack([color_matrix(each) if channels == 3 else _gray_matrix(each, channels) for each in samples])


def _gray_matrix(sample: Photometric, channels: int) -> np.ndarray:
    """Return what ``color_matrix`` does for channels that are no colors: contrast and brightness alone."""
    shift = np.full((channels, 1), sample.contrast * sample.brightness)
    return np.concatenate([sample.contrast * np.eye(channels), shift], axis=1)


def apply(images: Tensor, samples: list[Photometric], *, matrix: bool) -> Tensor:
    """Change the colors of a batch.

    Args:
        images: NCHW float32 gray levels, 0..255; hue and saturation change where C is 3.
        samples: One entry an image.
        matrix: Whether colors change; blur and noise do in any case.

    Returns:
        NCHW float32 gray levels, clipped to 0..255. The same numbers on every device within float tolerance:
        random maps are drawn on the CPU.
    """
    if matrix:
        channels = images.shape[1]
        colors = torch.from_numpy(matrices(samples, channels)).to(images)
        flat = torch.baddbmm(colors[:, :, channels:], colors[:, :, :channels], images.flatten(2))
        images = flat.view_as(images).clamp_(0, 255)
    images = _blur(images, [sample.blur_sigma for sample in samples])
    return _add_noise(images, samples)


def _blur(images: Tensor, sigmas: list[float]) -> Tensor:
    rows = [i for i, sigma in enumerate(sigmas) if sigma > 0]
    if not rows:
        return images
    images = images.clone()
    for row in rows:  # kernels differ in size, so that one sample's blur does not depend on its neighbours
        length = 2 * math.ceil(3 * sigmas[row]) + 1
        one = images[row : row + 1]
        reflect = length // 2 < min(one.shape[2:])
        images[row] = gaussian_blur2d(
            one, (length, length), (sigmas[row], sigmas[row]), "reflect" if reflect else "replicate"
        )[0]
    return images


def _add_noise(images: Tensor, samples: list[Photometric]) -> Tensor:
    rows = [i for i, sample in enumerate(samples) if sample.noise_std > 0]
    if not rows:
        return images
    images = images.clone()
    for row in rows:
        noise = torch.randn(images.shape[1:], generator=torch_generator(samples[row].noise_seed, "noise"))
        images[row] += samples[row].noise_std * noise.to(images)
    return images.clamp_(0, 255)
