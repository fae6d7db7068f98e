"""A stage of MMSegmentation's K-Net head as this project's. See ``maskline.weights.mmseg.head``."""

from collections.abc import Mapping
from typing import Any

from maskline.weights.mmseg.section import Section

_RELU = {"type": "ReLU"}


def kernel_update_params(value: Mapping[str, Any], *, channels: int, num_classes: int, place: str) -> dict[str, Any]:
    """Return the keys that a ``KernelUpdateHead`` gives to the whole head.

    Args:
        value: Its section.
        channels: Of the features.
        num_classes: Of the head.
        place: Of the whole head.

    Raises:
        ShapeError: A type, key or value without a counterpart.
    """
    section = Section(value, place=f"{place}.kernel_update_head")
    section.check("type", section.type, "KernelUpdateHead")
    section.ignore("init_cfg")
    section.expect("num_classes", num_classes)
    section.expect("in_channels", channels)
    section.expect("out_channels", channels)
    section.expect("conv_kernel_size", 1)
    section.expect("num_ffn_fcs", 2)
    section.expect("dropout", 0.0)
    section.expect("with_ffn", True)
    section.expect("kernel_init", False)
    section.expect("feat_gather_stride", 1)
    section.expect("mask_transform_stride", 1)
    for key in ("act_cfg", "ffn_act_cfg"):
        section.check(key, _without_inplace(section.take(key, _RELU)), _RELU)
    transform = {"conv_cfg": {"type": "Conv2d"}, "act_cfg": None}
    section.check("feat_transform_cfg", section.take("feat_transform_cfg", None), transform)
    return {
        "num_heads": section.take("num_heads", 8),
        "num_mask_layers": section.take("num_mask_fcs", 3),
        "feedforward_channels": section.take("feedforward_channels", 2048),
        "kernel_channels": _updated_together(section),
    }


def _updated_together(section: Section) -> int:
    update = section.section("kernel_updator_cfg")
    section.done()
    update.check("type", update.type, "KernelUpdator")
    width: int = update.take("in_channels", 256)
    update.expect("feat_channels", width)
    update.expect("out_channels", width, None)
    update.expect("gate_sigmoid", True)
    update.expect("gate_norm_act", False)
    update.expect("activate_out", False)
    update.expect("norm_cfg", {"type": "LN"})
    update.check("act_cfg", _without_inplace(update.take("act_cfg", _RELU)), _RELU)
    update.done()
    return width


def _without_inplace(value: Mapping[str, Any]) -> dict[str, Any]:
    return {key: entry for key, entry in value.items() if key != "inplace"}
