"""The losses from their params, by name."""

from collections.abc import Sequence
from functools import partial
from importlib import import_module
from pkgutil import iter_modules

from maskline import losses
from maskline.builders.own import own_function
from maskline.losses.composite import CompositeLoss, Loss
from maskline.params.network.losses import LossParams, OwnLossParams
from maskline.params.network.model import ModelParams


def criteria(params: ModelParams) -> dict[str, CompositeLoss]:
    """Build the loss of each head by its name; that of the final logits is last."""
    parts = params.smp.auxiliary_heads if params.type == "smp" else params.auxiliary_heads
    auxiliary = {f"auxiliary_head.{i}": criterion(part.losses) for i, part in enumerate(parts)}
    if params.type == "smp":
        return {**auxiliary, "decode_head": criterion(params.smp.losses)}
    cascade = (*params.cascade_heads, params.decode_head)
    if len(cascade) == 1:
        return {**auxiliary, "decode_head": criterion(params.decode_head.losses)}
    return {**auxiliary, **{f"decode_head.{i}": criterion(part.losses) for i, part in enumerate(cascade)}}


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
