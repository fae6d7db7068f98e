"""Learning rate and weight decay of each tensor by rules on its name and kind, as few parameter groups.

Source: mmengine 0.10.7 (Apache-2.0), DefaultOptimWrapperConstructor: the same rules with the same precedence. Two
things differ: tensors with equal settings share a group, and a rule without effect is reported.
"""

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from maskline.optim.layer_decay import LayerDecay

BASE = "base"

_NORMS = (
    nn.modules.batchnorm._BatchNorm,
    nn.modules.instancenorm._InstanceNorm,
    nn.GroupNorm,
    nn.LayerNorm,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomKey:
    """Factors for every tensor whose name contains ``key``; they switch the other rules off for it.

    Args:
        key: Part of a tensor's name. Of several that fit, the longest counts, of equally long ones the first in
            the alphabet.
        lr_mult: Factor on the learning rate.
        decay_mult: Factor on the weight decay.
    """

    key: str
    lr_mult: float
    decay_mult: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """Factors by kind of tensor; None switches a rule off, and so does a custom key for its tensors.

    Args:
        custom_keys: By name, see there.
        norm_decay_mult: On the weight decay of norm layers, weight and bias.
        bias_lr_mult: On the learning rate of biases outside norm layers.
        bias_decay_mult: On the weight decay of biases that no norm rule takes.
        dwconv_decay_mult: On the weight decay of depth-wise convolutions' weights.
        flat_decay_mult: On the weight decay of other tensors of one dimension.
        layer_decay: Learning rates by depth instead of all rules above; tensors of one dimension do not decay.
    """

    custom_keys: Sequence[CustomKey]
    norm_decay_mult: float | None
    bias_lr_mult: float | None
    bias_decay_mult: float | None
    dwconv_decay_mult: float | None
    flat_decay_mult: float | None
    layer_decay: LayerDecay | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """What a tensor is trained with.

    Args:
        name: Of the tensor.
        parameter: The tensor.
        lr: Full learning rate.
        weight_decay: Weight decay.
        rule: Rules that decided, joined by ``+``; ``base`` where none did.
    """

    name: str
    parameter: nn.Parameter
    lr: float
    weight_decay: float
    rule: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Unused:
    """A rule without effect.

    Args:
        rule: Its name.
        problem: Why.
        remedy: What to do.
    """

    rule: str
    problem: str
    remedy: str


@dataclass(frozen=True, slots=True)
class _Tensor:
    name: str
    own_name: str
    module: nn.Module
    parameter: nn.Parameter

    @property
    def is_norm(self) -> bool:
        return isinstance(self.module, _NORMS)

    @property
    def is_bias(self) -> bool:
        return self.own_name == "bias"

    @property
    def is_depthwise(self) -> bool:
        return isinstance(self.module, nn.Conv2d) and self.module.in_channels == self.module.groups

    def has(self, key: str) -> bool:
        # A top-level tensor reads as ".name" in mmengine, so that a key can say "top level only".
        return key in (self.name if "." in self.name else f".{self.name}")


def assign(model: nn.Module, *, lr: float, weight_decay: float, rules: Rules) -> list[Assignment]:
    """Return the settings of each trained tensor, in the model's order; a tensor used twice appears once."""
    if rules.layer_decay is not None:
        return [_by_depth(tensor, rules.layer_decay, lr, weight_decay) for tensor in _tensors(model)]
    return [_by_rules(tensor, rules, lr, weight_decay) for tensor in _tensors(model)]


def merge(assignments: Sequence[Assignment]) -> list[dict[str, Any]]:
    """Return one parameter group, named by its rules, for each pair of learning rate and weight decay."""
    groups: dict[tuple[float, float], list[Assignment]] = {}
    for assignment in assignments:
        groups.setdefault((assignment.lr, assignment.weight_decay), []).append(assignment)
    return [
        {
            "params": [member.parameter for member in members],
            "lr": lr,
            "weight_decay": weight_decay,
            "name": " or ".join(dict.fromkeys(member.rule for member in members)),
        }
        for (lr, weight_decay), members in groups.items()
    ]


def unused(model: nn.Module, *, weight_decay: float, rules: Rules) -> list[Unused]:
    """Return the rules that change nothing: no tensor matches, others win everywhere, or there is no decay."""
    tensors = list(_tensors(model))
    if rules.layer_decay is not None:
        if any(rules.layer_decay.knows(tensor.name) for tensor in tensors):
            return []
        return [Unused(rule="layer_decay", problem="knows no layer of this backbone", remedy="choose a kind that does")]
    unused_rules = []
    for rule, matches in _matches(tensors, rules).items():
        winners = [_winners(tensor, rules) for tensor in matches]
        if not matches:
            unused_rules.append(_without_match(rule, tensors))
        elif not any(rule in winning for winning in winners):
            shadows = sorted({name for winning in winners for name in winning})
            unused_rules.append(
                Unused(
                    rule=rule, problem=f"is shadowed by {', '.join(shadows)} everywhere", remedy="remove one of them"
                )
            )
        elif weight_decay == 0 and rule.endswith("decay_mult"):
            unused_rules.append(
                Unused(rule=rule, problem="scales a weight_decay of 0", remedy="set weight_decay or remove it")
            )
    return unused_rules


def _tensors(model: nn.Module) -> Iterator[_Tensor]:
    seen: set[nn.Parameter] = set()
    for prefix, module in model.named_modules():
        for own_name, parameter in module.named_parameters(prefix="", recurse=False):
            if parameter.requires_grad and parameter not in seen:
                seen.add(parameter)
                yield _Tensor(f"{prefix}.{own_name}" if prefix else own_name, own_name, module, parameter)


def _custom(tensor: _Tensor, rules: Rules) -> CustomKey | None:
    fitting = [custom for custom in rules.custom_keys if tensor.has(custom.key)]
    return min(fitting, key=lambda custom: (-len(custom.key), custom.key), default=None)


def _winners(tensor: _Tensor, rules: Rules) -> dict[str, tuple[float, float]]:
    """Return the rules that decide on a tensor, with their factors on learning rate and weight decay."""
    custom = _custom(tensor, rules)
    if custom is not None:
        return {f"custom_keys.{custom.key}": (custom.lr_mult, custom.decay_mult)}
    factors = {}
    if rules.bias_lr_mult is not None and tensor.is_bias and not tensor.is_norm:
        factors["bias_lr_mult"] = (rules.bias_lr_mult, 1.0)
    for rule, factor, fits in _decay_rules(tensor, rules):
        if factor is not None and fits:
            factors[rule] = (1.0, factor)
            break
    return factors


def _decay_rules(tensor: _Tensor, rules: Rules) -> list[tuple[str, float | None, bool]]:
    """Return the rules on weight decay by precedence: name, factor, whether the tensor is of its kind."""
    return [
        ("norm_decay_mult", rules.norm_decay_mult, tensor.is_norm),
        ("bias_decay_mult", rules.bias_decay_mult, tensor.is_bias),
        ("dwconv_decay_mult", rules.dwconv_decay_mult, tensor.is_depthwise),
        ("flat_decay_mult", rules.flat_decay_mult, tensor.parameter.ndim == 1),
    ]


def _matches(tensors: Sequence[_Tensor], rules: Rules) -> dict[str, list[_Tensor]]:
    """Return the tensors of each rule that is on, whichever rule wins."""
    matches = {
        f"custom_keys.{custom.key}": [tensor for tensor in tensors if tensor.has(custom.key)]
        for custom in rules.custom_keys
    }
    if rules.bias_lr_mult is not None:
        matches["bias_lr_mult"] = [tensor for tensor in tensors if tensor.is_bias and not tensor.is_norm]
    for tensor in tensors:
        for rule, factor, fits in _decay_rules(tensor, rules):
            if factor is not None:
                matches.setdefault(rule, []).extend([tensor] if fits else [])
    return matches


def _by_rules(tensor: _Tensor, rules: Rules, lr: float, weight_decay: float) -> Assignment:
    winning = _winners(tensor, rules)
    for lr_mult, decay_mult in winning.values():
        lr, weight_decay = lr * lr_mult, weight_decay * decay_mult
    rule = "+".join(winning) or BASE
    return Assignment(name=tensor.name, parameter=tensor.parameter, lr=lr, weight_decay=weight_decay, rule=rule)


def _by_depth(tensor: _Tensor, decay: LayerDecay, lr: float, weight_decay: float) -> Assignment:
    flat = tensor.parameter.ndim == 1 or tensor.name.endswith(".bias") or tensor.name in {"pos_embed", "cls_token"}
    return Assignment(
        name=tensor.name,
        parameter=tensor.parameter,
        lr=lr * decay.lr_mult(tensor.name),
        weight_decay=0.0 if flat else weight_decay,
        rule=f"layer_decay.{decay.layer(tensor.name)}" + (".no_decay" if flat else ""),
    )


def _without_match(rule: str, tensors: Sequence[_Tensor]) -> Unused:
    if not rule.startswith("custom_keys."):
        return Unused(rule=rule, problem="matches no tensor of this network", remedy="remove it")
    key = rule.removeprefix("custom_keys.")
    parts = {part for tensor in tensors for part in _parts(tensor.name)}
    near = difflib.get_close_matches(key, sorted(parts), n=3, cutoff=0.5)
    remedy = f"the nearest names are {', '.join(near)}" if near else "maskline explain optimizer lists the names"
    return Unused(rule=rule, problem="matches no tensor of this network", remedy=remedy)


def _parts(name: str) -> set[str]:
    """Return the words of a name and its beginnings."""
    words = name.split(".")
    return {*words, *(".".join(words[: i + 1]) for i in range(len(words)))}
