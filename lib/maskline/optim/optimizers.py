"""Optimizers of torch.optim, and Muon, by name; all knobs side by side."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.optim import (
    ASGD,
    SGD,
    Adadelta,
    Adagrad,
    Adam,
    Adamax,
    AdamW,
    NAdam,
    Optimizer,
    RAdam,
    RMSprop,
)

from maskline.optim.muon import muon
from maskline.optim.schedules import Schedule
from maskline.runtime import gpu_forms

OptimizerName = Literal[
    "sgd", "adam", "adamw", "muon", "rmsprop", "adagrad", "adadelta", "nadam", "radam", "adamax", "asgd"
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Knobs:
    """Settings of all optimizers; each reads its own (``unread_knobs``).

    Args:
        momentum: sgd, muon, rmsprop.
        dampening: Of the momentum (sgd).
        nesterov: sgd, muon.
        betas: adam, adamw, muon (of the tensors that take AdamW's step), nadam, radam, adamax.
        eps: Added to denominators.
        alpha: Smoothing of squared gradients (rmsprop, adadelta).
        amsgrad: adam, adamw.
        centered: rmsprop.
    """

    momentum: float
    dampening: float
    nesterov: bool
    betas: tuple[float, float]
    eps: float
    alpha: float
    amsgrad: bool
    centered: bool


class _GradientsInMemoryOrder(Optimizer):
    """Hands the fused kernels of CPUs views of gradients that lie in memory as they are read.

    The kernels go through memory whatever the layout, and the bits are the same either way; yet of each gradient that
    is channels_last they make a copy that they do not use, which takes half of their time (torch 2.13). A parameter,
    its gradient and its state must have one layout: autograd gives a gradient that of its parameter, torch.optim the
    state.
    """

    def _init_group(self, group: dict[str, Any], params: list[Tensor], grads: list[Tensor], *state: Any) -> Any:
        flags = super()._init_group(group, params, grads, *state)  # type: ignore[misc]
        # sgd lays its first momentum out as the gradient it is given.
        if not any(each is None for tensors in state for each in tensors):
            grads[:] = [_in_memory_order(each) if each.device.type == "cpu" else each for each in grads]
        return flags


class _SGD(_GradientsInMemoryOrder, SGD):
    pass


class _Adam(_GradientsInMemoryOrder, Adam):
    pass


class _AdamW(_GradientsInMemoryOrder, AdamW):
    pass


# Class or builder, and its argument for each knob that it reads.
_KINDS: dict[str, tuple[Callable[..., Optimizer], dict[str, str]]] = {
    "sgd": (_SGD, {"momentum": "momentum", "dampening": "dampening", "nesterov": "nesterov"}),
    "adam": (_Adam, {"betas": "betas", "eps": "eps", "amsgrad": "amsgrad"}),
    "adamw": (_AdamW, {"betas": "betas", "eps": "eps", "amsgrad": "amsgrad"}),
    "muon": (muon, {"momentum": "momentum", "nesterov": "nesterov", "betas": "betas", "eps": "eps"}),
    "rmsprop": (RMSprop, {"momentum": "momentum", "alpha": "alpha", "eps": "eps", "centered": "centered"}),
    "adagrad": (Adagrad, {"eps": "eps"}),
    "adadelta": (Adadelta, {"alpha": "rho", "eps": "eps"}),
    "nadam": (NAdam, {"betas": "betas", "eps": "eps"}),
    "radam": (RAdam, {"betas": "betas", "eps": "eps"}),
    "adamax": (Adamax, {"betas": "betas", "eps": "eps"}),
    "asgd": (ASGD, {}),
}


# Those with one kernel for the whole step, on CPUs and GPUs alike; each tensor is then read and written once.
_FUSED = frozenset({"sgd", "adam", "adamw"})

# How each takes its step on a GPU without the host looking at a value: fused where torch has such a kernel, else with
# all of its state on the device. Adam's kin has to be told both, or refuses to be captured as a graph.
_ON_GPU: dict[str, dict[str, bool]] = {
    "sgd": {"fused": True},
    "adagrad": {"fused": True},
    "adam": {"fused": True, "capturable": True},
    "adamw": {"fused": True, "capturable": True},
    **{name: {"capturable": True} for name in ("muon", "rmsprop", "adadelta", "nadam", "radam", "adamax", "asgd")},
}

_RATES = "maskline_rates"  # the attribute of an optimizer that holds the tensor of its rates

KNOBS = tuple(Knobs.__dataclass_fields__)


def unread_knobs(name: OptimizerName) -> tuple[str, ...]:
    """Return the knobs that this optimizer does not read, sorted."""
    return tuple(sorted(frozenset(KNOBS) - _KINDS[name][1].keys()))


def optimizer(
    name: OptimizerName,
    parameters: Iterable[nn.Parameter] | Iterable[dict[str, Any]],
    *,
    lr: float,
    weight_decay: float,
    knobs: Knobs,
) -> Optimizer:
    """Return the optimizer; knobs it does not read are left aside (``unread_knobs``).

    Each group keeps its own full rate as ``initial_lr``, which the schedule scales.

    Args:
        name: Which one.
        parameters: Tensors, of which frozen ones are left out, or groups as ``maskline.optim.groups.merge`` makes them.
        lr: Learning rate of tensors without a group's own.
        weight_decay: Weight decay of tensors without a group's own; decoupled for adamw and muon.
        knobs: See there.
    """
    kind, read = _KINDS[name]
    trained = [part for part in parameters if isinstance(part, dict) or part.requires_grad]
    own = {argument: getattr(knobs, knob) for knob, argument in read.items()}
    tensors = [each for part in trained for each in (part["params"] if isinstance(part, dict) else [part])]
    own |= flags(name, on_gpu=any(each.is_cuda for each in tensors))
    optimizer_: Optimizer = kind(trained, lr=lr, weight_decay=weight_decay, **own)
    # torch warns of a capturable step that runs before it is captured, as all of the first ones do.
    optimizer_._warned_capturable_if_run_uncaptured = True
    for group in optimizer_.param_groups:
        group["initial_lr"] = group["lr"]
    return optimizer_


def flags(name: OptimizerName, *, on_gpu: bool) -> dict[str, bool]:
    """Return the arguments by which an optimizer takes its step in the way that is best for the device."""
    if on_gpu:
        return dict(_ON_GPU[name])
    return {"fused": True} if name in _FUSED else {}


def steps_without_host(optimizer: Optimizer, *, scaled: bool) -> bool:
    """Tell whether no step on a GPU waits for a value.

    Args:
        optimizer: Made with the ``flags`` for a GPU.
        scaled: The loss has a scale (fp16): without a fused kernel the scaler asks whether a gradient overflowed.
    """
    return all(group.get("fused") or (group.get("capturable") and not scaled) for group in optimizer.param_groups)


def set_rates(optimizer: Optimizer, schedule: Schedule, iteration: int) -> list[float]:
    """Set each group's learning rate to what the schedule makes of its full rate, and return them.

    On a GPU the rates are views of one tensor that keeps its place: a captured step reads them there. They are float32
    then, as fused kernels take them.
    """
    groups = optimizer.param_groups
    rates = [schedule.rate(iteration, group["initial_lr"]) for group in groups]
    held = _held_rates(optimizer)
    if held is None:
        for group, rate in zip(groups, rates, strict=True):
            group["lr"] = rate
        return rates
    # Pinned, so that the copy need not be waited for; torch keeps the memory until it is done.
    held.copy_(torch.tensor(rates, dtype=held.dtype, pin_memory=held.is_cuda), non_blocking=True)
    for group, rate_ in zip(groups, held.unbind(), strict=True):
        group["lr"] = rate_
    return rates


def to_dict(optimizer: Optimizer) -> dict[str, Any]:
    """Return the optimizer's state dict, its rates as numbers."""
    saved: dict[str, Any] = optimizer.state_dict()
    saved["param_groups"] = [{**group, "lr": float(group["lr"])} for group in saved["param_groups"]]
    return saved


def _held_rates(optimizer: Optimizer) -> Tensor | None:
    """Return the tensor of the groups' rates, made once; None where they are numbers."""
    first: Tensor = optimizer.param_groups[0]["params"][0]
    if not gpu_forms.wanted(first):
        return None
    held: Tensor | None = getattr(optimizer, _RATES, None)
    if held is None:
        held = torch.zeros(len(optimizer.param_groups), dtype=torch.float32, device=first.device)
        setattr(optimizer, _RATES, held)
    return held


def clip_gradients(optimizer: Optimizer, max_norm: float | None) -> Tensor:
    """Return the norm of all gradients together; scale them down to ``max_norm`` when it is larger."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    norm = _norm([each.grad for each in parameters if each.grad is not None])
    if max_norm is not None:
        torch.nn.utils.clip_grads_with_norm_(parameters, max_norm, norm)
    return norm


def _norm(gradients: list[Tensor]) -> Tensor:
    if any(each.device.type != "cpu" for each in gradients):
        return torch.nn.utils.get_total_norm(gradients)
    # torch's norms use one thread of a CPU, its dot product all of them.
    squares = [torch.dot(flat, flat) for flat in (_in_memory_order(each).reshape(-1) for each in gradients)]
    return torch.stack(squares).sum().sqrt() if squares else torch.zeros(())


def _in_memory_order(x: Tensor) -> Tensor:
    """Return a view of x, channels_last, whose dimensions are in memory's order; anything else as it is."""
    return x.permute(0, 2, 3, 1) if x.ndim == 4 and x.is_contiguous(memory_format=torch.channels_last) else x
