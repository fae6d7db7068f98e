"""Optimizer, schedule, training length and inference of an MMSegmentation configuration, as this project's keys.

Only what the configuration states is returned; what has no counterpart is a note.
"""

from collections.abc import Mapping, Sequence
from typing import Any

Sections = dict[str, dict[str, Any]]

_OPTIMIZERS = {"SGD": "sgd", "Adam": "adam", "AdamW": "adamw", "RMSprop": "rmsprop"}
_EMA = "ExponentialMovingAverage"
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
    wrapper = config.get("optim_wrapper") or {}
    sections: Sections = {
        "augment": _crop(config),
        "optimizer": _optimization(config, wrapper, notes),
        "schedule": {},
        "train": _loop(config, wrapper, notes),
        "evaluate": _inference((config.get("model") or {}).get("test_cfg") or {}),
    }
    if config.get("param_scheduler"):
        sections["schedule"] = _schedulers(config["param_scheduler"], notes, whole=sections["train"].get("iterations"))
    elif config.get("lr_config"):
        sections["schedule"] = _lr_config(config["lr_config"], notes)
    return {section: values for section, values in sections.items() if values}


def _crop(config: Mapping[str, Any]) -> dict[str, Any]:
    own = (config.get("model") or {}).get("data_preprocessor") or config.get("data_preprocessor") or {}
    size = own.get("size") or config.get("crop_size")
    return {"crop_size": [int(side) for side in size]} if isinstance(size, list | tuple) else {}


def _optimization(config: Mapping[str, Any], wrapper: Mapping[str, Any], notes: list[str]) -> dict[str, Any]:
    optimizer = wrapper.get("optimizer") or config.get("optimizer")
    section = _optimizer(optimizer, notes) if optimizer else {}
    clip = wrapper.get("clip_grad") or (config.get("optimizer_config") or {}).get("grad_clip")
    if clip and "max_norm" in clip and clip.get("norm_type", 2) == 2:
        section["clip_norm"] = float(clip["max_norm"])
    elif clip:
        notes.append(f"clip_grad {dict(clip)} has no counterpart")
    rules = wrapper.get("paramwise_cfg") or (optimizer or {}).get("paramwise_cfg")
    if rules:
        section["paramwise"] = _paramwise(rules, notes)
    return section


def _loop(config: Mapping[str, Any], wrapper: Mapping[str, Any], notes: list[str]) -> dict[str, Any]:
    loop = config.get("train_cfg") or config.get("runner") or {}
    section: dict[str, Any] = {}
    if loop.get("max_iters"):
        section["iterations"] = int(loop["max_iters"])
    elif loop.get("max_epochs"):
        section["epochs"] = float(loop["max_epochs"])
    if loop.get("max_iters") and loop.get("val_interval"):
        section["val_every"] = int(loop["val_interval"])
    match wrapper.get("type", "OptimWrapper"):
        case "OptimWrapper":
            pass
        case "AmpOptimWrapper":
            section["precision"] = "bf16" if wrapper.get("dtype") == "bfloat16" else "fp16"
        case other:
            notes.append(f"optim_wrapper {other} has no counterpart")
    if wrapper.get("accumulative_counts", 1) > 1:
        section["accumulate"] = int(wrapper["accumulative_counts"])
    for hook in config.get("custom_hooks") or []:
        if hook.get("type") == "EMAHook" and hook.get("ema_type", _EMA) == _EMA:
            section["ema_decay"] = 1 - float(hook.get("momentum", 0.0002))
        else:
            notes.append(f"hook {hook.get('type')} has no counterpart")
    return section


def _inference(test: Mapping[str, Any]) -> dict[str, Any]:
    if test.get("mode") != "slide":
        return {"inference": "whole"} if test.get("mode") == "whole" else {}
    return {"inference": "slide", "window": list(test["crop_size"]), "stride": list(test["stride"])}


def _paramwise(rules: Mapping[str, Any], notes: list[str]) -> dict[str, Any]:
    section: dict[str, Any] = {"strict": False}  # MMSegmentation takes rules that match nothing
    for key, value in rules.items():
        if key == "custom_keys":
            section[key] = [
                {"key": text, "lr_mult": float(part.get("lr_mult", 1)), "decay_mult": float(part.get("decay_mult", 1))}
                for text, part in value.items()
            ]
        elif key in _RULES:
            section[key] = float(value)
        else:
            notes.append(f"paramwise_cfg: {key} is not taken over")
    return section


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


def _schedulers(value: Any, notes: list[str], *, whole: int | None) -> dict[str, Any]:
    section: dict[str, Any] = {}
    for part in [value] if isinstance(value, Mapping) else list(value):
        if part.get("by_epoch", True):
            section["unit"] = "epochs"
        match part.get("type"):
            case "LinearLR" if part.get("begin", 0) == 0:
                section |= {"warmup": "linear", "warmup_length": int(part["end"])}
                section["warmup_factor"] = float(part.get("start_factor", 1 / 3))
            case "PolyLR":
                section |= {"name": "poly", "power": float(part.get("power", 1))}
                section["end_lr"] = float(part.get("eta_min", 0))
                if part.get("end") is not None and part["end"] != whole:
                    section["length"] = int(part["end"])
            case "CosineAnnealingLR":
                section |= {"name": "cosine", "end_lr": float(part.get("eta_min", 0))}
            case "MultiStepLR":
                section |= {"name": "step", "milestones": list(part["milestones"])}
                section |= {"gamma": float(part.get("gamma", 0.1))}
            case other:
                notes.append(f"scheduler {other} has no counterpart")
    return section


def _lr_config(value: Mapping[str, Any], notes: list[str]) -> dict[str, Any]:
    section: dict[str, Any] = {}
    if value.get("warmup") == "linear":
        section |= {"warmup": "linear", "warmup_length": int(value["warmup_iters"])}
        section["warmup_factor"] = float(value.get("warmup_ratio", 0.1))
    end = {"end_lr": float(value.get("min_lr", 0))}
    match str(value.get("policy")).lower():
        case "poly":
            return {**section, "name": "poly", "power": float(value.get("power", 1)), **end}
        case "cosineannealing":
            return {**section, "name": "cosine", **end}
        case other:
            notes.append(f"schedule {other} has no counterpart")
            return section
