"""Backbones from MMSegmentation configurations. See ``maskline.models.mmseg``."""

from collections.abc import Callable, Mapping
from typing import Any

from maskline.errors import ShapeError
from maskline.models.backbones.base import BackboneBase
from maskline.models.backbones.hrnet import HRNet, HRStage
from maskline.models.backbones.mit import MitPlan, MixTransformer
from maskline.models.backbones.resnet import ResNet, StagePlan, Stem
from maskline.models.backbones.unet import UNet, UNetStage
from maskline.models.layers import Norm
from maskline.models.mmseg_section import Section, norm_from_mmseg

_BATCH_NORM = {"type": "BN"}


def backbone_from_mmseg(section: Section) -> BackboneBase:
    """Return the backbone that a section describes.

    Raises:
        ShapeError: A type or key without a counterpart.
    """
    builder = _BUILDERS.get(section.type)
    if builder is None:
        raise section.unknown_type(_BUILDERS)
    section.ignore("with_cp", "pretrained", "init_cfg")
    backbone = builder(section)
    section.done()
    return backbone


def _resnet(section: Section) -> BackboneBase:
    deep, average = {"ResNet": (False, False), "ResNetV1c": (True, False), "ResNetV1d": (True, True)}[section.type]
    for key, allowed in (("conv_cfg", None), ("dcn", None), ("plugins", None)):
        section.expect(key, allowed)
    section.ignore("stage_with_dcn")
    num_stages = section.take("num_stages", 4)
    multi_grid = section.take("multi_grid", None)
    plan = StagePlan(
        strides=tuple(section.take("strides", (1, 2, 2, 2))[:num_stages]),
        dilations=tuple(section.take("dilations", (1, 1, 1, 1))[:num_stages]),
        contract_dilation=section.take("contract_dilation", False),
        multi_grid=None if multi_grid is None else tuple(multi_grid),
        style=section.take("style", "pytorch"),
        average_shortcut=section.take("avg_down", average),
    )
    deep = section.take("deep_stem", deep)
    frozen, norm_eval = section.take("frozen_stages", -1), section.take("norm_eval", False)
    return ResNet(
        depth=section.take("depth"),
        in_channels=section.take("in_channels", 3),
        plan=plan,
        stem=Stem(kind="deep" if deep else "7x7", channels=section.take("stem_channels", 64)),
        base_channels=section.take("base_channels", 64),
        out_indices=_indices(section.take("out_indices", (0, 1, 2, 3))),
        norm=_norm(section),
        zero_init=section.take("zero_init_residual", True),
    ).freeze(stages=frozen, norm_eval=norm_eval)


def _unet(section: Section) -> BackboneBase:
    for key in ("conv_cfg", "dcn", "plugins"):
        section.expect(key, None)
    section.expect("act_cfg", {"type": "ReLU"})
    upsample = Section(section.take("upsample_cfg", {"type": "InterpConv"}), place=f"{section.place}.upsample_cfg")
    kinds = {"InterpConv": "interp", "DeconvModule": "deconv"}
    if upsample.type not in kinds:
        raise upsample.unknown_type(kinds)
    for key, allowed in (("kernel_size", 1 if upsample.type == "InterpConv" else 4), ("conv_first", False)):
        upsample.expect(key, allowed)
    upsample.expect("scale_factor", 2)
    upsample.expect("upsample_cfg", {"scale_factor": 2, "mode": "bilinear", "align_corners": False})
    upsample.done()
    norm_eval, num_stages = section.take("norm_eval", False), section.take("num_stages", 5)
    return UNet(
        in_channels=section.take("in_channels", 3),
        base_channels=section.take("base_channels", 64),
        num_stages=num_stages,
        plan=_unet_plan(section, num_stages),
        upsample="interp" if upsample.type == "InterpConv" else "deconv",
        norm=_norm(section),
    ).freeze(stages=-1, norm_eval=norm_eval)


def _unet_plan(section: Section, num_stages: int) -> list[UNetStage]:
    def entries(key: str, usual: Any, *, first: Any = None) -> list[Any]:
        """One entry a stage; the decoder's lists and ``downsamples`` have none for the first."""
        given = list(section.take(key, [usual] * num_stages))
        return given if first is None else [first, *given]

    columns = (
        entries("strides", 1),
        entries("downsamples", True, first=False),
        entries("enc_num_convs", 2),
        entries("enc_dilations", 1),
        entries("dec_num_convs", 2, first=0),
        entries("dec_dilations", 1, first=1),
    )
    return [
        UNetStage(stride=stride, pool=pool, convs=convs, dilation=dilation, up_convs=up_convs, up_dilation=up_dilation)
        for stride, pool, convs, dilation, up_convs, up_dilation in list(zip(*columns, strict=False))[:num_stages]
    ]


def _mit(section: Section) -> BackboneBase:
    section.expect("act_cfg", {"type": "GELU"})
    norm = section.take("norm_cfg", {"type": "LN", "eps": 1e-6})
    if norm.get("type") != "LN":
        raise ShapeError(section.place, f"norm_cfg {dict(norm)} has no counterpart", "use type LN")
    num_stages = section.take("num_stages", 4)
    plan = MitPlan(
        embed_dims=section.take("embed_dims", 64),
        num_layers=tuple(section.take("num_layers", (3, 4, 6, 3))[:num_stages]),
        num_heads=tuple(section.take("num_heads", (1, 2, 4, 8))),
        patch_sizes=tuple(section.take("patch_sizes", (7, 3, 3, 3))),
        strides=tuple(section.take("strides", (4, 2, 2, 2))),
        reductions=tuple(section.take("sr_ratios", (8, 4, 2, 1))),
        mlp_ratio=section.take("mlp_ratio", 4),
        qkv_bias=section.take("qkv_bias", True),
    )
    return MixTransformer(
        in_channels=section.take("in_channels", 3),
        plan=plan,
        dropout=section.take("drop_rate", 0.0),
        attention_dropout=section.take("attn_drop_rate", 0.0),
        drop_path=section.take("drop_path_rate", 0.0),
        out_indices=_indices(section.take("out_indices", (0, 1, 2, 3))),
        norm_eps=norm.get("eps", 1e-5),
    )


def _hrnet(section: Section) -> BackboneBase:
    section.expect("conv_cfg", None)
    extra: Mapping[str, Mapping[str, Any]] = section.take("extra")
    stages = [
        HRStage(
            num_modules=stage["num_modules"],
            block="basic" if stage["block"] == "BASIC" else "bottleneck",
            num_blocks=tuple(stage["num_blocks"]),
            widths=tuple(stage["num_channels"]),
        )
        for stage in (extra[f"stage{number}"] for number in (1, 2, 3, 4))
    ]
    frozen, norm_eval = section.take("frozen_stages", -1), section.take("norm_eval", False)
    return HRNet(
        in_channels=section.take("in_channels", 3),
        stages=stages,
        multiscale_output=section.take("multiscale_output", True),
        norm=_norm(section),
        zero_init=section.take("zero_init_residual", False),
    ).freeze(stages=frozen, norm_eval=norm_eval)


def _norm(section: Section) -> Norm:
    norm = norm_from_mmseg(section.take("norm_cfg", _BATCH_NORM), place=section.place)
    if norm is None:
        raise ShapeError(section.place, "norm_cfg is null", "give the backbone a norm")
    return norm


def _indices(value: Any) -> list[int]:
    return [value] if isinstance(value, int) else list(value)


_BUILDERS: dict[str, Callable[[Section], BackboneBase]] = {
    "ResNet": _resnet,
    "ResNetV1c": _resnet,
    "ResNetV1d": _resnet,
    "UNet": _unet,
    "MixVisionTransformer": _mit,
    "HRNet": _hrnet,
}
