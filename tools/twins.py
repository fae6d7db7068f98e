"""Small twins of the recipes' networks, every loss and every augmentation: what a check of all of them goes over."""

import re
from collections.abc import Mapping
from typing import Any

from maskline.params.network.model import ModelParams, validate_model
from tools.recipe_models import NETWORKS

_SMALLER = {r"resnet\d+_": "resnet18_", r"hrnet\d+s?": "hrnet18s", r"mixvit_b\d": "mixvit_b0"}


def twin(section: ModelParams) -> ModelParams:
    """Return the section of a network with the same parts, a tenth of the work."""
    values = section.model_dump(mode="json")
    for network in (values, *values["refiners"]):
        _shrink(network)
    return validate_model(values, place="twin")


def _shrink(network: dict[str, Any]) -> None:
    backbone = network["backbone"]
    backbone["base_channels"] = 4
    for pattern, name in _SMALLER.items():
        backbone["name"] = re.sub(pattern, name, backbone["name"])
    if network["neck"]["name"] == "fpn":
        network["neck"]["out_channels"] = 16
    for head in (network["decode_head"], *network["cascade_heads"], *network["auxiliary_heads"]):
        head["channels"] = 4 if head.get("num_convs") == 0 else 16  # as many as the feature has where none convolves
        for key in {"ocr_channels", "c1_channels"} & head.keys():
            head[key] = 8


def twins() -> dict[str, ModelParams]:
    """Return one twin for each combination of backbone, neck and heads in the recipes, by its name."""
    return {
        parts_of(section): twin(section)
        for section in (validate_model(network, place=name) for name, network in NETWORKS.items())
    }


def parts_of(section: ModelParams) -> str:
    """Return family of the backbone, neck and heads of a network, or of a row of them."""
    return " then ".join(map(_parts_of_one, section.networks()))


def _parts_of_one(section: ModelParams) -> str:
    heads = (*section.cascade_heads, section.decode_head)
    family = re.match(r"little_unet|[a-z]+(_v\d)?", section.backbone.name)
    assert family is not None
    return " ".join([family[0], section.neck.name, *(f"{head.name}" for head in heads)])


LOSSES: Mapping[str, Mapping[str, Any]] = {
    "cross_entropy": {},
    "cross_entropy, smoothed and weighted": {"label_smoothing": 0.1, "class_weights": [1.0, 2.0, 0.5]},
    "ohem": {"min_kept": 100},
    "focal": {},
    "focal, sigmoid": {"activation": "sigmoid"},
    "dice": {},
    "dice_mmseg": {},
    "jaccard": {},
    "tversky": {},
    "focal_tversky": {},
    "lovasz": {},
    "boundary": {},
    "cldice": {},
    "cross_entropy_mmseg": {},
    "ohem_mmseg": {"min_kept": 100},
    "focal_mmseg": {},
    "tversky_mmseg": {},
    "lovasz_mmseg": {},
}
"""Keywords by loss; what follows a comma tells two ways of one loss apart. Three classes."""

AUGMENTATIONS: Mapping[str, Mapping[str, Any]] = {
    "photometric, mmseg": {"photometric": {"mode": "mmseg", "prob": 1.0}},
    "photometric, jitter": {"photometric": {"mode": "jitter", "prob": 1.0}},
    "blur": {"blur": {"prob": 1.0}},
    "noise": {"noise": {"prob": 1.0}},
    "affine": {"affine": {"prob": 1.0}},
    "perspective": {"perspective": {"prob": 1.0}},
    "elastic": {"elastic": {"prob": 1.0}},
    "clahe": {"clahe": {"prob": 1.0}},
    "gamma": {"gamma": {"prob": 1.0}},
    "grayscale": {"grayscale": {"prob": 1.0}},
    "channel_dropout": {"channel_dropout": {"prob": 1.0}},
    "erase": {"erase": {"prob": 1.0}},
    "copy_paste": {"copy_paste": {"prob": 1.0}},
    "cutmix": {"cutmix": {"prob": 1.0}},
    "mixup": {"mixup": {"prob": 1.0}},
}
"""What is set in the section augment, each by itself; the geometry and the colors of the defaults come first."""
