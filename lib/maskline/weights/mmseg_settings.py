"""Optimizer, schedule, training length and inference of an MMSegmentation configuration, as this project's keys.

Only what the configuration states is returned; what has no counterpart is a note.
"""

from collections.abc import Mapping, Sequence
from typing import Any

Sections = dict[str, dict[str, Any]]

_OPTIMIZERS = {"SGD": "sgd", "Adam": "adam", "AdamW": "adamw", "RMSprop": "rmsprop"}
_RULES = ("norm_decay_mult", "bias_lr_mult", "bias_decay_mult", "dwconv_decay_mult", "flat_decay_mult")
_KNOBS = {
    "lr": "lr",
    "momentum": "momentum",
    "weight_decay": "weight_decay",
    "nesterov": "nesterov",
    "betas": "betas",
    "eps": "eps",
    "alpha": "alpha",
}


def settings(config: Mapping[str, Any], notes: list[str]) -> Sections:
    """Return sections of params with the keys that the configuration states.

    Args:
        config: The whole configuration, 0.x or 1.x.
        notes: Gets a sentence on each part without a counterpart.
    """
    found: Sections = {"optimizer": {}, "schedule": {}, "train": {}, "evaluate": {}}
    wrapper = config.get("optim_wrapper") or {}
    optimizer = wrapper.get("optimizer") or config.get("optimizer")
    if optimizer:
        found["optimizer"] = _optimizer(optimizer, notes)
    clip = wrapper.get("clip_grad") or (config.get("optimizer_config") or {}).get("grad_clip")
    if clip:
        found["optimizer"]["clip_norm"] = float(clip["max_norm"])
    rules = wrapper.get("paramwise_cfg") or (optimizer or {}).get("paramwise_cfg")
    if rules:
        found["optimizer"]["paramwise"] = _paramwise(rules, notes)
    loop = config.get("train_cfg") or config.get("runner") or {}
    if loop.get("max_iters"):
        found["train"]["iterations"] = int(loop["max_iters"])
    if config.get("param_scheduler"):
        found["schedule"] = _schedulers(config["param_scheduler"], notes)
    elif config.get("lr_config"):
        found["schedule"] = _lr_config(config["lr_config"], notes)
    test = (config.get("model") or {}).get("test_cfg") or {}
    if test.get("mode") == "slide":
        found["evaluate"] = {
            "inference": "slide",
            "window": list(test["crop_size"]),
            "stride": list(test["stride"]),
        }
    elif test.get("mode") == "whole":
        found["evaluate"] = {"inference": "whole"}
    return {section: values for section, values in found.items() if values}


def _paramwise(rules: Mapping[str, Any], notes: list[str]) -> dict[str, Any]:
    found: dict[str, Any] = {"strict": False}  # MMSegmentation takes rules that match nothing
    for key, value in rules.items():
        if key == "custom_keys":
            found[key] = [
                {"key": text, "lr_mult": float(part.get("lr_mult", 1)), "decay_mult": float(part.get("decay_mult", 1))}
                for text, part in value.items()
            ]
        elif key in _RULES:
            found[key] = float(value)
        else:
            notes.append(f"paramwise_cfg: {key} is not taken over")
    return found


def _optimizer(value: Mapping[str, Any], notes: list[str]) -> dict[str, Any]:
    name = _OPTIMIZERS.get(str(value.get("type")))
    if name is None:
        notes.append(f"optimizer {value.get('type')} has no counterpart")
        return {}
    return {
        "name": name,
        **{ours: _plain(value[theirs]) for theirs, ours in _KNOBS.items() if value.get(theirs) is not None},
    }


def _plain(value: Any) -> Any:
    if isinstance(value, Sequence):
        return [float(x) for x in value]
    return value if isinstance(value, bool) else float(value)


def _schedulers(value: Any, notes: list[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for part in [value] if isinstance(value, Mapping) else list(value):
        match part.get("type"):
            case "LinearLR" if part.get("begin", 0) == 0:
                found |= {"warmup": "linear", "warmup_length": int(part["end"])}
                found["warmup_factor"] = float(part.get("start_factor", 1 / 3))
            case "PolyLR":
                found |= {"name": "poly", "power": float(part.get("power", 1))}
                found["end_lr"] = float(part.get("eta_min", 0))
            case "CosineAnnealingLR":
                found |= {"name": "cosine", "end_lr": float(part.get("eta_min", 0))}
            case "MultiStepLR":
                found |= {"name": "step", "milestones": list(part["milestones"])}
                found |= {"gamma": float(part.get("gamma", 0.1))}
            case other:
                notes.append(f"scheduler {other} has no counterpart")
    return found


def _lr_config(value: Mapping[str, Any], notes: list[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if value.get("warmup") == "linear":
        found |= {"warmup": "linear", "warmup_length": int(value["warmup_iters"])}
        found["warmup_factor"] = float(value.get("warmup_ratio", 0.1))
    end = {"end_lr": float(value.get("min_lr", 0))}
    match str(value.get("policy")).lower():
        case "poly":
            return {**found, "name": "poly", "power": float(value.get("power", 1)), **end}
        case "cosineannealing":
            return {**found, "name": "cosine", **end}
        case other:
            notes.append(f"schedule {other} has no counterpart")
            return found
