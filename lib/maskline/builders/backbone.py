"""The backbone from its params, by name."""

import re
from collections.abc import Callable
from functools import partial
from typing import TypedDict

from maskline.builders.own import own_module
from maskline.core.errors import ParamsError
from maskline.core.own_code import is_own
from maskline.models.backbones import packaged
from maskline.models.backbones.base import BackboneBase
from maskline.models.backbones.beit import BEiT
from maskline.models.backbones.bisenet_v1 import BiSeNetV1
from maskline.models.backbones.bisenet_v2 import BiSeNetV2
from maskline.models.backbones.cgnet import CGNet
from maskline.models.backbones.convnext import ConvNeXt
from maskline.models.backbones.ddrnet import DDRNet
from maskline.models.backbones.encoder import encoder, pretrained_origin, resolve_encoder
from maskline.models.backbones.erfnet import ERFNet
from maskline.models.backbones.fast_scnn import FastSCNN
from maskline.models.backbones.hrnet import HRNet, hrnet_stages
from maskline.models.backbones.icnet import ICNet
from maskline.models.backbones.little_unet import LittleUNet
from maskline.models.backbones.mit import MIT_PLANS, MixTransformer
from maskline.models.backbones.mobilenet_v2 import MobileNetV2
from maskline.models.backbones.mobilenet_v3 import MobileNetV3
from maskline.models.backbones.mscan import MSCAN, MSCAN_PLANS
from maskline.models.backbones.pidnet import PIDNet
from maskline.models.backbones.poolformer import PoolFormer
from maskline.models.backbones.resnest import SplitBottleneck
from maskline.models.backbones.resnet import ResNet, StagePlan, Stem
from maskline.models.backbones.stdc import STDC
from maskline.models.backbones.swin import SWIN_PLANS, SwinTransformer
from maskline.models.backbones.twins import TWINS_PLANS, Twins
from maskline.models.backbones.unet import UNet, UNetStage
from maskline.models.backbones.vit import VIT_SHAPES, VisionTransformer, VitPlan
from maskline.models.layers import Norm
from maskline.params.network.model import BackboneParams, ModelParams

_RESNET = re.compile(r"resnet(18|34|50|101|152)_(v1b|v1c|v1d)")
_RESNEST = re.compile(r"resnest(50|101)")
_AROUND_RESNET = re.compile(r"(bisenet_v1|icnet)_r(18|50|101)")
_STAGED = re.compile(r"(convnext|poolformer)_(\w+)_normed")
_SWIN = re.compile(r"swin_(tiny|small|base|large)(_window12)?")
_PLAIN_TRANSFORMER = re.compile(r"(vit|beit|mae)_(\w+)")
_MIXVIT = re.compile(r"mixvit_(b[0-5])")
_HRNET = re.compile(r"hrnet(\d+)(s?)")
_PLAIN: dict[str, Callable[..., BackboneBase]] = {
    "mobilenet_v2_d8": MobileNetV2,
    "bisenet_v2": BiSeNetV2,
    "mobilenet_v3_small_d8": partial(MobileNetV3, size="small"),
    "mobilenet_v3_large_d8": partial(MobileNetV3, size="large"),
    "stdc1": partial(STDC, version=1),
    "stdc2": partial(STDC, version=2),
    "ddrnet23_slim": partial(DDRNet, channels=32),
    "ddrnet23": partial(DDRNet, channels=64),
    **{f"pidnet_{size}": partial(PIDNet, size=size) for size in ("s", "m", "l")},
    "cgnet": CGNet,
    "erfnet": ERFNet,
    "fast_scnn": FastSCNN,
    "little_unet": LittleUNet,
    **{f"mscan_{size}": partial(MSCAN, plan=plan) for size, plan in MSCAN_PLANS.items()},
}
_KNOBS = {
    "erfnet": ("dropout",),
    "little_unet": ("base_channels", "num_stages"),
    **{f"mscan_{size}": ("dropout", "drop_path") for size in MSCAN_PLANS},
}


def backbone(params: BackboneParams, *, in_channels: int, norm: Norm) -> BackboneBase:
    """Build the feature extractor.

    Raises:
        ParamsError: ImageNet weights for one of the project's own networks, or a list of the wrong length.
        MasklineError: An unknown name, or weights that cannot be had.
    """
    network = _own(params, in_channels=in_channels, norm=norm)
    if network is None:
        network = encoder(
            params.name,
            in_channels=in_channels,
            output_stride=params.output_stride,
            pretrained=params.pretrained,
            out_indices=params.out_indices,
            final_norm=params.final_norm,
            patch_size=params.patch_size,
        )
    elif params.pretrained:
        raise ParamsError(
            "params.yaml: model.backbone.pretrained",
            f"{params.name} has no ImageNet weights to download",
            "set it to false, and model.weights to a folder that maskline import-weights wrote",
        )
    return network.freeze(stages=params.frozen_stages, norm_eval=params.norm_eval, whole=params.frozen)


def encoder_weights(params: ModelParams) -> dict[str, dict[str, str]]:
    """Return what the receipt says of an encoder's ImageNet weights: package, version, hash; empty: from no package.

    Refiners' stand under keys of their own, as ``encoder_weights_of_refiner_0``.
    """
    sources: dict[str, dict[str, str]] = {}
    for i, network in enumerate(params.networks(), start=-1):
        smp, own = network.smp, network.backbone
        wanted, name = (smp.pretrained, smp.encoder) if network.type == "smp" else (own.pretrained, own.name)
        if source := packaged.source(resolve_encoder(name)) if wanted else None:
            sources["encoder_weights" if i < 0 else f"encoder_weights_of_refiner_{i}"] = source
    return sources


def encoder_origin(params: ModelParams) -> dict[str, str] | None:
    """Return where an encoder's downloaded weights come from, and their licence; None: from a package, or nowhere."""
    wanted, name = (
        (params.smp.pretrained, params.smp.encoder)
        if params.type == "smp"
        else (
            params.backbone.pretrained,
            params.backbone.name,
        )
    )
    if not wanted or encoder_weights(params):
        return None
    return pretrained_origin(resolve_encoder(name))


def _own(params: BackboneParams, *, in_channels: int, norm: Norm) -> BackboneBase | None:
    """Build one of the project's own backbones; None: the name is none of them."""
    if is_own(params.name):
        return _of_ones_own(params, in_channels=in_channels, norm=norm)
    if params.name == "unet":
        return _unet(params, in_channels=in_channels, norm=norm)
    if match := _RESNET.fullmatch(params.name):
        return _resnet(params, int(match[1]), match[2], in_channels=in_channels, norm=norm)
    if match := _RESNEST.fullmatch(params.name):
        return _resnet(params, int(match[1]), "nest", in_channels=in_channels, norm=norm)
    if match := _AROUND_RESNET.fullmatch(params.name):
        kind = BiSeNetV1 if match[1] == "bisenet_v1" else ICNet
        return kind(depth=int(match[2]), in_channels=in_channels, norm=norm)
    if params.name in _PLAIN:
        knobs = {key: getattr(params, key) for key in _KNOBS.get(params.name, ())}
        return _PLAIN[params.name](in_channels=in_channels, norm=norm, **knobs)
    if match := _HRNET.fullmatch(params.name):
        stages = hrnet_stages(int(match[1]), small=bool(match[2]))
        return HRNet(in_channels=in_channels, stages=stages, norm=norm)
    return _transformer(params, in_channels=in_channels)


class _Drops(TypedDict):
    """What is left out while training."""

    dropout: float
    attention_dropout: float
    drop_path: float


def _transformer(params: BackboneParams, *, in_channels: int) -> BackboneBase | None:
    """Build one of the project's own transformers, or a network that is built as one; None: the name is none."""
    name, drop_path = params.name, params.drop_path
    drops = _Drops(dropout=params.dropout, attention_dropout=params.attention_dropout, drop_path=drop_path)
    if match := _STAGED.fullmatch(name):
        kind = ConvNeXt if match[1] == "convnext" else PoolFormer
        return kind(size=match[2], in_channels=in_channels, drop_path=drop_path)
    if match := _MIXVIT.fullmatch(name):
        return MixTransformer(in_channels=in_channels, plan=MIT_PLANS[match[1]], **drops)
    if match := _SWIN.fullmatch(name):
        window = 12 if match[2] else 7
        return SwinTransformer(in_channels=in_channels, plan=SWIN_PLANS[match[1]], window=window, **drops)
    if name in TWINS_PLANS:
        return Twins(in_channels=in_channels, plan=TWINS_PLANS[name], **drops)
    if (match := _PLAIN_TRANSFORMER.fullmatch(name)) and match[2] in VIT_SHAPES:
        return _plain_transformer(params, match[1], match[2], in_channels=in_channels)
    return None


def _plain_transformer(params: BackboneParams, kind: str, size: str, *, in_channels: int) -> BackboneBase:
    plan = VitPlan(
        **VIT_SHAPES[size],
        patch_size=params.patch_size or 16,
        image_size=params.image_size,
        out_indices=params.out_indices,
        final_norm=params.final_norm,
        eps=params.layer_norm_eps,
    )
    if kind == "vit":
        return VisionTransformer(
            in_channels=in_channels,
            plan=plan,
            class_token=params.class_token,
            joined=params.join_class_token,
            resize=params.position_resize,
            dropout=params.dropout,
            attention_dropout=params.attention_dropout,
            drop_path=params.drop_path,
        )
    return BEiT(
        in_channels=in_channels,
        plan=plan,
        mae=kind == "mae",
        scale=1.0 if kind == "mae" else 0.1 if size == "base" else 1e-6,
        attention_dropout=params.attention_dropout,
        drop_path=params.drop_path,
    )


def _of_ones_own(params: BackboneParams, *, in_channels: int, norm: Norm) -> BackboneBase:
    network = own_module(params.name, BackboneBase, options=params.options, in_channels=in_channels, norm=norm)
    for name in ("channels", "strides", "size_divisor"):
        if not hasattr(network, name):
            remedy = f"set self.{name} in its __init__, as BackboneBase says"
            raise ParamsError(f"params.yaml: {params.name}", f"has no {name}", remedy)
    return network


def _unet(params: BackboneParams, *, in_channels: int, norm: Norm) -> UNet:
    stages = params.num_stages
    for key, length in (
        ("strides", stages),
        ("dilations", stages),
        ("encoder_convs", stages),
        ("decoder_convs", stages - 1),
        ("decoder_dilations", stages - 1),
        ("downsamples", stages - 1),
    ):
        _check_length(params, key, length)
    strides, dilations = params.strides or (1,) * stages, params.dilations or (1,) * stages
    convs = params.encoder_convs or (2,) * stages
    # A decoder block belongs to the deeper of its two stages: the first stage has none.
    pools = (True, *(params.downsamples or (True,) * (stages - 1)))
    up_convs = (2, *(params.decoder_convs or (2,) * (stages - 1)))
    up_dilations = (1, *(params.decoder_dilations or (1,) * (stages - 1)))
    plan = [
        UNetStage(
            stride=strides[k],
            pool=pools[k],
            convs=convs[k],
            dilation=dilations[k],
            up_convs=up_convs[k],
            up_dilation=up_dilations[k],
        )
        for k in range(stages)
    ]
    return UNet(
        in_channels=in_channels,
        base_channels=params.base_channels,
        num_stages=stages,
        plan=plan,
        upsample=params.upsample,
        norm=norm,
    )


def _resnet(params: BackboneParams, depth: int, version: str, *, in_channels: int, norm: Norm) -> ResNet:
    for key in ("strides", "dilations"):
        _check_length(params, key, 4)
    usual = StagePlan.for_output_stride(params.output_stride, multi_grid=params.multi_grid)
    plan = StagePlan(
        strides=params.strides or usual.strides,
        dilations=params.dilations or usual.dilations,
        contract_dilation=params.contract_dilation,
        multi_grid=params.multi_grid,
        average_shortcut=version in ("v1d", "nest"),
    )
    return ResNet(
        depth=depth,
        in_channels=in_channels,
        plan=plan,
        stem=Stem(
            kind="7x7" if version == "v1b" else "deep", channels=params.stem_channels or _stem_channels(depth, version)
        ),
        norm=norm,
        block=SplitBottleneck if version == "nest" else None,
    )


def _stem_channels(depth: int, version: str) -> int:
    return 128 if version == "nest" and depth > 50 else 64


def _check_length(params: BackboneParams, key: str, length: int) -> None:
    value = getattr(params, key)
    if value is not None and len(value) != length:
        raise ParamsError(
            f"params.yaml: model.backbone.{key}", f"{len(value)} values", f"give {length} for {params.name}, or null"
        )
