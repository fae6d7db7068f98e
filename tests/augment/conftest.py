"""A small augmentation of which each test switches parts on, and regions of images that only noise is on."""

import numpy as np
import pytest
import torch

from maskline.augment.deform import Deform
from maskline.augment.mixing import Mixing
from maskline.augment.pipeline import Augmentation
from maskline.augment.pixel_ops import PixelOps
from maskline.augment.resize import Resize
from maskline.augment.sample import collate

BENDING_OFF = {
    "rotate_prob": 1.0,
    "affine_prob": 0.0,
    "shear_degrees": 20.0,
    "translate": 0.2,
    "perspective_prob": 0.0,
    "tilt": 0.6,
    "elastic_prob": 0.0,
    "magnitude_px": 6.0,
    "spacing_px": 16.0,
}
EFFECTS_OFF = {
    "channels": 3,
    "clahe_prob": 0.0,
    "clahe_clip": (1.0, 4.0),
    "clahe_tiles": 4,
    "gamma_prob": 0.0,
    "gamma_exponent": (0.5, 2.0),
    "grayscale_prob": 0.0,
    "channel_dropout_prob": 0.0,
    "erase_prob": 0.0,
    "erase_count": 2,
    "erase_area": (0.05, 0.2),
    "erase_labels": "ignore",
}
MIXING_OFF = {
    "batch_size": 4,
    "copy_paste_prob": 0.0,
    "classes": (2, 3),
    "cutmix_prob": 0.0,
    "cutmix_alpha": 1.0,
    "mixup_prob": 0.0,
    "mixup_alpha": 1.0,
}


def bending(**changes):
    return Deform(**{**BENDING_OFF, **changes})


def effects(**changes):
    return PixelOps(**{**EFFECTS_OFF, **changes})


def mixing(**changes):
    return Mixing(**{**MIXING_OFF, **changes})


def resize(**changes):
    return Resize(**{"ratio_range": (0.5, 2.0), "scale": None, "keep_ratio": True, **changes})


def augmentation(**changes):
    """Everything is off but the scale and the crop."""
    off = {
        "crop_size": (32, 40),
        "resize": resize(),
        "cat_max_ratio": 1.0,
        "class_crop": 0.0,
        "rotate_degrees": 0.0,
        "flip_horizontal": 0.0,
        "flip_vertical": 0.0,
        "deform": None,
        "photometric_prob": 0.0,
        "brightness": 30.0,
        "contrast": (0.5, 1.5),
        "saturation": (0.5, 1.5),
        "hue_degrees": 20.0,
        "color_jitter": None,
        "blur_prob": 0.0,
        "blur_sigma": (0.5, 1.0),
        "noise_prob": 0.0,
        "noise_std": 5.0,
        "pixel_ops": None,
        "mixing": None,
        "fill": (10.0, 20.0, 30.0),
        "within_valid": False,
        "ignore_index": 255,
        "mean": (0.0, 0.0, 0.0),
        "std": (1.0, 1.0, 1.0),
    }
    return Augmentation(**{**off, **changes})


def picture(height, width, *, classes=(1, 2, 3), seed=0):
    """Noise, with a mask of random ids; without class 0, so that a border of zeros would show."""
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (height, width, 3), dtype=np.uint8), rng.choice(
        np.array(classes, dtype=np.uint8), (height, width)
    )


def batch_of(made, pictures, *, iteration=0, seed=0, annotations=False, extra=None):
    """Draw and cut out a batch; ``extra`` gives the valid and second masks of each image."""
    regions = []
    for position, (image, mask) in enumerate(pictures):
        valid, second = extra[position] if extra else (None, None)
        target = made.target(mask, valid)
        draw = made.draw(target, seed=seed, iteration=iteration, position=position, index=None)
        regions.append(made.region(image, target, draw, valid=valid, second=second))
    positions = range(len(regions))
    return collate(regions, positions=positions, count=len(regions), annotations=annotations, ignore_index=255)


@pytest.fixture
def cpu():
    return torch.device("cpu")
