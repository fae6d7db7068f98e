"""MMSegmentation's transformer backbones and heads as this project's sections. See ``maskline.weights.mmseg.model``."""

from collections.abc import Callable, Mapping
from typing import Any

from maskline.core.errors import ShapeError
from maskline.models.backbones.swin import SWIN_PLANS, SwinPlan
from maskline.models.backbones.twins import TWINS_PLANS
from maskline.models.backbones.vit import VIT_SHAPES
from maskline.weights.mmseg.section import Section

NormReader = Callable[[Mapping[str, Any] | None, str], bool]
LAYER_NORMED = ("segmenter",)
"""Heads whose norm_cfg is a layer norm's, which is theirs alone."""

_GELU = {"type": "GELU"}


def _swin(section: Section, _norm: NormReader) -> dict[str, Any]:
    plan = SwinPlan(
        width=section.take("embed_dims", 96),
        depths=tuple(section.take("depths", (2, 2, 6, 2))),
        num_heads=tuple(section.take("num_heads", (3, 6, 12, 24))),
    )
    size = next((size for size, known in SWIN_PLANS.items() if known == plan), None)
    if size is None:
        told = f"embed_dims {plan.width}, depths {plan.depths}, num_heads {plan.num_heads} is no published Swin"
        raise ShapeError(section.place, told, "use tiny, small, base or large")
    window = section.take("window_size", 7)
    section.check("window_size", window, 7, 12)
    for key, values in (
        *(("patch_size", (4,)), ("strides", ((4, 2, 2, 2), [4, 2, 2, 2])), ("mlp_ratio", (4,))),
        *(("qkv_bias", (True,)), ("qk_scale", (None,)), ("patch_norm", (True,)), ("use_abs_pos_embed", (False,))),
        *(("act_cfg", (_GELU,)), ("norm_cfg", _layer_norm(1e-5))),
    ):
        section.expect(key, *values)
    section.ignore("pretrain_img_size")
    return {
        "name": f"swin_{size}{'_window12' if window == 12 else ''}",
        **_drops(section, drop_path=0.1),
        "frozen_stages": section.take("frozen_stages", -1),
    }


def _twins(kind: str) -> Callable[[Section, NormReader], dict[str, Any]]:
    def read(section: Section, _norm: NormReader) -> dict[str, Any]:
        widths, heads = section.take("embed_dims"), section.take("num_heads")
        depths, ratios = section.take("depths"), section.take("mlp_ratios")
        shape = tuple(tuple(part) for part in (widths, heads, depths, ratios))
        name = next(
            (
                name
                for name, plan in TWINS_PLANS.items()
                if name.startswith(kind) and (plan.widths, plan.num_heads, plan.depths, plan.mlp_ratios) == shape
            ),
            None,
        )
        if name is None:
            told = f"embed_dims {widths}, num_heads {heads}, depths {depths}, mlp_ratios {ratios} is none of Twins'"
            raise ShapeError(section.place, told, "use small, base or large")
        for key, usual in (("patch_sizes", [4, 2, 2, 2]), ("strides", [4, 2, 2, 2]), ("sr_ratios", [8, 4, 2, 1])):
            section.expect(key, usual, tuple(usual))
        section.check("qkv_bias", section.take("qkv_bias", False), True)
        section.expect("norm_cfg", *_layer_norm(1e-5))
        section.check("norm_after_stage", section.take("norm_after_stage", kind == "svt"), TWINS_PLANS[name].normed)
        if kind == "svt":
            section.expect("windiow_sizes", [7, 7, 7, 7], (7, 7, 7, 7))  # spelled so there
        return {"name": name, **_drops(section, drop_path=0.2 if kind == "svt" else 0.0)}

    return read


def _vit(section: Section, _norm: NormReader) -> dict[str, Any]:
    for key, value in (("patch_pad", "corner"), ("patch_norm", False), ("patch_bias", False), ("pre_norm", False)):
        section.expect(key, value)
    section.expect("out_origin", False)
    section.expect("frozen_exclude", ["all"])
    return {
        **_plain(section, "vit", eps=1e-5),
        "class_token": section.take("with_cls_token", True),
        "join_class_token": section.take("output_cls_token", False),
        "position_resize": section.take("interpolate_mode", "bicubic"),
        **_drops(section, drop_path=0.0),
    }


def _beit(section: Section, _norm: NormReader) -> dict[str, Any]:
    section.expect("patch_norm", False)
    section.expect("qv_bias", True)
    section.ignore("init_values")  # what the weights' scales start from
    return {**_plain(section, "beit", eps=1e-5), **_drops(section, drop_path=0.0, dropout=False)}


def _mae(section: Section, _norm: NormReader) -> dict[str, Any]:
    section.expect("patch_norm", False)
    section.ignore("init_values")
    return {**_plain(section, "mae", eps=1e-5), **_drops(section, drop_path=0.0, dropout=False)}


def _plain(section: Section, kind: str, *, eps: float) -> dict[str, Any]:
    """Return what all plain transformers have."""
    shape = {
        "width": section.take("embed_dims", 768),
        "depth": section.take("num_layers", 12),
        "num_heads": section.take("num_heads", 12),
    }
    size = next((size for size, known in VIT_SHAPES.items() if known == shape), None)
    if size is None or (kind != "vit" and size not in ("base", "large")):
        told = f"embed_dims, num_layers, num_heads {list(shape.values())} is no published one"
        raise ShapeError(section.place, told, "use tiny, small, base or large")
    for key, value in (("mlp_ratio", 4), ("num_fcs", 2), ("act_cfg", _GELU), ("norm_eval", False)):
        section.expect(key, value)
    if kind == "vit":
        section.expect("qkv_bias", True)
    image = section.take("img_size", 224)
    sides = [image, image] if isinstance(image, int) else [*image] * (3 - len(image))
    outputs = section.take("out_indices", -1)
    if isinstance(outputs, int):
        outputs = [shape["depth"] - 1 if outputs == -1 else outputs]
    norm = dict(section.take("norm_cfg", {"type": "LN", "eps": eps}))
    section.check("norm_cfg", {**norm, "eps": eps}, *_layer_norm(eps))
    return {
        "name": f"{kind}_{size}",
        "patch_size": section.take("patch_size", 16),
        "image_size": sides,
        "out_indices": sorted(outputs),
        "final_norm": section.take("final_norm", False),
        "layer_norm_eps": norm.get("eps", eps),
    }


def _drops(section: Section, *, drop_path: float, dropout: bool = True) -> dict[str, float]:
    shares = {
        "drop_path": section.take("drop_path_rate", drop_path),
        "attention_dropout": section.take("attn_drop_rate", 0.0),
    }
    return {**shares, "dropout": section.take("drop_rate", 0.0)} if dropout else shares


def _layer_norm(eps: float) -> tuple[dict[str, Any], ...]:
    """Return the forms of a norm_cfg that mean a layer norm with this epsilon."""
    forms: list[dict[str, Any]] = [{"type": "LN", "eps": eps}, *([{"type": "LN"}] if eps == 1e-5 else [])]
    return *forms, *({**form, "requires_grad": True} for form in forms)


TRANSFORMERS: dict[str, Callable[[Section, NormReader], dict[str, Any]]] = {
    "SwinTransformer": _swin,
    "PCPVT": _twins("pcpvt"),
    "SVT": _twins("svt"),
    "VisionTransformer": _vit,
    "BEiT": _beit,
    "MAE": _mae,
}
"""Readers of backbones by their type."""


def transformer_head_params(section: Section, name: str) -> dict[str, Any]:
    """Return the keys that a head on a transformer has of its own.

    Raises:
        ShapeError: A value without a counterpart.
    """
    match name:
        case "setr_up":
            section.expect("norm_layer", *_layer_norm(1e-6))
            return {
                "num_convs": section.take("num_convs", 1),
                "scale": section.take("up_scale", 4),
                "kernel_size": section.take("kernel_size", 3),
            }
        case "setr_mla":
            section.ignore("mla_channels")  # an equal share of channels, or it fails there
            return {"scale": section.take("up_scale", 4)}
        case "segmenter":
            return _segmenter(section)
        case _:
            readout = section.take("readout_type", "ignore")
            section.check("readout_type", readout, "add", "project")  # ignore would be fed patches alone here
            section.ignore("embed_dims", "patch_size")
            section.expect("expand_channels", False)
            return {"widths": list(section.take("post_process_channels", (96, 192, 384, 768))), "readout": readout}


def _segmenter(section: Section) -> dict[str, Any]:
    for key, value in (
        *(("mlp_ratio", 4), ("num_fcs", 2), ("qkv_bias", True), ("drop_rate", 0.0), ("attn_drop_rate", 0.0)),
    ):
        section.expect(key, value)
    section.expect("norm_cfg", *_layer_norm(1e-5))
    section.ignore("init_std")
    return {
        "channels": section.take("embed_dims"),
        "num_layers": section.take("num_layers"),
        "num_heads": section.take("num_heads"),
        "drop_path": section.take("drop_path_rate", 0.1),
    }
