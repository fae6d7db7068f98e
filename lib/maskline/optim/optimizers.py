"""Optimizers of torch.optim by name, all knobs side by side."""

from collections.abc import Iterable
from typing import Literal

import torch
from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer, RMSprop

OptimizerName = Literal["sgd", "adam", "adamw", "rmsprop"]

# Knobs that differ between optimizers: which of them each one reads.
_READS: dict[str, frozenset[str]] = {
    "sgd": frozenset({"momentum", "nesterov"}),
    "adam": frozenset({"betas", "eps"}),
    "adamw": frozenset({"betas", "eps"}),
    "rmsprop": frozenset({"momentum", "alpha", "eps"}),
}


def unread_knobs(name: OptimizerName) -> tuple[str, ...]:
    """Return the knobs that this optimizer does not read, sorted."""
    return tuple(sorted(frozenset().union(*_READS.values()) - _READS[name]))


def optimizer(
    name: OptimizerName,
    parameters: Iterable[nn.Parameter],
    *,
    lr: float,
    weight_decay: float,
    momentum: float,
    nesterov: bool,
    betas: tuple[float, float],
    eps: float,
    alpha: float,
) -> Optimizer:
    """Return the optimizer; knobs it does not read are left aside (``unread_knobs``).

    Each group keeps its own full rate as ``initial_lr``, which the schedule scales.
    """
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    made: Optimizer
    match name:
        case "sgd":
            made = SGD(trained, lr=lr, weight_decay=weight_decay, momentum=momentum, nesterov=nesterov)
        case "adam":
            made = Adam(trained, lr=lr, weight_decay=weight_decay, betas=betas, eps=eps)
        case "adamw":
            made = AdamW(trained, lr=lr, weight_decay=weight_decay, betas=betas, eps=eps)
        case "rmsprop":
            made = RMSprop(trained, lr=lr, weight_decay=weight_decay, momentum=momentum, eps=eps, alpha=alpha)
    for group in made.param_groups:
        group["initial_lr"] = group["lr"]
    return made


def set_factor(made: Optimizer, factor: float) -> None:
    """Set each group's learning rate to its full rate times ``factor``."""
    for group in made.param_groups:
        group["lr"] = group["initial_lr"] * factor


def clip_gradients(made: Optimizer, max_norm: float | None) -> torch.Tensor:
    """Return the norm of all gradients together; scale them down to ``max_norm`` when it is larger."""
    parameters = [parameter for group in made.param_groups for parameter in group["params"]]
    limit = float("inf") if max_norm is None else max_norm
    return torch.nn.utils.clip_grad_norm_(parameters, limit)
