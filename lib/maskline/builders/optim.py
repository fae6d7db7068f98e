"""Optimizer and schedule from their sections: what ``maskline.builders.training`` hands on."""

import logging
import math

from torch import nn
from torch.optim import Optimizer

from maskline.core.errors import ParamsError
from maskline.optim import groups, optimizers
from maskline.optim.layer_decay import LayerDecay
from maskline.optim.schedules import Schedule
from maskline.params.optimizer import OptimizerParams, ParamwiseParams
from maskline.params.schedule import ScheduleParams

log = logging.getLogger("maskline")


def optimizer(params: OptimizerParams, model: nn.Module) -> Optimizer:
    """Build the optimizer, with one group for each pair of learning rate and weight decay.

    Raises:
        ParamsError: As ``assignments``.
    """
    knobs = optimizers.Knobs(**{key: getattr(params, key) for key in optimizers.KNOBS})
    merged = groups.merge(assignments(params, model))
    return optimizers.optimizer(params.name, merged, lr=params.lr, weight_decay=params.weight_decay, knobs=knobs)


def assignments(params: OptimizerParams, model: nn.Module) -> list[groups.Assignment]:
    """Return learning rate and weight decay of each tensor.

    Raises:
        ParamsError: A rule has no effect, and ``paramwise.strict`` is set; else that is a warning.
    """
    rules = paramwise(params.paramwise)
    for idle in groups.unused(model, weight_decay=params.weight_decay, rules=rules):
        error = ParamsError(f"params.yaml: optimizer.paramwise.{idle.rule}", idle.problem, idle.remedy)
        if params.paramwise.strict:
            raise error
        log.warning("warning: %s", error)
    return groups.assign(model, lr=params.lr, weight_decay=params.weight_decay, rules=rules)


def paramwise(params: ParamwiseParams) -> groups.Rules:
    """Build the rules on single tensors."""
    decay = params.layer_decay
    return groups.Rules(
        custom_keys=tuple(groups.CustomKey(**custom.model_dump()) for custom in params.custom_keys),
        norm_decay_mult=params.norm_decay_mult,
        bias_lr_mult=params.bias_lr_mult,
        bias_decay_mult=params.bias_decay_mult,
        dwconv_decay_mult=params.dwconv_decay_mult,
        flat_decay_mult=params.flat_decay_mult,
        layer_decay=None
        if decay.kind is None
        else LayerDecay(kind=decay.kind, num_layers=decay.num_layers, rate=decay.rate),
    )


def schedule(params: ScheduleParams, *, iterations: int, epoch_iterations: float) -> Schedule:
    """Build the learning rate schedule.

    Args:
        params: The section.
        iterations: Length of the run.
        epoch_iterations: Iterations of one pass over the train split, possibly broken.

    Raises:
        ParamsError: The warm-up leaves no iteration for the rest.
    """
    unit = epoch_iterations if params.unit == "epochs" else 1.0
    length = iterations if params.length is None else to_iterations(params.length, unit)
    warmup = to_iterations(params.warmup_length, unit)
    if warmup >= min(length, iterations):
        raise ParamsError(
            "params.yaml: schedule.warmup_length",
            f"{warmup} iterations, but the schedule ends after {min(length, iterations)}",
            "lower it, or train for longer",
        )
    return Schedule(
        name=params.name,
        iterations=length,
        power=params.power,
        end_factor=params.end_factor,
        end_lr=params.end_lr,
        milestones=tuple(to_iterations(value, unit) for value in params.milestones) or _usual_steps(length),
        step_every=to_iterations(params.step_every, unit),
        gamma=_usual_gamma(params.name, decaying=length - warmup) if params.gamma is None else params.gamma,
        cycle_start=params.cycle_start,
        cycle_peak=params.cycle_peak,
        cycles=params.cycles,
        warmup=params.warmup,
        warmup_iterations=warmup,
        warmup_factor=params.warmup_factor,
    )


def _usual_steps(length: int) -> tuple[int, ...]:
    """Return where steps are that nobody has set: 2/3 and 8/9 of the length are 8 and 11 of 12 epochs."""
    return (-(-length * 2 // 3), -(-length * 8 // 9))


def _usual_gamma(name: str, *, decaying: int) -> float:
    """Return the factor that nobody has set; in each iteration, a tenth would end training at once."""
    return 0.01 ** (1 / max(decaying - 1, 1)) if name == "exponential" else 0.1


def to_iterations(length: float, unit: float) -> int:
    """Return a length in whole iterations: the first one at which it is over."""
    return math.ceil(length * unit - 1e-9)
