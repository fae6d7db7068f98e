"""The network and its losses from the model section: what ``maskline.build`` hands on."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, assert_never

from torch import Tensor, nn

from maskline.build_backbone import backbone
from maskline.engine import checkpoint
from maskline.errors import CheckpointError, DataError
from maskline.losses.composite import CompositeLoss, Loss
from maskline.losses.pixel import cross_entropy, focal, ohem
from maskline.losses.region import dice, dice_mmseg, focal_tversky, jaccard, lovasz, tversky
from maskline.losses.shape import boundary, cldice
from maskline.models.backbones.base import BackboneBase
from maskline.models.heads.aspp import ASPPHead
from maskline.models.heads.base import Head, HeadOptions
from maskline.models.heads.fcn import FCNHead
from maskline.models.heads.fcn_skip import FCNSkipHead
from maskline.models.heads.fpn import FPNHead
from maskline.models.heads.large_fov import LargeFOVHead
from maskline.models.heads.ocr import OCRHead
from maskline.models.heads.point import PointHead, PointSampling
from maskline.models.heads.psp import PSPHead
from maskline.models.heads.segformer import SegformerHead
from maskline.models.heads.separable_aspp import SeparableASPPHead
from maskline.models.heads.summed_aspp import SummedASPPHead
from maskline.models.heads.uper import UPerHead
from maskline.models.layers import Norm
from maskline.models.necks.fpn import FPN, Pyramid
from maskline.models.necks.select import ResizeConcat, Select
from maskline.models.segmentor import Segmentor, SegmentorBase
from maskline.models.smp import SmpSegmentor, smp_segmentor
from maskline.params_heads import HeadParams
from maskline.params_losses import LossParams
from maskline.params_model import ModelParams, NormParams, SmpParams
from maskline.params_necks import (
    FPNNeckParams,
    NeckParams,
    NoNeckParams,
    ResizeConcatNeckParams,
    SelectNeckParams,
)

_HEADS: dict[str, Callable[..., Head]] = {
    "fcn": FCNHead,
    "fcn_skip": FCNSkipHead,
    "psp": PSPHead,
    "aspp": ASPPHead,
    "separable_aspp": SeparableASPPHead,
    "large_fov": LargeFOVHead,
    "summed_aspp": SummedASPPHead,
    "uper": UPerHead,
    "fpn": FPNHead,
    "segformer": SegformerHead,
    "ocr": OCRHead,
    "point": PointHead,
}
_LOSSES: dict[str, Callable[..., Tensor]] = {
    "cross_entropy": cross_entropy,
    "ohem": ohem,
    "focal": focal,
    "dice": dice,
    "dice_mmseg": dice_mmseg,
    "jaccard": jaccard,
    "tversky": tversky,
    "focal_tversky": focal_tversky,
    "lovasz": lovasz,
    "boundary": boundary,
    "cldice": cldice,
}
_SAMPLING = ("train_points", "oversample", "uncertain_share", "steps", "step_points", "scale_factor")


def segmentor(params: ModelParams, *, num_classes: int) -> SegmentorBase:
    """Build the network in train mode with fresh weights, or those of ``params.weights``.

    Raises:
        MasklineError: Parts that do not fit together, or weights that cannot be had.
    """
    model = _smp(params, num_classes=num_classes) if params.type == "smp" else _own(params, num_classes=num_classes)
    if params.weights is not None:
        _load(model, Path(params.weights))
    return model


def without_start_weights(params: ModelParams) -> ModelParams:
    """Return the section of the same network with fresh weights: nothing is read or downloaded to build it."""
    return params.model_copy(
        update={
            "weights": None,
            "backbone": params.backbone.model_copy(update={"pretrained": False}),
            "smp": params.smp.model_copy(update={"pretrained": False}),
        }
    )


def _own(params: ModelParams, *, num_classes: int) -> Segmentor:
    normed = norm(params.norm)
    try:
        features = backbone(params.backbone, in_channels=params.in_channels, norm=normed)
        between, widths = neck(params.neck, features, norm=normed, align_corners=params.align_corners)
        build = partial(head, widths=widths, num_classes=num_classes, norm=normed, align_corners=params.align_corners)
        decode = [build(part) for part in (*params.cascade_heads, params.decode_head)]
        auxiliary = [build(part) for part in params.auxiliary_heads]
    except ValueError as error:
        if "num_groups" not in str(error):
            raise
        raise DataError(
            "params.yaml: model.norm.num_groups",
            f"{params.norm.num_groups} does not divide the channels of a layer",
            "choose a common divisor of all widths",
        ) from error
    return Segmentor(
        backbone=features,
        decode_heads=decode,
        auxiliary_heads=auxiliary,
        neck=between,
        num_classes=num_classes,
        align_corners=params.align_corners,
    )


def _smp(params: ModelParams, *, num_classes: int) -> SmpSegmentor:
    part: SmpParams = params.smp
    model = smp_segmentor(
        part.architecture,
        encoder=part.encoder,
        in_channels=params.in_channels,
        num_classes=num_classes,
        pretrained=part.pretrained,
        align_corners=params.align_corners,
    )
    parts: Any = model.model
    build = partial(
        head,
        widths=tuple(parts.encoder.out_channels),
        num_classes=num_classes,
        norm=norm(params.norm),
        align_corners=params.align_corners,
    )
    model.auxiliary_head = nn.ModuleList(build(part) for part in part.auxiliary_heads)
    return model


def norm(params: NormParams) -> Norm:
    """Build the recipe of a norm."""
    return Norm(
        kind=params.name,
        num_groups=params.num_groups,
        eps=params.eps,
        momentum=params.momentum,
        trainable=params.trainable,
    )


def neck(
    params: NeckParams, features: BackboneBase, *, norm: Norm, align_corners: bool
) -> tuple[nn.Module | None, tuple[int, ...]]:
    """Build the neck, and return it with the channels of the features that the heads see."""
    widths = features.channels
    match params:
        case NoNeckParams():
            return None, widths
        case FPNNeckParams():
            made = FPN(
                in_channels=widths,
                out_channels=params.out_channels,
                num_outs=params.num_outs,
                plan=Pyramid(
                    start_level=params.start_level,
                    end_level=params.end_level,
                    extra_convs=params.extra_convs,
                    relu_before_extra_convs=params.relu_before_extra_convs,
                    upsample=params.upsample,
                ),
                norm=norm if params.with_norm else None,
                norm_on_lateral=params.norm_on_lateral,
                activation=params.activation,
            )
            return made, made.channels
        case SelectNeckParams():
            return Select(indices=params.indices), _pick(widths, params.indices, place="model.neck.indices")
        case ResizeConcatNeckParams():
            joined = sum(_pick(widths, params.indices, place="model.neck.indices"))
            return ResizeConcat(indices=params.indices, align_corners=align_corners), (joined,)
        case _:
            assert_never(params)


def head(params: HeadParams, *, widths: Sequence[int], num_classes: int, norm: Norm, align_corners: bool) -> Head:
    """Build a head on features of the given channels."""
    several = isinstance(params.in_index, tuple)
    indices = params.in_index if isinstance(params.in_index, tuple) else (params.in_index,)
    chosen = _pick(widths, indices, place="model head in_index")
    options = HeadOptions(
        in_channels=chosen if several else chosen[0],
        in_index=indices if several else indices[0],
        channels=params.channels,
        num_classes=num_classes,
        dropout=params.dropout,
        align_corners=align_corners,
        norm=norm if params.with_norm else None,
    )
    own = params.model_dump(exclude={"name", "losses", "in_index", "channels", "dropout", "with_norm"})
    if params.name == "separable_aspp":
        own["c1_in_channels"] = widths[0] if params.c1_channels else 0
    if params.name == "point":
        own["sampling"] = PointSampling(**{key: own.pop(key) for key in _SAMPLING})
    return _HEADS[params.name](**own, **options)


def criteria(params: ModelParams) -> dict[str, CompositeLoss]:
    """Build the loss of each head by its name; that of the final logits is last."""
    parts = params.smp.auxiliary_heads if params.type == "smp" else params.auxiliary_heads
    found = {f"auxiliary_head.{i}": criterion(part.losses) for i, part in enumerate(parts)}
    if params.type == "smp":
        return {**found, "decode_head": criterion(params.smp.losses)}
    cascade = (*params.cascade_heads, params.decode_head)
    if len(cascade) == 1:
        return {**found, "decode_head": criterion(params.decode_head.losses)}
    return {**found, **{f"decode_head.{i}": criterion(part.losses) for i, part in enumerate(cascade)}}


def criterion(params: Sequence[LossParams]) -> CompositeLoss:
    """Build the weighted sum of losses."""
    return CompositeLoss([(loss(part), part.weight) for part in params])


def loss(params: LossParams) -> Loss:
    """Build one loss; its settings are the function's own keywords."""
    return partial(_LOSSES[params.name], **params.model_dump(exclude={"name", "weight"}))


def _pick(widths: Sequence[int], indices: Sequence[int], *, place: str) -> tuple[int, ...]:
    for index in indices:
        if not -len(widths) <= index < len(widths):
            raise DataError(
                f"params.yaml: {place}",
                f"{index}, but the backbone gives {len(widths)} features",
                f"choose {-len(widths)} to {len(widths) - 1}",
            )
    return tuple(widths[index] for index in indices)


def _load(model: SegmentorBase, folder: Path) -> None:
    """Start from a folder's weights; tensors of another shape (another number of classes) stay fresh."""
    found = checkpoint.read_weights(folder)
    own = model.state_dict()
    fitting = {name: value for name, value in found.items() if name in own and own[name].shape == value.shape}
    if not fitting:
        raise CheckpointError(
            folder / checkpoint.WEIGHTS_FILE,
            "no tensor has a name and shape of this network",
            "set model.weights to a model of the same architecture, or to null",
        )
    model.load_state_dict(fitting, strict=False)
