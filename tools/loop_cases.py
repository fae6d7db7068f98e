"""The networks that the training loops are compared on, each with its batch and crop."""

from collections.abc import Callable, Mapping
from typing import Any

from maskline.params.base.reading import read_yaml
from maskline.params.whole import Params, validate_params
from tools.closure import ROOT
from tools.trial import complete_params

_UNET = "unet-s5-d16_fcn_1xb16-40k_drive-64x64"
_OCR = "ocrnet_hr18s_1xb8-80k_cityscapes-512x1024"


def settings(name: str, *, threads: int, compiled: bool, workers: int) -> Params:
    """Return the params of a case: those of params.yaml with another network, batch and crop.

    Args:
        name: One of CASES.
        threads: CPU threads.
        compiled: The engine compiles the network.
        workers: Loader processes, of both loops.
    """
    values = complete_params(ROOT / "params.yaml")
    values["train"] |= {"threads": threads, "compile": compiled}
    values["machine"]["workers"] = workers
    CASES[name](values)
    return validate_params(values)


def _unet(values: dict[str, Any]) -> None:
    values["model"] = read_yaml(ROOT / "recipes" / f"{_UNET}.yaml")["model"]
    values["model"]["norm"]["name"] = "bn"
    values["train"]["batch_size"] = 4
    values["augment"]["crop_size"] = [64, 64]


def _smp(values: dict[str, Any]) -> None:
    values["model"] |= {"type": "smp"}
    values["train"]["batch_size"] = 8
    values["augment"]["crop_size"] = [128, 128]


def _cascade(values: dict[str, Any], last: str) -> None:
    """UNet of 8, 16, 32 channels; FCN, then a second head that sees its logits."""
    model = values["model"]
    model["backbone"] |= {"base_channels": 8, "num_stages": 3}
    first = {**model["decode_head"], "in_index": -1, "channels": 8}
    second = read_yaml(ROOT / "recipes" / f"{_OCR}.yaml")["model"]["decode_head"]
    ocr = second | {"in_index": -1, "channels": 32, "ocr_channels": 16, "input_transform": None}
    model |= {"cascade_heads": [first], "auxiliary_heads": [], "decode_head": ocr if last == "ocr" else first}
    values["train"]["batch_size"] = 4
    values["augment"]["crop_size"] = [256, 256]


CASES: Mapping[str, Callable[[dict[str, Any]], None]] = {
    "unet-s5-d16": _unet,
    "smp-unet-r18": _smp,
    "cascade-fcn": lambda values: _cascade(values, "fcn"),
    "cascade-ocr": lambda values: _cascade(values, "ocr"),
}
