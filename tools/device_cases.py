"""The four networks that ``tools.gpu_check`` and ``tools.operations`` look at, each with its batch and crop."""

from collections.abc import Callable, Mapping
from typing import Any

from maskline.params.base.reading import read_yaml
from maskline.params.train import TrainParams
from maskline.params.whole import Params, validate_params
from tools.closure import ROOT
from tools.trial import complete_params

_UNET = "unet-s5-d16_fcn_1xb16-40k_chase-db1-128x128"
_SEGFORMER = "segformer_mit-b2_1xb16-160k_ade20k-512x512"
_NEVER = 1_000_000_000


def device_params(name: str, *, device: str, tiny: bool, small_batch: bool, changes: Mapping[str, Any]) -> Params:
    """Return the params of a case: those of params.yaml with another network, batch and crop.

    Args:
        name: One of CASES.
        device: auto, cpu or cuda.
        tiny: A tenth of the network, and a small batch.
        small_batch: Two crops of 64x64 or, tiny, 32x32.
        changes: Dotted key -> value, over all that.
    """
    values = complete_params(ROOT / "params.yaml")
    # Nothing but steps; validation, journal and the end of the run are far away.
    values["train"] |= {"device": device, "iterations": _NEVER, "val_every": _NEVER, "threads": 1 if tiny else 2}
    values["machine"] |= {"workers": 0, "journal_every": _NEVER}
    values["augment"]["crop_size"], values["train"]["batch_size"] = CASES[name](values, tiny)
    if small_batch:
        side = 32 if tiny else 64
        values["augment"]["crop_size"], values["train"]["batch_size"] = [side, side], 2
    for key, value in changes.items():
        section, last = key.rsplit(".", 1)
        place = values
        for part in section.split("."):
            place = place[part]
        place[last] = value
    return validate_params(values)


def knows(key: str) -> bool:
    """Tell whether the section train of this checkout has a key."""
    return key in TrainParams.model_fields


Shape = tuple[list[int], int]


def _unet(values: dict[str, Any], tiny: bool) -> Shape:
    values["model"] = read_yaml(ROOT / "recipes" / f"{_UNET}.yaml")["model"]
    values["model"]["norm"]["name"] = "bn"
    values["model"]["backbone"]["base_channels"] = 4 if tiny else 64
    return [128, 128], 16


def _smp(values: dict[str, Any], tiny: bool) -> Shape:
    smp = values["model"]["smp"] | {"architecture": "Unet", "encoder": "resnet18" if tiny else "resnet50"}
    values["model"] |= {"type": "smp", "smp": smp}
    return [512, 512], 16


def _segformer(values: dict[str, Any], tiny: bool) -> Shape:
    values["model"] = read_yaml(ROOT / "recipes" / f"{_SEGFORMER}.yaml")["model"]
    values["model"]["norm"]["name"] = "bn"
    if tiny:
        values["model"]["backbone"]["name"] = "mixvit_b0"
        values["model"]["decode_head"]["channels"] = 16
    return [512, 512], 8


def _vit(values: dict[str, Any], tiny: bool) -> Shape:
    model = values["model"]
    options = {"name": "vit_tiny_patch16_224", "depth": 2} if tiny else {}
    model["backbone"] |= {"name": "tools/vit.py:ViT", "options": options}
    # No convolution before the classifier: a linear head.
    head = {**model["decode_head"], "in_index": 0, "channels": 192 if tiny else 768, "num_convs": 0}
    model |= {"decode_head": head, "auxiliary_heads": []}
    return [512, 512], 8


CASES: Mapping[str, Callable[[dict[str, Any], bool], Shape]] = {
    "unet-s5-d16": _unet,
    "smp-unet-r50": _smp,
    "segformer-b2": _segformer,
    "vit-b-linear": _vit,
}
