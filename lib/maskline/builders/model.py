"""The network and its losses from the model section: what ``maskline.builders.training`` hands on."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, assert_never, cast

import torch
from torch import Tensor, nn

from maskline.builders.backbone import backbone
from maskline.builders.own import own_module
from maskline.core.errors import CheckpointError, DataError, ParamsError
from maskline.models import heads
from maskline.models.backbones.base import BackboneBase
from maskline.models.backbones.timm_maps import TimmMaps
from maskline.models.ensemble import Ensemble, of_member
from maskline.models.heads.base import Head, HeadOptions
from maskline.models.heads.point import PointSampling
from maskline.models.layers import Norm
from maskline.models.necks.fpn import FPN, Pyramid
from maskline.models.necks.ic import ICNeck
from maskline.models.necks.jpu import JPU
from maskline.models.necks.mla import MLANeck
from maskline.models.necks.multi_level import Feature2Pyramid, MultiLevel
from maskline.models.necks.select import ResizeConcat, Select
from maskline.models.segmentor import Segmentor, SegmentorBase
from maskline.models.smp import SmpSegmentor, smp_segmentor
from maskline.models.stem import adapt_input_channels
from maskline.models.tail import Tail
from maskline.params.base.types import Section
from maskline.params.network.heads import (
    MASK_LOSS_KEYS,
    MASK_POINT_KEYS,
    EncHeadParams,
    EoMTHeadParams,
    FPNHeadParams,
    HeadParams,
    KNetHeadParams,
    MaskHeadParams,
    OwnHeadParams,
    PointHeadParams,
    SeparableASPPHeadParams,
)
from maskline.params.network.model import ModelParams, NetworkParams, NormParams, SmpParams
from maskline.params.network.necks import (
    Feature2PyramidNeckParams,
    FPNNeckParams,
    ICNeckParams,
    JPUNeckParams,
    MLANeckParams,
    MultiLevelNeckParams,
    NeckParams,
    NoNeckParams,
    ResizeConcatNeckParams,
    SelectNeckParams,
)
from maskline.runtime import checkpoint
from maskline.runtime.device import TooManyValues, ValueLimit

log = logging.getLogger("maskline")

_SPARE_VALUES, _SPARE_TENSORS = 20_000_000, 5000  # of parts that encoders make and drop
_BACKBONES = ("backbone.", "model.encoder.")  # of networks of parts, of whole architectures

_IN_INDEX = "model head in_index"
# Keys of a head's section that are no keywords of its own: what all heads take, and what makes losses.
_NOT_ITS_OWN = {"name", "losses", "in_index", "channels", "dropout", "with_norm", "align_corners", "boundary_threshold"}
_NOT_ITS_OWN |= {"fine_losses", "detail_losses", "boundary_weight", "at_boundary_losses"}
_ALIKE = "as those of the backbones vit, beit and mae are"
_SAMPLING = ("train_points", "oversample", "uncertain_share", "steps", "step_points", "scale_factor")


@dataclass(frozen=True, slots=True, kw_only=True)
class Features:
    """What a backbone or neck gives to heads.

    Args:
        channels: Of each feature.
        strides: Of each feature, px.
    """

    channels: tuple[int, ...]
    strides: tuple[int, ...]

    def of_head(self, params: HeadParams) -> tuple[int, ...]:
        """Return the positions that a head takes: those of its section, else by its kind."""
        if isinstance(params.in_index, tuple):
            return params.in_index
        if params.in_index is not None:
            # A neck that leaves one feature: any counted from the end is that one, so the neck's name switches alone.
            return (-1,) if params.in_index < 0 and len(self.channels) == 1 else (params.in_index,)
        finest_first = sorted(range(len(self.strides)), key=self.strides.__getitem__)
        match params.takes:
            case "one":
                return (-1,)
            case "finest":
                return tuple(finest_first[:1])
            case "coarsest":
                return tuple(finest_first[-3:])
            case "all":
                return tuple(finest_first)

    def at(self, channels: tuple[int, ...], scales: Sequence[float]) -> "Features":
        """Return features of other channels, each at a factor of its resolution."""
        strides = tuple(max(1, round(stride / scale)) for stride, scale in zip(self.strides, scales, strict=True))
        return Features(channels=channels, strides=strides)

    def pick(self, indices: Sequence[int], *, place: str) -> "Features":
        """Return some of the features.

        Raises:
            DataError: A position that is none.
        """
        count = len(self.channels)
        for index in indices:
            if not -count <= index < count:
                raise DataError(
                    f"params.yaml: {place}",
                    f"{index}, but the backbone gives {count} features",
                    f"choose {-count} to {count - 1}",
                )
        return Features(
            channels=tuple(self.channels[i] for i in indices), strides=tuple(self.strides[i] for i in indices)
        )


def segmentor(params: ModelParams, *, num_classes: int) -> SegmentorBase:
    """Build the network in train mode with fresh weights, or those of ``params.weights``.

    Raises:
        MasklineError: Parts that do not fit together, or weights that cannot be had.
    """
    members = [_row(params, num_classes=num_classes) for _ in range(params.members)]
    if params.weights is not None:
        for i, member in enumerate(members):
            _load(member, Path(params.weights), position=i)
        _check_apart(members, params.weights)
    return Ensemble(members) if len(members) > 1 else members[0]


def _check_apart(members: Sequence[SegmentorBase], weights: str) -> None:
    """Raise where networks side by side start as one: on the same batches they would hardly part, or never."""
    first, *others = (member.state_dict() for member in members)
    if any(all(torch.equal(other[name], value) for name, value in first.items()) for other in others):
        raise ParamsError(
            "params.yaml: model.members",
            f"{len(members)}, but {weights} gives them the same start in every tensor",
            "set it to 1 and train seeds apart (maskline sweep-seeds N --ensemble), or name a run with members",
        )


def _row(params: ModelParams, *, num_classes: int) -> SegmentorBase:
    first, *others = params.networks()
    model = _network(first, num_classes=num_classes)
    seen = params.in_channels + num_classes - 1
    model.follow_by(
        _network(network.model_copy(update={"in_channels": seen}), num_classes=num_classes) for network in others
    )
    return model


def _network(params: ModelParams, *, num_classes: int) -> SegmentorBase:
    return _smp(params, num_classes=num_classes) if params.type == "smp" else _own(params, num_classes=num_classes)


def without_start_weights(params: ModelParams) -> ModelParams:
    """Return the section of the same network with fresh weights: nothing is read or downloaded to build it."""
    refiners = tuple(network.model_copy(update=_fresh(network)) for network in params.refiners)
    return params.model_copy(update={"weights": None, "refiners": refiners, **_fresh(params)})


def _fresh(network: NetworkParams) -> dict[str, Section]:
    return {name: getattr(network, name).model_copy(update={"pretrained": False}) for name in ("backbone", "smp")}


def _own(params: ModelParams, *, num_classes: int) -> Segmentor:
    normed = norm(params.norm)
    try:
        features, tail = _with_tail(params, norm=normed)
        given = Features(channels=features.channels, strides=features.strides)
        between, seen = neck(params.neck, given, norm=normed, align_corners=params.align_corners)
        build = partial(
            head, features=seen, num_classes=num_classes, norm=normed, align_corners=params.align_corners, tail=tail
        )
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
        reverse_channels=params.channel_order == "bgr",
    )


def _with_tail(params: ModelParams, *, norm: Norm) -> tuple[BackboneBase, Tail | None]:
    """Build the backbone, and take its last blocks away where the head is made of them."""
    part = params.decode_head
    if not isinstance(part, EoMTHeadParams):
        return backbone(params.backbone, in_channels=params.in_channels, norm=norm), None
    whole = params.backbone.model_copy(update={"final_norm": True, "out_indices": None})
    features = backbone(whole, in_channels=params.in_channels, norm=norm)
    if not isinstance(features, TimmMaps):
        told = f"{params.backbone.name} for the head eomt"
        remedy = "choose a plain transformer of timm, such as vit_small_patch14_dinov2"
        raise ParamsError("params.yaml: model.backbone.name", told, remedy)
    tail = features.cut(part.num_blocks)
    # The head's blocks are trained, whatever is frozen.
    return features, tail.requires_grad_(True).train()


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
    channels: tuple[int, ...] = tuple(cast(Any, model.model).encoder.out_channels)
    build = partial(
        head,
        features=Features(channels=channels, strides=tuple(2**i for i in range(len(channels)))),
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
    params: NeckParams, features: Features, *, norm: Norm, align_corners: bool
) -> tuple[nn.Module | None, Features]:
    """Build the neck, and return it with the features that the heads see."""
    match params:
        case NoNeckParams():
            return None, features
        case FPNNeckParams():
            return _pyramid(params, features, norm=norm)
        case SelectNeckParams():
            indices = _indices(params.indices, features)
            return Select(indices=indices), features.pick(indices, place="model.neck.indices")
        case ResizeConcatNeckParams():
            indices = _indices(params.indices, features)
            chosen = features.pick(indices, place="model.neck.indices")
            joined = Features(channels=(sum(chosen.channels),), strides=chosen.strides[:1])
            return ResizeConcat(indices=indices, align_corners=align_corners), joined
        case JPUNeckParams():
            indices = params.indices or _coarsest(features, count=3)
            chosen = features.pick(indices, place="model.neck.indices")
            if len(chosen.channels) < 2:
                raise DataError(
                    "params.yaml: model.neck.indices", "one feature for the neck jpu", "give it two or more"
                )
            upsampling = JPU(
                in_channels=chosen.channels,
                indices=indices,
                mid_channels=params.mid_channels,
                dilations=params.dilations,
                align_corners=align_corners,
                norm=norm,
            )
            strides = (*chosen.strides[:2], chosen.strides[0])
            return upsampling, Features(channels=upsampling.channels, strides=strides)
        case ICNeckParams():
            indices = params.indices or _coarsest(features, count=3)
            chosen = features.pick(indices, place="model.neck.indices")
            if len(chosen.channels) != 3:
                told = f"{len(chosen.channels)} features for the neck ic"
                raise DataError("params.yaml: model.neck.indices", told, "give it three, finest first")
            fusion = ICNeck(
                in_channels=chosen.channels,
                indices=indices,
                out_channels=params.out_channels,
                align_corners=align_corners,
                norm=norm,
            )
            fine, middle, _ = chosen.strides
            return fusion, Features(channels=fusion.channels, strides=(middle, fine, fine))
        case MultiLevelNeckParams() | Feature2PyramidNeckParams() | MLANeckParams():
            return _on_one_resolution(params, features, norm=norm)
        case _:
            assert_never(params)


def _on_one_resolution(
    params: MultiLevelNeckParams | Feature2PyramidNeckParams | MLANeckParams, features: Features, *, norm: Norm
) -> tuple[nn.Module, Features]:
    """Build a neck for features of one resolution, as plain transformers have them."""
    widths = features.channels
    wanted = {"multi_level": len(getattr(params, "scales", ())), "feature2pyramid": 4, "mla": len(widths)}[params.name]
    if len(widths) != wanted or len(set(features.strides)) > 1 or len(set(widths)) > 1:
        told = f"{len(widths)} features of {list(widths)} channels, strides {list(features.strides)}, for {params.name}"
        raise DataError("params.yaml: model.neck.name", told, f"give it {wanted} alike, {_ALIKE}")
    match params:
        case MultiLevelNeckParams():
            resized = MultiLevel(in_channels=widths, out_channels=params.out_channels, scales=params.scales)
            return resized, features.at(resized.channels, resized.scales)
        case Feature2PyramidNeckParams():
            grown = Feature2Pyramid(width=widths[0], norm=norm)
            return grown, features.at(grown.channels, grown.scales)
        case MLANeckParams():
            added = MLANeck(
                in_channels=widths,
                out_channels=params.out_channels,
                norm=norm if params.with_norm else None,
                activation=params.activation,
            )
            return added, Features(channels=added.channels, strides=features.strides)


def _pyramid(params: FPNNeckParams, features: Features, *, norm: Norm) -> tuple[FPN, Features]:
    used = range(len(features.channels))[params.start_level : params.end_level]
    num_outs = len(used) if params.num_outs is None else params.num_outs
    pyramid = FPN(
        in_channels=features.channels,
        out_channels=params.out_channels,
        num_outs=num_outs,
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
    strides = [features.strides[i] for i in used][:num_outs]
    while len(strides) < num_outs:
        strides.append(2 * strides[-1])
    return pyramid, Features(channels=pyramid.channels, strides=tuple(strides))


def head(
    params: HeadParams,
    *,
    features: Features,
    num_classes: int,
    norm: Norm,
    align_corners: bool,
    tail: Tail | None = None,
) -> Head:
    """Build a head on given features; ``tail``: the last blocks of the backbone, where a head takes them."""
    if isinstance(params, KNetHeadParams):
        return _knet(params, features=features, num_classes=num_classes, norm=norm, align_corners=align_corners)
    options = _options(params, features=features, num_classes=num_classes, norm=norm, align_corners=align_corners)
    if isinstance(params, OwnHeadParams):
        return own_module(params.name, Head, options=params.options, **options)
    own = params.model_dump(exclude=_NOT_ITS_OWN)
    if isinstance(params, SeparableASPPHeadParams):
        own["c1_in_channels"] = features.channels[0] if params.c1_channels else 0
    if isinstance(params, MaskHeadParams):
        own = {key: value for key, value in own.items() if key not in MASK_LOSS_KEYS | MASK_POINT_KEYS}
    if isinstance(params, EoMTHeadParams):
        assert tail is not None
        own = {key: own[key] for key in ("num_queries", "mask_annealing", "annealing_power")}
        own |= {"tail": tail, "patch_size": features.strides[0]}
    elif isinstance(params, MaskHeadParams) or (isinstance(params, FPNHeadParams) and params.strides is None):
        own["strides"] = features.pick(features.of_head(params), place=_IN_INDEX).strides
    if isinstance(params, EncHeadParams):
        own["with_presence"] = own.pop("presence_weight") > 0
    if isinstance(params, PointHeadParams):
        own["sampling"] = PointSampling(**{key: own.pop(key) for key in _SAMPLING})
    return _head_class(params.name)(**own, **options)


def _options(
    params: HeadParams, *, features: Features, num_classes: int, norm: Norm, align_corners: bool
) -> HeadOptions:
    indices = features.of_head(params)
    chosen = features.pick(indices, place=_IN_INDEX)
    if params.alike and len(set(chosen.strides)) > 1:
        told = f"features of strides {list(chosen.strides)} for the head {params.name}"
        raise DataError("params.yaml: model head in_index", told, f"give it features of one stride, {_ALIKE}")
    channels = chosen.channels
    dropout = 0.0 if isinstance(params, EoMTHeadParams) else params.dropout
    several = isinstance(params.in_index, tuple) or (params.in_index is None and params.takes != "one")
    own_corners, with_norm = None, False  # a mask head has norms of its own, and resizes in one way
    if not isinstance(params, MaskHeadParams):
        own_corners, with_norm = params.align_corners, params.with_norm
    return HeadOptions(
        in_channels=channels if several else channels[0],
        in_index=indices if several else indices[0],
        channels=params.channels,
        num_classes=num_classes,
        dropout=dropout,
        align_corners=align_corners if own_corners is None else own_corners,
        norm=norm if with_norm else None,
    )


def _knet(params: KNetHeadParams, *, features: Features, **shared: Any) -> Head:
    first = params.first_head()
    own = params.model_dump(exclude={*_NOT_ITS_OWN, "generator"})
    options = _options(first, features=features, **shared)
    return _head_class(params.name)(generator=head(first, features=features, **shared), **own, **options)


def _head_class(name: str) -> Callable[..., Head]:
    """Return the head that the file of its name defines."""
    module = import_module(f"{heads.__name__}.{name}")
    own = [value for value in vars(module).values() if getattr(value, "__module__", "") == module.__name__]
    return next(value for value in own if isinstance(value, type) and issubclass(value, Head))


def _coarsest(features: Features, *, count: int) -> tuple[int, ...]:
    finest_first = sorted(range(len(features.strides)), key=features.strides.__getitem__)
    return tuple(finest_first[-count:])


def _indices(given: tuple[int, ...] | None, features: Features) -> tuple[int, ...]:
    return tuple(range(len(features.channels))) if given is None else given


@contextmanager
def no_larger_than(
    weights: Mapping[str, Tensor], *, place: object, remedy: str, spare: int = _SPARE_VALUES
) -> Iterator[None]:
    """Bound what is built in the block by the weights that are to come into it: a file could declare any network.

    Raises:
        CheckpointError: It is much larger.
    """
    try:
        values = spare + 4 * sum(value.numel() for value in weights.values())
        with ValueLimit(values, most_tensors=_SPARE_TENSORS + 4 * len(weights)):
            yield
    except TooManyValues as error:
        raise CheckpointError(place, "describes a network much larger than its weights", remedy) from error


def _load(model: SegmentorBase, folder: Path, *, position: int) -> None:
    """Start from a folder's weights, and log how many fitted; tensors of another number of classes stay fresh.

    A first convolution for another number of image channels is adapted. Of a folder of several networks it is the one
    at ``position``, counted anew after the last.
    """
    weights, own = of_member(checkpoint.read_weights(folder), position), model.state_dict()
    checkpoint.check_values(folder / checkpoint.WEIGHTS_FILE, weights, own)
    fitting = {name: value for name, value in weights.items() if name in own and own[name].shape == value.shape}
    backbone = [name for name in own if name.startswith(_BACKBONES)]
    stem = next((name for name in backbone if own[name].dim() == 4), "")
    reshaped = {}
    if stem in weights and stem not in fitting and _is_other_input(weights[stem], own[stem]):
        reshaped[stem] = adapt_input_channels(weights[stem], own[stem].shape[1])
    given = fitting | reshaped
    if backbone and not any(name in given for name in backbone):
        told = f"{len(given)} of {len(own)} tensors fit, none of the {len(backbone)} of the backbone"
        raise CheckpointError(
            folder / checkpoint.WEIGHTS_FILE,
            f"is of another network: {told}",
            "set model to the folder's network (maskline import-weights --params does), or model.weights to null",
        )
    model.load_state_dict(given, strict=False)
    log.info(
        "model.weights: %d tensors of %s fitted, %d were reshaped, %d stayed fresh, %d are not of this network",
        *(len(fitting), folder, len(reshaped), len(own) - len(given), len(weights) - len(given)),
    )


def _is_other_input(theirs: Tensor, ours: Tensor) -> bool:
    """Tell whether two first convolutions differ in the number of image channels alone."""
    return (
        theirs.dim() == 4
        and theirs.numel() > 0
        and (theirs.shape[0], *theirs.shape[2:]) == (ours.shape[0], *ours.shape[2:])
    )
