"""Recipes of papers that MMSegmentation has no configuration of; ``tools.recipes`` writes them beside the others."""

import copy
from dataclasses import dataclass
from typing import Any

from tools.recipe_measured import EIGHT_AND_TWENTY


@dataclass(frozen=True, slots=True, kw_only=True)
class Paper:
    """A recipe that a paper describes.

    Args:
        about: What is published, under which split, and what differs here; lines of the recipe's head.
        changes: What differs from the defaults.
    """

    about: tuple[str, ...]
    changes: dict[str, Any]


def _little_unets() -> dict[str, Any]:
    """Return W-Net's: two in a row, each with its loss; no dropout, and a classifier on the finest feature alone."""
    plain = {"losses": [{"name": "cross_entropy"}], "dropout": 0.0, "num_convs": 0, "concat_input": False}
    little = {
        "backbone": {"name": "little_unet", "base_channels": 8, "num_stages": 3},
        "decode_head": {"name": "fcn", "in_index": -1, "channels": 8, **plain},
        "auxiliary_heads": [],
    }
    return {**little, "refiners": [copy.deepcopy(little)]}


_WNET = Paper(
    about=(
        "Published: vessel Dice 0.820 inside the field of view, threshold set on train; not run here. Half as long, on",
        "all eight images: 0.8142, whole, at 0.5. Rotation, scale, shift are drawn apart; val Dice chooses, not AUC.",
        "Source: W-Net (Galdran et al. 2020, arXiv 2009.01907) and its code, agaldran/lwnet (MIT).",
    ),
    changes={
        "data": {
            "name": "chase_db1",
            "val_fraction": 0.0,
            # The first eight images; the last two of them choose the weights.
            "split_lists": {"val": ["Image_04L", "Image_04R"], "test": EIGHT_AND_TWENTY},
        },
        "augment": {
            "scale": [512, 533],
            "ratio_range": [0.95, 1.2],
            "crop_size": [512, 512],
            "rotate_degrees": 45,
            "rotate_prob": 0.33,
            "affine": {"prob": 0.33, "shear_degrees": 0, "translate": 0.05},
            "photometric": {
                "mode": "jitter",
                "prob": 1.0,
                "brightness": 64,
                "contrast": [0.75, 1.25],
                "saturation": [0.75, 1.25],
                "hue_degrees": 4,
            },
        },
        "model": {"mean": [0.0, 0.0, 0.0], "std": [255.0, 255.0, 255.0], "test_scale": [533, 512], **_little_unets()},
        "optimizer": {"name": "adam", "lr": 0.01, "weight_decay": 0.0},
        # Two batches hold the six images: forty cycles of fifty epochs, each from the full rate; in its code every
        # second one rises to it again.
        "schedule": {"name": "cosine", "cycles": 40, "warmup_length": 0},
        "train": {"iterations": 4000, "batch_size": 4, "val_every": 100},
        "evaluate": {"tta": {"flips": ["none", "horizontal", "vertical", "both"]}},
    },
)

PAPERS: dict[str, Paper] = {"little-unet_fcn-x2_1xb4-4k_chase-db1-512x512": _WNET}
