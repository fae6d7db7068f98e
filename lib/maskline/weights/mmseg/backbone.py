"""MMSegmentation's backbone sections as this project's. See ``maskline.weights.mmseg.model``."""

from collections.abc import Callable, Mapping
from typing import Any

from maskline.core.errors import ShapeError
from maskline.models.backbones.hrnet import HRStage, hrnet_stages
from maskline.models.backbones.mit import MIT_PLANS, MitPlan
from maskline.models.backbones.mscan import MSCAN_PLANS, MscanPlan
from maskline.weights.mmseg.section import Section
from maskline.weights.mmseg.transformer import TRANSFORMERS

NormReader = Callable[[Mapping[str, Any] | None, str], bool]

# Knobs of the other families stand in the section too, at values that do nothing.
_NEUTRAL: dict[str, Any] = {
    "pretrained": False,
    "output_stride": 32,
    "stem_channels": None,
    "strides": None,
    "dilations": None,
    "contract_dilation": True,
    "multi_grid": None,
    "base_channels": 64,
    "num_stages": 5,
    "encoder_convs": None,
    "decoder_convs": None,
    "decoder_dilations": None,
    "downsamples": None,
    "upsample": "interp",
    "drop_path": 0.0,
    "dropout": 0.0,
    "attention_dropout": 0.0,
    "patch_size": 16,
    "image_size": [512, 512],
    "out_indices": None,
    "final_norm": False,
    "layer_norm_eps": 1e-6,
    "class_token": True,
    "join_class_token": False,
    "position_resize": "bicubic",
    "frozen_stages": -1,
    "norm_eval": False,
}
_OF_RESNET = (
    *("num_stages", "strides", "dilations", "contract_dilation", "multi_grid", "style"),
    *("norm_cfg", "norm_eval", "frozen_stages", "zero_init_residual"),
)
_RESNETS = {"ResNet": (False, False), "ResNetV1c": (True, False), "ResNetV1d": (True, True)}
_PLANS = {((1, 2, 1, 1), (1, 1, 2, 4)): 8, ((1, 2, 2, 1), (1, 1, 1, 2)): 16, ((1, 2, 2, 2), (1, 1, 1, 1)): 32}
_BATCH_NORM = {"type": "BN"}
_RELU = ({"type": "ReLU"}, {"type": "ReLU", "inplace": True})
# Features that a type gives, where they are not the first four.
_ALL_KEPT = {
    "MobileNetV2": [1, 2, 4, 6],
    "BiSeNetV1": [0, 1, 2],
    "BiSeNetV2": [0, 1, 2, 3, 4],
    "ICNet": [0, 1, 2],
    "FastSCNN": [0, 1, 2],
    "mmpretrain.PoolFormer": [0, 2, 4, 6],
}


def backbone_params(section: Section, *, norm: NormReader) -> tuple[dict[str, Any], int, list[int] | None]:
    """Return the backbone section, the images' channels, and which features are kept (None: all).

    Raises:
        ShapeError: A type or key without a counterpart.
    """
    readers = {
        **dict.fromkeys(_RESNETS, _resnet),
        "UNet": _unet,
        "MixVisionTransformer": _mixvit,
        "HRNet": _hrnet,
        "ResNeSt": _resnest,
        "MobileNetV2": _mobilenet_v2,
        "BiSeNetV1": _bisenet_v1,
        "BiSeNetV2": _bisenet_v2,
        "ICNet": _icnet,
        "mmpretrain.ConvNeXt": _convnext,
        "MobileNetV3": _mobilenet_v3,
        "STDCContextPathNet": _stdc,
        "MSCAN": _mscan,
        "DDRNet": _ddrnet,
        "PIDNet": _pidnet,
        "CGNet": _cgnet,
        "ERFNet": _erfnet,
        "FastSCNN": _fast_scnn,
        "mmpretrain.PoolFormer": _poolformer,
        **TRANSFORMERS,
    }
    if section.type not in readers:
        raise section.unknown_type(readers)
    section.ignore("with_cp", "pretrained", "init_cfg")
    in_channels = section.count("in_channels", 3)
    knobs = readers[section.type](section, norm)
    kept = section.take("out_indices", None)
    section.done()
    chosen = None if kept is None or list(kept) == _ALL_KEPT.get(section.type, [0, 1, 2, 3]) else list(kept)
    return {**_NEUTRAL, **knobs}, in_channels, chosen


def _resnet(section: Section, norm: NormReader) -> dict[str, Any]:
    deep, average = _RESNETS[section.type]
    for key in ("conv_cfg", "dcn", "plugins"):
        section.expect(key, None)
    section.ignore("stage_with_dcn", "zero_init_residual")
    for key, value in (("num_stages", 4), ("base_channels", 64)):
        section.expect(key, value)
    stem = section.take("stem_channels", 64)
    section.check("stem_channels", stem, *((stem,) if deep or stem == 64 else (64,)))
    depth = section.take("depth")
    section.expect("style", *(("pytorch", "caffe") if depth in (18, 34) else ("pytorch",)))
    deep, average = section.take("deep_stem", deep), section.take("avg_down", average)
    version = {(False, False): "v1b", (True, False): "v1c", (True, True): "v1d"}.get((deep, average))
    if version is None:
        raise ShapeError(section.place, "avg_down without deep_stem has no counterpart", "use ResNetV1d")
    strides, dilations = tuple(section.take("strides", (1, 2, 2, 2))), tuple(section.take("dilations", (1, 1, 1, 1)))
    stride = _PLANS.get((strides, dilations))
    grid = section.take("multi_grid", None)
    norm(section.take("norm_cfg", _BATCH_NORM), section.place)
    return {
        "name": f"resnet{depth}_{version}",
        "output_stride": stride or 32,
        "stem_channels": None if stem == 64 else stem,
        "strides": None if stride else list(strides),
        "dilations": None if stride else list(dilations),
        "contract_dilation": section.take("contract_dilation", False),
        "multi_grid": None if grid is None else list(grid),
        **_kept_still(section),
    }


def _resnest(section: Section, norm: NormReader) -> dict[str, Any]:
    for key, value in (("radix", 2), ("reduction_factor", 4), ("avg_down_stride", True), ("groups", 1)):
        section.expect(key, value)
    section.expect("base_width", 4)
    depth = section.take("depth")
    section.check("depth", depth, 50, 101)
    section.expect("stem_channels", 64 if depth == 50 else 128)
    values = {key: section.take(key) for key in _OF_RESNET if section.has(key)}
    plain = Section({"type": "ResNetV1d", "depth": depth, **values}, place=section.place)
    return {**_resnet(plain, norm), "name": f"resnest{depth}"}


def _mobilenet_v2(section: Section, norm: NormReader) -> dict[str, Any]:
    section.expect("widen_factor", 1.0, 1)
    section.expect("strides", (1, 2, 2, 1, 1, 1, 1), [1, 2, 2, 1, 1, 1, 1])
    section.expect("dilations", (1, 1, 1, 2, 2, 4, 4), [1, 1, 1, 2, 2, 4, 4])
    section.expect("conv_cfg", None)
    section.expect("act_cfg", {"type": "ReLU6"})
    norm(section.take("norm_cfg", _BATCH_NORM), section.place)
    return {"name": "mobilenet_v2_d8", "norm_eval": section.take("norm_eval", False)}


def _bisenet_v1(section: Section, norm: NormReader) -> dict[str, Any]:
    knobs = _inner_resnet(section, norm, kind="ResNet", output_stride=32)
    depth = int(knobs["name"].removeprefix("resnet").split("_")[0])
    width = 128 if depth in (18, 34) else 512
    section.check("depth", depth, 18, 50, 101)
    for key, values in (
        ("context_channels", (width, 2 * width, 4 * width)),
        ("spatial_channels", (width // 2, width // 2, width // 2, width)),
    ):
        section.expect(key, values, list(values))
    section.expect("out_channels", 2 * width)
    section.expect("align_corners", False)
    section.expect("conv_cfg", None)
    section.expect("act_cfg", {"type": "ReLU"})
    norm(section.take("norm_cfg", _BATCH_NORM), section.place)
    return {"name": f"bisenet_v1_r{depth}", "norm_eval": knobs["norm_eval"], "frozen_stages": knobs["frozen_stages"]}


def _icnet(section: Section, norm: NormReader) -> dict[str, Any]:
    knobs = _inner_resnet(section, norm, kind="ResNetV1c", output_stride=8)
    depth = int(knobs["name"].removeprefix("resnet").split("_")[0])
    section.check("depth", depth, 18, 50, 101)
    widths = (128, 512) if depth == 18 else (512, 2048)
    for key, values in (("layer_channels", widths), ("out_channels", (64, 256, 256)), ("pool_scales", (1, 2, 3, 6))):
        section.expect(key, values, list(values))
    for key, value in (("light_branch_middle_channels", 32), ("psp_out_channels", 512), ("align_corners", False)):
        section.expect(key, value)
    section.expect("conv_cfg", None)
    section.expect("act_cfg", {"type": "ReLU"})
    norm(section.take("norm_cfg", _BATCH_NORM), section.place)
    return {"name": f"icnet_r{depth}", "norm_eval": knobs["norm_eval"], "frozen_stages": knobs["frozen_stages"]}


def _convnext(section: Section, _norm: NormReader) -> dict[str, Any]:
    size = section.take("arch", "tiny")
    section.check("arch", size, "tiny", "small", "base", "large", "xlarge")
    section.expect("gap_before_final_norm", False)
    section.ignore("layer_scale_init_value")
    return {"name": f"convnext_{size}_normed", "drop_path": section.take("drop_path_rate", 0.0)}


def _mobilenet_v3(section: Section, norm: NormReader) -> dict[str, Any]:
    size = section.take("arch", "small")
    section.check("arch", size, "small", "large")
    kept = (0, 1, 12) if size == "small" else (1, 3, 16)
    given = section.take("out_indices", (0, 1, 12))
    section.check("out_indices", tuple(given), kept)
    section.expect("reduction_factor", 1)
    section.expect("conv_cfg", None)
    norm(section.take("norm_cfg", _BATCH_NORM), section.place)
    return {"name": f"mobilenet_v3_{size}_d8", **_kept_still(section)}


def _stdc(section: Section, norm: NormReader) -> dict[str, Any]:
    inner = section.section("backbone_cfg")
    inner.check("type", inner.type, "STDCNet")
    version = inner.take("stdc_type")
    inner.check("stdc_type", version, "STDCNet1", "STDCNet2")
    inner.ignore("init_cfg", "pretrained", "in_channels")
    inner.expect("channels", (32, 64, 256, 512, 1024), [32, 64, 256, 512, 1024])
    inner.expect("bottleneck_type", "cat")
    inner.expect("num_convs", 4)
    inner.expect("with_final_conv", False)
    inner.expect("act_cfg", *_RELU)
    norm(inner.take("norm_cfg"), inner.place)
    inner.done()
    section.expect("last_in_channels", (1024, 512), [1024, 512])
    section.expect("out_channels", 128)
    section.expect("ffm_cfg", {"in_channels": 384, "out_channels": 256, "scale_factor": 4})
    section.expect("upsample_mode", "nearest")
    section.expect("align_corners", None)
    norm(section.take("norm_cfg", _BATCH_NORM), section.place)
    return {"name": version.lower().replace("net", "")}


def _mscan(section: Section, norm: NormReader) -> dict[str, Any]:
    plan = MscanPlan(widths=tuple(section.take("embed_dims")), depths=tuple(section.take("depths")))
    name = next((name for name, known in MSCAN_PLANS.items() if known == plan), None)
    if name is None:
        told = f"embed_dims {plan.widths} with depths {plan.depths}"
        raise ShapeError(section.place, f"{told} is none of T, S, B, L", "use one of them")
    section.expect("num_stages", 4)
    section.expect("mlp_ratios", [8, 8, 4, 4], (8, 8, 4, 4))
    section.expect("attention_kernel_sizes", [5, [1, 7], [1, 11], [1, 21]])
    section.expect("attention_kernel_paddings", [2, [0, 3], [0, 5], [0, 10]])
    section.expect("act_cfg", {"type": "GELU"})
    norm(section.take("norm_cfg", {"type": "SyncBN"}), section.place)
    return {
        "name": f"mscan_{name}",
        "drop_path": section.take("drop_path_rate", 0.0),
        "dropout": section.take("drop_rate", 0.0),
    }


def _ddrnet(section: Section, norm: NormReader) -> dict[str, Any]:
    channels = section.take("channels", 32)
    section.check("channels", channels, 32, 64)
    section.expect("ppm_channels", 128)
    section.expect("align_corners", False)
    section.expect("act_cfg", *_RELU)
    norm(section.take("norm_cfg", _BATCH_NORM), section.place)
    return {"name": "ddrnet23_slim" if channels == 32 else "ddrnet23"}


def _pidnet(section: Section, norm: NormReader) -> dict[str, Any]:
    usual = (("channels", 64), ("num_stem_blocks", 2), ("num_branch_blocks", 3), ("ppm_channels", 96))
    sizes = tuple(section.take(key, value) for key, value in usual)
    names = {(32, 2, 3, 96): "s", (64, 2, 3, 96): "m", (64, 3, 4, 112): "l"}
    section.check("channels, num_stem_blocks, num_branch_blocks, ppm_channels", sizes, *names)
    section.expect("align_corners", False)
    section.expect("act_cfg", *_RELU)
    norm(section.take("norm_cfg", _BATCH_NORM), section.place)
    return {"name": f"pidnet_{names[sizes]}"}


def _cgnet(section: Section, norm: NormReader) -> dict[str, Any]:
    for key, values in (
        ("num_channels", (32, 64, 128)),
        ("num_blocks", (3, 21)),
        ("dilations", (2, 4)),
        ("reductions", (8, 16)),
    ):
        section.expect(key, values, list(values))
    section.expect("conv_cfg", None)
    section.expect("act_cfg", {"type": "PReLU"})
    norm(section.take("norm_cfg", _BATCH_NORM), section.place)
    return {"name": "cgnet", "norm_eval": section.take("norm_eval", False)}


def _erfnet(section: Section, _norm: NormReader) -> dict[str, Any]:
    for key, values in (
        ("enc_downsample_channels", (16, 64, 128)),
        ("enc_stage_non_bottlenecks", (5, 8)),
        ("enc_non_bottleneck_dilations", (2, 4, 8, 16)),
        ("enc_non_bottleneck_channels", (64, 128)),
        ("dec_upsample_channels", (64, 16)),
        ("dec_stages_non_bottleneck", (2, 2)),
        ("dec_non_bottleneck_channels", (64, 16)),
    ):
        section.expect(key, values, list(values))
    section.ignore("norm_cfg", "conv_cfg", "act_cfg")  # MMSegmentation's blocks have their own
    return {"name": "erfnet", "dropout": section.take("dropout_ratio", 0.1)}


def _fast_scnn(section: Section, norm: NormReader) -> dict[str, Any]:
    for key, values in (
        ("downsample_dw_channels", (32, 48)),
        ("global_block_channels", (64, 96, 128)),
        ("global_block_strides", (2, 2, 1)),
    ):
        section.expect(key, values, list(values))
    for key, value in (
        ("global_in_channels", 64),
        ("global_out_channels", 128),
        ("higher_in_channels", 64),
        ("lower_in_channels", 128),
        ("fusion_out_channels", 128),
        ("align_corners", False),
        ("conv_cfg", None),
        ("dw_act_cfg", None),
    ):
        section.expect(key, value)
    section.expect("act_cfg", *_RELU)
    norm(section.take("norm_cfg", _BATCH_NORM), section.place)
    return {"name": "fast_scnn"}


def _kept_still(section: Section) -> dict[str, Any]:
    return {"frozen_stages": section.take("frozen_stages", -1), "norm_eval": section.take("norm_eval", False)}


def _poolformer(section: Section, _norm: NormReader) -> dict[str, Any]:
    size = section.take("arch", "s12")
    section.check("arch", size, "s12", "s24", "s36", "m36", "m48")
    for key, value in (
        *(("in_patch_size", 7), ("in_stride", 4), ("in_pad", 2), ("pool_size", 3), ("drop_rate", 0.0)),
        *(("down_patch_size", 3), ("down_stride", 2), ("down_pad", 1)),
        *(("norm_cfg", {"type": "GN", "num_groups": 1}), ("act_cfg", {"type": "GELU"})),
    ):
        section.expect(key, value)
    frozen = section.take("frozen_stages", 0)
    section.check("frozen_stages", frozen, 0, -1)  # further ones are counted otherwise there
    return {
        "name": f"poolformer_{size}_normed",
        "drop_path": section.take("drop_path_rate", 0.0),
        "frozen_stages": frozen,
    }


def _inner_resnet(section: Section, norm: NormReader, *, kind: str, output_stride: int) -> dict[str, Any]:
    """Return the knobs of a ResNet inside of another backbone, whose layout is fixed."""
    inner = section.section("backbone_cfg")
    inner.check("type", inner.type, kind)
    inner.ignore("init_cfg", "pretrained", "in_channels", "out_indices", "with_cp")
    knobs = _resnet(inner, norm)
    inner.done()
    layout = (knobs["output_stride"], knobs["strides"], knobs["multi_grid"])
    section.check("backbone_cfg", layout, (output_stride, None, None))
    if output_stride < 32:
        section.check("contract_dilation", knobs["contract_dilation"], True)
    return knobs


def _bisenet_v2(section: Section, norm: NormReader) -> dict[str, Any]:
    for key, values in (("detail_channels", (64, 64, 128)), ("semantic_channels", (16, 32, 64, 128))):
        section.expect(key, values, list(values))
    section.expect("semantic_expansion_ratio", 6)
    section.expect("bga_channels", 128)
    section.expect("align_corners", False)
    section.expect("conv_cfg", None)
    section.expect("act_cfg", {"type": "ReLU"})
    norm(section.take("norm_cfg", _BATCH_NORM), section.place)
    return {"name": "bisenet_v2"}


def _unet(section: Section, norm: NormReader) -> dict[str, Any]:
    for key in ("conv_cfg", "dcn", "plugins"):
        section.expect(key, None)
    section.expect("act_cfg", {"type": "ReLU"})
    upsample = Section(section.take("upsample_cfg", {"type": "InterpConv"}), place=f"{section.place}.upsample_cfg")
    kinds = {"InterpConv": "interp", "DeconvModule": "deconv"}
    if upsample.type not in kinds:
        raise upsample.unknown_type(kinds)
    upsample.expect("kernel_size", 1 if upsample.type == "InterpConv" else 4)
    upsample.expect("conv_first", False)
    upsample.expect("scale_factor", 2)
    upsample.expect("upsample_cfg", {"scale_factor": 2, "mode": "bilinear", "align_corners": False})
    upsample.done()
    stages = section.count("num_stages", 5)
    norm(section.take("norm_cfg", _BATCH_NORM), section.place)

    def listed(key: str, length: int, usual: Any) -> list[Any] | None:
        value = list(section.take(key, [usual] * length))[:length]
        return None if value == [usual] * length else value

    return {
        "name": "unet",
        "base_channels": section.take("base_channels", 64),
        "num_stages": stages,
        "strides": listed("strides", stages, 1),
        "dilations": listed("enc_dilations", stages, 1),
        "encoder_convs": listed("enc_num_convs", stages, 2),
        "decoder_convs": listed("dec_num_convs", stages - 1, 2),
        "decoder_dilations": listed("dec_dilations", stages - 1, 1),
        "downsamples": listed("downsamples", stages - 1, True),
        "upsample": kinds[upsample.type],
        "norm_eval": section.take("norm_eval", False),
    }


def _mixvit(section: Section, _norm: NormReader) -> dict[str, Any]:
    section.expect("act_cfg", {"type": "GELU"})
    section.expect("norm_cfg", {"type": "LN", "eps": 1e-6}, {"type": "LN", "eps": 1e-6, "requires_grad": True})
    section.expect("num_stages", 4)
    plan = MitPlan(
        embed_dims=section.take("embed_dims", 64),
        num_layers=tuple(section.take("num_layers", (3, 4, 6, 3))),
        num_heads=tuple(section.take("num_heads", (1, 2, 4, 8))),
        patch_sizes=tuple(section.take("patch_sizes", (7, 3, 3, 3))),
        strides=tuple(section.take("strides", (4, 2, 2, 2))),
        reductions=tuple(section.take("sr_ratios", (8, 4, 2, 1))),
        mlp_ratio=section.take("mlp_ratio", 4),
        qkv_bias=section.take("qkv_bias", True),
    )
    name = next((name for name, known in MIT_PLANS.items() if known == plan), None)
    if name is None:
        told = f"embed_dims {plan.embed_dims}, num_layers {plan.num_layers}, num_heads {plan.num_heads}, ..."
        raise ShapeError(section.place, f"{told} is none of B0 to B5", "use one of them")
    return {
        "name": f"mixvit_{name}",
        "drop_path": section.take("drop_path_rate", 0.0),
        "dropout": section.take("drop_rate", 0.0),
        "attention_dropout": section.take("attn_drop_rate", 0.0),
    }


def _hrnet(section: Section, norm: NormReader) -> dict[str, Any]:
    section.expect("conv_cfg", None)
    section.expect("multiscale_output", True)
    section.ignore("zero_init_residual")
    extra: Mapping[str, Mapping[str, Any]] = section.take("extra")
    stages = tuple(
        HRStage(
            num_modules=stage["num_modules"],
            block="basic" if stage["block"] == "BASIC" else "bottleneck",
            num_blocks=tuple(stage["num_blocks"]),
            widths=tuple(stage["num_channels"]),
        )
        for stage in (extra[f"stage{number}"] for number in (1, 2, 3, 4))
    )
    width = stages[1].widths[0]
    form = next((small for small in (False, True) if hrnet_stages(width, small=small) == stages), None)
    if form is None:
        raise ShapeError(section.place, "extra is none of the published HRNets", "use W18, W18 small, W32 or W48")
    norm(section.take("norm_cfg", _BATCH_NORM), section.place)
    return {
        "name": f"hrnet{width}{'s' if form else ''}",
        **_kept_still(section),
    }
