"""Optimizer, schedule, training length and inference of an MMSegmentation configuration, as this project's keys.

Only what the configuration states is returned; what has no counterpart is a note. Of the configuration's top level,
what MMEngine's runner reads counts; everything else there is a variable.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from maskline.weights.mmseg.keys import Keys, shown
from maskline.weights.mmseg.pipeline import loader
from maskline.weights.mmseg.schedule import kept_factor, lr_config, schedulers

Sections = dict[str, dict[str, Any]]

_OPTIMIZERS = {
    "SGD": "sgd",
    "Adam": "adam",
    "AdamW": "adamw",
    "RMSprop": "rmsprop",
    "Adagrad": "adagrad",
    "Adadelta": "adadelta",
    "NAdam": "nadam",
    "RAdam": "radam",
    "Adamax": "adamax",
    "ASGD": "asgd",
}
_EMA = "ExponentialMovingAverage"
_EMA_KEYS = {"interval": 1, "update_buffers": False, "begin_iter": 0, "begin_epoch": 0, "strict_load": False}
_RULES = ("norm_decay_mult", "bias_lr_mult", "bias_decay_mult", "dwconv_decay_mult", "flat_decay_mult")
_KNOBS = {
    "lr": "lr",
    "momentum": "momentum",
    "weight_decay": "weight_decay",
    "dampening": "dampening",
    "nesterov": "nesterov",
    "betas": "betas",
    "eps": "eps",
    "alpha": "alpha",
    "amsgrad": "amsgrad",
    "centered": "centered",
}
# Backbone -> how tensors' names begin there and here, where keys of the zoo have whole names.
_RENAMED = {"SwinTransformer": ("backbone.stages.", "backbone.layers.")}
_COUNTED = ("iterations", "val_every", "log_every", "warmup_length", "length", "step_every")
_LAYER_DECAYS = ("LearningRateDecayOptimizerConstructor", "LayerDecayOptimizerConstructor")
# Hooks that log, count and draw: they change no result.
_HOOKS = {
    "timer": "IterTimerHook",
    "param_scheduler": "ParamSchedulerHook",
    "sampler_seed": "DistSamplerSeedHook",
    "visualization": "SegVisualizationHook",
    "runtime_info": "RuntimeInfoHook",
}


def settings(config: Mapping[str, Any], notes: list[str]) -> Sections:
    """Return sections of params, but for model, with the keys that the configuration states.

    Args:
        config: The whole configuration, 0.x or 1.x.
        notes: Gets a sentence on each part without a counterpart.
    """
    wrapper = Keys(config.get("optim_wrapper"), place="optim_wrapper", notes=notes)
    sections: Sections = {"augment": {}, "optimizer": {}, "schedule": {}, "train": {}, "evaluate": {}}
    for section, values in loader(config, notes).items():
        sections.setdefault(section, {}).update(values)
    padded, crop = _preprocessor(config, notes), sections["augment"].get("crop_size")
    sections["augment"] = {**padded, **sections["augment"]}
    if crop is not None and padded.get("crop_size", crop) != crop:
        notes.append(f"data_preprocessor: size {padded['crop_size']} beside crops of {crop} has no counterpart")
    sections["optimizer"] = _optimization(config, wrapper, notes)
    sections["train"] |= _loop(config, wrapper, notes)
    sections["train"] |= _hooks(config, notes)
    wrapper.done()
    sections["evaluate"] = _inference((config.get("model") or {}).get("test_cfg") or {}, notes)
    if config.get("param_scheduler"):
        whole = (config.get("train_cfg") or {}).get("max_iters")
        sections["schedule"] = schedulers(config["param_scheduler"], notes, whole=whole)
        if "lr" in sections["optimizer"]:
            sections["optimizer"]["lr"] *= kept_factor(config["param_scheduler"])
    elif config.get("lr_config"):
        sections["schedule"] = lr_config(config["lr_config"], notes)
    _as_steps(sections, notes)
    _evaluation(config, notes)
    return {section: values for section, values in sections.items() if values}


def _preprocessor(config: Mapping[str, Any], notes: list[str]) -> dict[str, Any]:
    own = (config.get("model") or {}).get("data_preprocessor") or config.get("data_preprocessor") or {}
    keys = Keys(own, place="data_preprocessor", notes=notes)
    keys.ignore("type", "mean", "std", "bgr_to_rgb", "rgb_to_bgr", "to_rgb", "non_blocking")  # read with the model
    size = keys.take("size") or config.get("crop_size")
    keys.expect("pad_val", 0)
    keys.expect("seg_pad_val", 255)
    for key in ("size_divisor", "batch_augments", "test_cfg"):
        keys.expect(key, None)
    keys.done()
    return {"crop_size": [int(side) for side in size]} if isinstance(size, list | tuple) else {}


def _optimization(config: Mapping[str, Any], wrapper: Keys, notes: list[str]) -> dict[str, Any]:
    optimizer = wrapper.take("optimizer") or ({} if "optim_wrapper" in config else config.get("optimizer")) or {}
    section = _optimizer(optimizer, notes) if optimizer else {}
    clip = wrapper.take("clip_grad") or (config.get("optimizer_config") or {}).get("grad_clip")
    if clip and "max_norm" in clip and clip.get("norm_type", 2) == 2 and not {*clip} - {"max_norm", "norm_type"}:
        section["clip_norm"] = float(clip["max_norm"])
    elif clip:
        notes.append(f"clip_grad {dict(clip)} has no counterpart")
    rules = wrapper.take("paramwise_cfg") or optimizer.get("paramwise_cfg")
    constructor = str(wrapper.take("constructor") or optimizer.get("constructor") or "").split(".")[-1]
    if constructor in _LAYER_DECAYS:
        section["paramwise"] = _layer_decay(rules or {}, notes, old=constructor == _LAYER_DECAYS[1])
        return section
    if constructor not in ("", "DefaultOptimWrapperConstructor", "DefaultOptimizerConstructor"):
        notes.append(f"optim_wrapper: constructor {constructor} has no counterpart")
    if rules:
        section["paramwise"] = _paramwise(rules, notes, backbone=str(_part(config, "model", "backbone").get("type")))
    return section


def _part(config: Mapping[str, Any], *path: str) -> Mapping[str, Any]:
    """Return a part of the configuration; an empty one where it is none."""
    for key in path:
        value = config.get(key)
        config = value if isinstance(value, Mapping) else {}
    return config


def _layer_decay(rules: Mapping[str, Any], notes: list[str], *, old: bool) -> dict[str, Any]:
    keys = Keys(rules, place="paramwise_cfg", notes=notes)
    kind = keys.take("decay_type", "layer_wise")
    rate = keys.take("decay_rate", keys.take("layer_decay_rate"))
    decay = {"kind": "layer_wise_vit" if old else kind, "num_layers": keys.take("num_layers"), "rate": float(rate)}
    keys.done()
    return {"layer_decay": decay}


def _loop(config: Mapping[str, Any], wrapper: Keys, notes: list[str]) -> dict[str, Any]:
    place = "train_cfg" if config.get("train_cfg") else "runner"
    keys = Keys(config.get(place), place=place, notes=notes)
    keys.ignore("type", "by_epoch")
    section: dict[str, Any] = {}
    iterations, epochs, every = keys.take("max_iters"), keys.take("max_epochs"), keys.take("val_interval")
    if iterations:
        section["iterations"] = int(iterations)
        section |= {"val_every": int(every)} if every else {}
    elif epochs:
        section["epochs"] = float(epochs)
        if every not in (None, 1):
            keys.tell("val_interval", every, "is in epochs: see train.val_every")
    keys.expect("val_begin", 0, 1)
    keys.done()
    kind, precision = wrapper.type("OptimWrapper"), wrapper.take("dtype")
    if precision not in (None, "float16", "bfloat16"):
        wrapper.tell("dtype", precision)
    scale = wrapper.take("loss_scale")
    if kind == "AmpOptimWrapper" or (config.get("fp16") and "optim_wrapper" not in config):
        section["precision"] = "bf16" if precision == "bfloat16" else "fp16"
        if scale not in (None, "dynamic"):
            wrapper.tell("loss_scale", scale, "has no counterpart: it is chosen as training goes")
    elif kind != "OptimWrapper":
        notes.append(f"optim_wrapper {kind} has no counterpart")
    accumulated = wrapper.take("accumulative_counts", 1)
    if accumulated > 1:
        section["accumulate"] = int(accumulated)
    return section | _randomness(config, notes)


def _randomness(config: Mapping[str, Any], notes: list[str]) -> dict[str, Any]:
    keys = Keys(config.get("randomness"), place="randomness", notes=notes)
    seed = keys.take("seed", config.get("seed"))
    keys.ignore("deterministic")
    keys.expect("diff_rank_seed", False)
    keys.done()
    scaling = Keys(config.get("auto_scale_lr"), place="auto_scale_lr", notes=notes)
    scaling.ignore("base_batch_size")
    scaling.expect("enable", False)
    scaling.done()
    if config.get("load_from"):
        notes.append(f"load_from {config['load_from']} has no counterpart: see model.weights")
    return {} if seed is None else {"seed": int(seed)}


def _hooks(config: Mapping[str, Any], notes: list[str]) -> dict[str, Any]:
    section: dict[str, Any] = {}
    for name, hook in (config.get("default_hooks") or {}).items():
        if hook is None:
            continue
        keys = Keys(hook, place=f"default_hooks.{name}", notes=notes)
        kind = keys.type()
        match name:
            case "checkpoint" if kind == "CheckpointHook":
                best = keys.take("save_best")
                section |= {"best_metric": best} if best not in (None, "auto") else {}
                keys.ignore("interval", "by_epoch", "max_keep_ckpts", "save_last", "save_optimizer", "published_keys")
                keys.ignore("save_param_scheduler", "out_dir", "save_begin", "filename_tmpl")
                keys.expect("rule", None, "greater")
            case "logger" if kind == "LoggerHook":
                every = keys.take("interval")
                section |= {} if every is None else {"log_every": int(every)}
                keys.ignore("log_metric_by_epoch", "ignore_last", "interval_exp_name", "out_dir", "out_suffix")
            case _ if _HOOKS.get(name) == kind:
                keys.ignore(*hook)
            case _:
                notes.append(f"hook {kind} has no counterpart")
                continue
        keys.done()
    for hook in config.get("custom_hooks") or []:
        section |= _custom_hook(hook, notes)
    return section


def _custom_hook(hook: Mapping[str, Any], notes: list[str]) -> dict[str, Any]:
    keys = Keys(hook, place=f"hook {hook.get('type')}", notes=notes)
    kind = keys.type()
    keys.ignore("priority")
    section: dict[str, Any] = {}
    match kind:
        case "EMAHook" if keys.take("ema_type", _EMA) == _EMA:
            section |= {"ema_decay": 1 - float(keys.take("momentum", 0.0002)), "ema_ramp": False}
            for key, neutral in _EMA_KEYS.items():
                keys.expect(key, neutral)
        case "EarlyStoppingHook":
            section["early_stop"] = int(keys.take("patience", 5))
            section["best_metric"] = keys.take("monitor")
            keys.expect("rule", None, "greater")
            keys.expect("min_delta", 0, 0.0)
            keys.ignore("strict")
        case _:
            notes.append(f"hook {hook.get('type')} has no counterpart")
            return {}
    keys.done()
    return section


def _as_steps(sections: Sections, notes: list[str]) -> None:
    """Count optimizer steps where MMEngine counts batches, of which several make a step."""
    batches = sections["train"].get("accumulate", 1)
    if batches == 1:
        return
    train, schedule = sections["train"], sections["schedule"]
    places = [(train, key) for key in _COUNTED if key in train]
    if schedule.get("unit") != "epochs":
        places += [(schedule, key) for key in _COUNTED if key in schedule]
        if "milestones" in schedule:
            schedule["milestones"] = [math.ceil(place / batches) for place in schedule["milestones"]]
    if "ema_decay" in train:  # there it follows each batch
        train["ema_decay"] **= batches
    for section, key in places:
        section[key] = math.ceil(section[key] / batches)
    if places:
        notes.append(f"accumulative_counts {batches}: iterations here are steps, each of {batches} batches")


def _evaluation(config: Mapping[str, Any], notes: list[str]) -> None:
    """Name what the validation does that has no counterpart."""
    evaluators = config.get("val_evaluator") or []
    for evaluator in [evaluators] if isinstance(evaluators, Mapping) else evaluators:
        keys = Keys(evaluator, place="val_evaluator", notes=notes)
        if keys.type() != "IoUMetric":
            notes.append(f"val_evaluator {evaluator.get('type')} has no counterpart")
            continue
        keys.ignore("iou_metrics")  # all of them, always
        keys.expect("ignore_index", 255)
        keys.done()


def test_scale(config: Mapping[str, Any], notes: list[str]) -> dict[str, Any]:
    """Return the key of the section model that the validation's pipeline states; none where it scales nothing.

    Its other resizing, and the scale of another test set, are notes.

    Args:
        config: The whole configuration, 0.x or 1.x.
        notes: Gets a sentence on each part without a counterpart.
    """
    scales: list[list[int] | None] = []
    for name in ("val", "test"):
        old = _part(config, "data", name)
        told = notes if name == "val" else []
        steps = (_part(config, f"{name}_dataloader", "dataset") or old).get("pipeline") or []
        read = [scale for step in steps if (scale := _step_scale(step, told)) is not None]
        scales.append(read[0] if read else None)
    if None not in scales and scales[1] != scales[0]:
        notes.append(f"test_dataloader: another scale, {scales[1]}, has no counterpart: model.test_scale is of val")
    return {} if scales[0] is None else {"test_scale": scales[0]}


def _step_scale(step: Mapping[str, Any], notes: list[str]) -> list[int] | None:
    """Return the scale, height first, of a step of a test pipeline; None where it has none."""
    keys = Keys(step, place="test_pipeline", notes=notes)
    kind = keys.type()
    if kind == "MultiScaleFlipAug":  # 0.x: its Resize takes this scale
        inner = [part for part in step.get("transforms") or [] if part.get("type") == "Resize"]
        scale, keep_ratio = keys.take("img_scale"), bool(inner) and inner[0].get("keep_ratio", True)
        keys.expect("flip", False)
        keys.ignore("transforms", "flip_direction")
        keys.expect("img_ratios", None, [1.0])
    elif kind == "Resize":
        scale, keep_ratio = keys.take("scale", keys.take("img_scale")), keys.take("keep_ratio", False)
    else:
        if "Resize" in kind:
            notes.append(f"test_pipeline: {kind} has no counterpart")
        return None
    keys.done()
    if scale is None:
        return None
    if not keep_ratio:
        keys.tell("keep_ratio", False, f"of scale {shown(scale)} has no counterpart")
        return None
    if not isinstance(scale, Sequence) or len(scale) != 2 or not all(isinstance(side, int) for side in scale):
        keys.tell("scale", scale)
        return None
    return [int(side) for side in reversed(scale)]


def _inference(test: Mapping[str, Any], notes: list[str]) -> dict[str, Any]:
    keys = Keys(test, place="model.test_cfg", notes=notes)
    mode = keys.take("mode")
    size, stride = keys.take("crop_size"), keys.take("stride")
    keys.ignore("subdivision_steps", "subdivision_num_points", "scale_factor", "batched_slide")  # read with the head
    keys.done()
    if mode != "slide":
        return {"inference": "whole"} if mode == "whole" else {}
    return {"inference": "slide", "window": list(size), "stride": list(stride)}


def _paramwise(rules: Mapping[str, Any], notes: list[str], *, backbone: str) -> dict[str, Any]:
    keys = Keys(rules, place="paramwise_cfg", notes=notes)
    section: dict[str, Any] = {"strict": False}  # MMSegmentation takes rules that match nothing
    custom = keys.take("custom_keys")
    if custom is not None:
        section["custom_keys"] = []
        for text, part in custom.items():
            own = Keys(part, place=f"paramwise_cfg.custom_keys.{text}", notes=notes)
            factors = {name: float(own.take(name, 1)) for name in ("lr_mult", "decay_mult")}
            theirs, ours = _RENAMED.get(backbone.rsplit(".", maxsplit=1)[-1], ("", ""))
            key = ours + text.removeprefix(theirs) if theirs and text.startswith(theirs) else text
            section["custom_keys"].append({"key": key, **factors})
            own.done()
    for rule in _RULES:
        value = keys.take(rule)
        if value is not None:
            section[rule] = float(value)
    keys.done()
    return section


def _optimizer(value: Mapping[str, Any], notes: list[str]) -> dict[str, Any]:
    keys = Keys(value, place=f"optimizer {value.get('type')}", notes=notes)
    name = _OPTIMIZERS.get(keys.type())
    if name is None:
        notes.append(f"optimizer {value.get('type')} has no counterpart")
        return {}
    knobs = {ours: keys.take(theirs) for theirs, ours in _KNOBS.items()}
    if name == "adadelta":
        knobs["alpha"] = keys.take("rho")
    keys.ignore("paramwise_cfg", "constructor", "foreach", "fused")
    keys.done()
    return {"name": name, **{ours: _plain(given) for ours, given in knobs.items() if given is not None}}


def _plain(value: Any) -> Any:
    if isinstance(value, Sequence):
        return [float(x) for x in value]
    return value if isinstance(value, bool) else float(value)
