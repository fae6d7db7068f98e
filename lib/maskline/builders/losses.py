"""The losses from their params, by name."""

from collections.abc import Iterator, Sequence
from functools import partial
from importlib import import_module
from pkgutil import iter_modules

from torch import nn

from maskline import losses
from maskline.builders.own import own_function
from maskline.losses.composite import CompositeLoss, Loss
from maskline.losses.edges import at_boundary, balanced_borders, on_details
from maskline.losses.mask_classification import MaskClassification, MaskPoints
from maskline.losses.presence import class_presence
from maskline.models.ensemble import member_name
from maskline.models.segmentor import refiner_name
from maskline.params.network.heads import (
    MASK_LOSS_KEYS,
    DAHeadParams,
    DDRHeadParams,
    EncHeadParams,
    EoMTHeadParams,
    HeadParams,
    KNetHeadParams,
    Mask2FormerHeadParams,
    MaskHeadParams,
    PIDHeadParams,
    STDCHeadParams,
)
from maskline.params.network.losses import LossParams, OwnLossParams
from maskline.params.network.model import ModelParams


def criteria(params: ModelParams) -> dict[str, nn.Module]:
    """Build the loss of each head's outputs by their name; that of the final logits is last."""
    if params.members > 1:
        alone = params.model_copy(update={"members": 1})
        return {member_name(i, name): loss for i in range(params.members) for name, loss in criteria(alone).items()}
    first, *refiners = params.networks()
    behind = {
        refiner_name(i, name): loss for i, network in enumerate(refiners) for name, loss in _of_network(network).items()
    }
    return {**_of_network(first), **behind}


def _of_network(params: ModelParams) -> dict[str, nn.Module]:
    parts = params.smp.auxiliary_heads if params.type == "smp" else params.auxiliary_heads
    auxiliary = {key: value for i, part in enumerate(parts) for key, value in _of_head(f"auxiliary_head.{i}", part)}
    if params.type == "smp":
        return {**auxiliary, "decode_head": criterion(params.smp.losses)}
    cascade = (*params.cascade_heads, params.decode_head)
    names = ["decode_head"] if len(cascade) == 1 else [f"decode_head.{i}" for i in range(len(cascade))]
    decode = {key: value for name, part in zip(names, cascade, strict=True) for key, value in _of_head(name, part)}
    return {**auxiliary, **decode}


def _of_head(name: str, params: HeadParams) -> Iterator[tuple[str, nn.Module]]:
    """Yield the losses of a head's outputs, those of ``Head.supervise_outputs``; the main one's last."""
    if isinstance(params, MaskHeadParams):
        yield name, _of_masks(params)
        return
    main = criterion(params.losses)
    match params:
        case DAHeadParams():
            yield from ((f"{name}.{output}", main) for output in ("position", "channel"))
        case KNetHeadParams():
            yield from ((f"{name}.stage_{i}", main) for i in range(params.num_stages))
        case EncHeadParams() if params.presence_weight > 0:
            yield f"{name}.presence", CompositeLoss([(class_presence, params.presence_weight)])
        case STDCHeadParams():
            main = CompositeLoss([(partial(on_details, loss=main, threshold=params.boundary_threshold), 1.0)])
        case DDRHeadParams():
            yield f"{name}.fine", criterion(params.fine_losses)
        case PIDHeadParams():
            yield f"{name}.detail", criterion(params.detail_losses)
            yield f"{name}.boundary", CompositeLoss([(balanced_borders, params.boundary_weight)])
            chosen = partial(at_boundary, loss=criterion(params.at_boundary_losses))
            yield f"{name}.at_boundary", CompositeLoss([(chosen, 1.0)])
    yield name, main


def _of_masks(params: MaskHeadParams) -> MaskClassification:
    weights = params.model_dump(include=MASK_LOSS_KEYS)
    if not isinstance(params, Mask2FormerHeadParams | EoMTHeadParams):
        return MaskClassification(mask_loss="focal", points=None, **weights)
    points = MaskPoints(count=params.train_points, oversample=params.oversample, uncertain_share=params.uncertain_share)
    return MaskClassification(mask_loss="cross_entropy", points=points, **weights)


def criterion(params: Sequence[LossParams]) -> CompositeLoss:
    """Build the weighted sum of losses."""
    return CompositeLoss([(loss(part), part.weight) for part in params])


def loss(params: LossParams) -> Loss:
    """Build one loss: the function of its name in ``maskline.losses``; its params are the function's own keywords."""
    if isinstance(params, OwnLossParams):
        return own_function(params.name, "logits", "target", "ignore_index", options=params.options)
    modules = [import_module(f"{losses.__name__}.{info.name}") for info in iter_modules(losses.__path__)]
    function = next(getattr(module, params.name) for module in modules if hasattr(module, params.name))
    return partial(function, **params.model_dump(exclude={"name", "weight"}))
