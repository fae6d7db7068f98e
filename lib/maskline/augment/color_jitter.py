"""Brightness, contrast, saturation and hue one after another: what a color matrix cannot do.

``mmseg`` is MMSegmentation's PhotoMetricDistortion to the gray level: whole numbers after each step, cut off to 0..255,
saturation and hue in OpenCV's 8-bit HSV, the contrast before or after those two. ``jitter`` is torchvision's
ColorJitter: a brightness factor, contrast about the image's mean gray, saturation against its own gray, hue in HSV,
in an order that is drawn too.

Source: MMSegmentation 1.2.2 (Apache-2.0), PhotoMetricDistortion; torchvision (BSD-3-Clause), ColorJitter, computed by
kornia (Apache-2.0).
"""

from dataclasses import dataclass
from typing import Literal, assert_never

import kornia.color
import kornia.enhance
import numpy as np
import torch
from torch import Tensor

from maskline.augment.hsv import hsv_to_rgb, rgb_to_hsv

Mode = Literal["mmseg", "jitter"]
StepName = Literal["brightness", "contrast", "saturation", "hue"]
_HUE_UNIT_DEGREES = 2  # of OpenCV's 8-bit hue


@dataclass(frozen=True, slots=True)
class Step:
    """One change.

    Args:
        name: Which.
        value: mmseg: gray levels to add, a factor, a factor, a turn in units of two degrees. jitter: three factors,
            and a turn in degrees.
    """

    name: StepName
    value: float


@dataclass(frozen=True, slots=True)
class Steps:
    """The changes of one sample, in their order."""

    mode: Mode
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ColorJitter:
    """Settings; see ``augment.photometric`` of params.yaml."""

    mode: Mode
    prob: float
    brightness: float
    contrast: tuple[float, float]
    saturation: tuple[float, float]
    hue_degrees: float

    def draw(self, rng: np.random.Generator) -> Steps:
        """Draw the changes of one sample; every number is drawn whether it is used or not."""
        happens, contrast_first, order = rng.random(4) < self.prob, rng.random() < 0.5, rng.permutation(4)
        brightness, hue = rng.uniform(-self.brightness, self.brightness), rng.random()
        contrast, saturation = float(rng.uniform(*self.contrast)), float(rng.uniform(*self.saturation))
        if self.mode == "mmseg":
            units = round(self.hue_degrees / _HUE_UNIT_DEGREES)
            turn = float(min(int(hue * 2 * units), 2 * units - 1) - units) if units else 0.0
            added = float(brightness)
        else:
            turn, added = float((2 * hue - 1) * self.hue_degrees), max(float(1 + brightness / 255), 0.0)
        steps: list[Step] = [
            Step("brightness", added),
            Step("contrast", contrast),
            Step("saturation", saturation),
            Step("hue", turn),
        ]
        places = [0, 1, 2, 3] if contrast_first else [0, 2, 3, 1]
        if self.mode == "jitter":
            places = [int(place) for place in order]
        return Steps(self.mode, tuple(steps[place] for place in places if happens[place]))


def apply(images: Tensor, samples: list[Steps]) -> Tensor:
    """Change the colors of a batch.

    Args:
        images: NCHW float32 gray levels, 0..255; saturation and hue change where C is 3.
        samples: One entry an image.

    Returns:
        NCHW float32 gray levels, 0..255; whole numbers for ``mmseg``.
    """
    changed = [_apply_one(image[None], sample) for image, sample in zip(images, samples, strict=True)]
    return torch.cat(changed)


def _apply_one(image: Tensor, sample: Steps) -> Tensor:
    if sample.mode == "mmseg":
        image = image.round()
    for step in sample.steps:
        if step.name in {"saturation", "hue"} and image.shape[1] != 3:
            continue
        match sample.mode:
            case "mmseg":
                image = _whole(image, step)
            case "jitter":
                image = _jittered(image / 255, step).clamp(0, 1) * 255
            case _:
                assert_never(sample.mode)
    return image


def _whole(image: Tensor, step: Step) -> Tensor:
    match step.name:
        case "brightness":
            return (image + step.value).clamp(0, 255).floor()
        case "contrast":
            return (image * step.value).clamp(0, 255).floor()
    hsv = rgb_to_hsv(image)
    if step.name == "saturation":
        hsv[:, 1] = (hsv[:, 1].float() * step.value).clamp(0, 255).floor().long()
    else:
        hsv[:, 0] = (hsv[:, 0] + int(step.value)) % 180
    return hsv_to_rgb(hsv)


def _gray(image: Tensor) -> Tensor:
    if image.shape[1] != 3:
        return image.mean(1, keepdim=True)
    gray: Tensor = kornia.color.rgb_to_grayscale(image)
    return gray


def _jittered(image: Tensor, step: Step) -> Tensor:
    changed: Tensor
    match step.name:
        case "brightness":
            changed = image * step.value
        case "contrast":
            mean = _gray(image).mean()
            changed = mean + (image - mean) * step.value
        case "saturation":
            gray = _gray(image)
            changed = gray + (image - gray) * step.value
        case "hue":
            changed = kornia.enhance.adjust_hue(image, float(np.radians(step.value)))
        case _:
            assert_never(step.name)
    return changed
