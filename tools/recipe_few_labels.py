"""Recipes on plain transformers that learned without labels: few labels, and EoMT. Nothing was measured with them."""

from typing import Any

_IMAGENET = {"mean": [123.675, 116.28, 103.53], "std": [58.395, 57.12, 57.375]}
_DINOV2 = {"name": "vit_small_patch14_dinov2", "pretrained": True}
_LICENCE = (
    "The weights, timm/vit_small_patch14_dinov2.lvd142m, are downloaded once (22 million parameters, Apache-2.0)."
)

# Name -> what it is for, and what differs from the defaults. Data is one's own.
FEW_LABELS: dict[str, tuple[str, dict[str, Any]]] = {
    "few-labels-dinov2": (
        "For some ten to some hundred labelled images: features of DINOv2 stay as they are, and a norm and a 1x1 "
        f"convolution are trained. {_LICENCE} The head, and rate and decay, as in DINOv2's linear probes.",
        {
            "augment": {"crop_size": [224, 224], "extra": [{"name": "RandomPlanckianJitter", "p": 0.3}]},
            "model": {
                **_IMAGENET,
                "backbone": {**_DINOV2, "frozen": True, "final_norm": True},
                "decode_head": {"name": "linear", "losses": [{"name": "cross_entropy"}]},
                "auxiliary_heads": [],
            },
            "optimizer": {"lr": 0.001, "weight_decay": 0.0001},
            "train": {"iterations": 2000},
        },
    ),
    "eomt-dinov2": (
        f"EoMT: DINOv2 trained as a whole, its last four blocks with queries; for a GPU. {_LICENCE} Queries, losses, "
        "rate, decay and the rates' fall by depth are those published for ViT-L on ADE20K; patches of 16 px as there.",
        {
            "augment": {"crop_size": [512, 512], "ratio_range": [0.5, 2.0], "rotate_degrees": 0, "flip_vertical": 0.0},
            "model": {
                **_IMAGENET,
                "backbone": {**_DINOV2, "patch_size": 16},
                "decode_head": {"name": "eomt"},
                "auxiliary_heads": [],
            },
            "optimizer": {
                "lr": 0.0001,
                "weight_decay": 0.05,
                "clip_norm": 0.01,
                "paramwise": {"layer_decay": {"kind": "layer_wise_vit", "num_layers": 11, "rate": 0.8}},
            },
            "schedule": {"warmup_length": 1500},
            "train": {"iterations": 40_000, "batch_size": 16, "val_every": 4000},
        },
    ),
}
