"""Learning rate schedules of an MMSegmentation configuration, as the section schedule.

A warm-up is what begins at 0; the decay begins where it ends. mmengine counts milestones and lengths from a
scheduler's own begin, maskline from the start of the run.
"""

from collections.abc import Callable, Mapping
from typing import Any

from maskline.weights.mmseg.keys import Keys

_WARMUPS = ("LinearLR", "ConstantLR")


def schedulers(value: Any, notes: list[str], *, whole: int | None) -> dict[str, Any]:
    """Return the section of a ``param_scheduler``.

    Args:
        value: One scheduler, or a list.
        notes: Gets a sentence on each part without a counterpart.
        whole: Iterations of the run; None: it is counted in epochs.
    """
    reader = _Reader(notes, whole)
    for part in [value] if isinstance(value, Mapping) else list(value):
        reader.read(part)
    return reader.section()


def kept_factor(value: Any) -> float:
    """Return the factor that a ``param_scheduler`` leaves on the learning rate for good.

    A warm-up of one step has no second one to end it, and what comes after goes on from the rate that it finds.
    """
    factor = 1.0
    for part in [value] if isinstance(value, Mapping) else list(value):
        if _warms_one_step(part):
            factor *= float(part.get("start_factor" if str(part["type"]).endswith("LinearLR") else "factor", 1 / 3))
    return factor


def _warms_one_step(part: Mapping[str, Any]) -> bool:
    name, converted = str(part.get("type")).split(".")[-1], part.get("convert_to_iter_based", False)
    return name in _WARMUPS and part.get("begin", 0) == 0 and part.get("end") == 1 and not converted


class _Reader:
    """Reads schedulers one after the other: a warm-up at most, then a decay."""

    def __init__(self, notes: list[str], whole: int | None) -> None:
        self._notes, self._whole = notes, whole
        self._units: set[bool] = set()
        self._warmup: dict[str, Any] = {}
        self._decay: dict[str, Any] = {}

    def section(self) -> dict[str, Any]:
        """Return what has been read."""
        if len(self._units) > 1:
            told = "iterations and epochs in one schedule have no counterpart; all count as epochs"
            self._notes.append(f"param_scheduler: {told}")
        if not self._units:
            return {}
        unit = {"unit": "epochs"} if True in self._units else {}
        return {"warmup_length": 0, **self._warmup, **self._decay, **unit}

    def read(self, part: Mapping[str, Any]) -> None:
        """Read one scheduler."""
        keys = Keys(part, place="param_scheduler", notes=self._notes)
        name = keys.type()
        keys.place = f"param_scheduler {name}"
        keys.ignore("last_step", "verbose")
        if name == "ConstantLR" and part.get("factor") == 1:
            return  # changes nothing
        begin, by_epoch = keys.take("begin", 0), bool(keys.take("by_epoch", True))
        if name in _WARMUPS:
            self._read_warmup(name, keys, begin, for_good=_warms_one_step(part))
        elif name in _DECAYS:
            self._read_decay(name, keys, begin, by_epoch=by_epoch)
        else:
            self._notes.append(f"scheduler {name} has no counterpart")
            return
        self._units.add(by_epoch)
        keys.done()

    def _read_warmup(self, name: str, keys: Keys, begin: int, *, for_good: bool) -> None:
        end = keys.take("end")
        factor = keys.take("start_factor" if name == "LinearLR" else "factor", 1 / 3)
        keys.expect("end_factor", 1, 1.0)
        keys.ignore("convert_to_iter_based")
        if begin != 0 or end is None or self._warmup or self._decay:
            keys.tell("begin", begin, "has no counterpart: there is one warm-up, it begins at 0, and comes first")
            return
        if for_good:
            keys.tell("end", end, "is one step, whose factor MMEngine never takes back: lr is times it")
            factor = 1.0
        shape = "linear" if name == "LinearLR" else "constant"
        self._warmup = {"warmup": shape, "warmup_length": int(end), "warmup_factor": float(factor)}

    def _read_decay(self, name: str, keys: Keys, begin: int, *, by_epoch: bool) -> None:
        end, converted = keys.take("end"), keys.take("convert_to_iter_based", False)
        decay = _DECAYS[name](keys, begin, end, self._whole)
        if self._decay:
            keys.tell("begin", begin, "has no counterpart: there is one decay")
            return
        if begin and not self._warmup:  # the full rate until then
            self._warmup = {"warmup": "constant", "warmup_length": int(begin), "warmup_factor": 1.0}
        warmed = self._warmup.get("warmup_length", 0)
        if begin != warmed:
            keys.tell("begin", begin, f"has no counterpart: the decay begins where the warm-up ends, at {warmed}")
        if by_epoch and not converted and name not in ("MultiStepLR", "StepLR"):
            keys.tell("by_epoch", True, "has no counterpart: the rate changes with each iteration")
        self._decay = decay


def _poly(keys: Keys, _begin: int, end: int | None, whole: int | None) -> dict[str, Any]:
    return {
        "name": "poly",
        "power": float(keys.take("power", 1)),
        **_end(keys),
        **({} if end is None or end == whole else {"length": int(end)}),
    }


def _cosine(keys: Keys, begin: int, end: int | None, whole: int | None) -> dict[str, Any]:
    period = keys.take("T_max")
    last = end if period is None else begin + period
    if end is not None and period is not None and end != last:
        keys.tell("end", end, f"has no counterpart: the rate falls until {last}, where T_max ends")
    return {"name": "cosine", **_end(keys), **({} if last is None or last == whole else {"length": int(last)})}


def _end(keys: Keys) -> dict[str, Any]:
    ratio = keys.take("eta_min_ratio")
    value = float(keys.take("eta_min", 0) or 0)
    return {"end_lr": value} if ratio is None else {"end_factor": float(ratio)}


def _multi_step(keys: Keys, begin: int, end: int | None, whole: int | None) -> dict[str, Any]:
    milestones = [int(begin + place) for place in keys.take("milestones")]
    _until_the_end(keys, end, whole)
    return {"name": "step", "milestones": milestones, "gamma": float(keys.take("gamma", 0.1))}


def _step(keys: Keys, _begin: int, end: int | None, whole: int | None) -> dict[str, Any]:
    _until_the_end(keys, end, whole)
    return {"name": "step", "step_every": int(keys.take("step_size")), "gamma": float(keys.take("gamma", 0.1))}


def _exponential(keys: Keys, _begin: int, end: int | None, whole: int | None) -> dict[str, Any]:
    length = {} if end is None or end == whole else {"length": int(end)}
    return {"name": "exponential", "gamma": float(keys.take("gamma")), **length}


def _until_the_end(keys: Keys, end: int | None, whole: int | None) -> None:
    if end is not None and whole is not None and end < whole:
        keys.tell("end", end, "has no counterpart: steps go on to the run's end")


_DECAYS: dict[str, Callable[[Keys, int, int | None, int | None], dict[str, Any]]] = {
    "PolyLR": _poly,
    "PolyLRRatio": _poly,
    "CosineAnnealingLR": _cosine,
    "MultiStepLR": _multi_step,
    "StepLR": _step,
    "ExponentialLR": _exponential,
}


def lr_config(value: Mapping[str, Any], notes: list[str]) -> dict[str, Any]:
    """Return the section of an ``lr_config`` of 0.x; ``notes`` as in ``schedulers``."""
    keys = Keys(value, place="lr_config", notes=notes)
    section: dict[str, Any] = {"warmup_length": 0}
    shape, length, factor = keys.take("warmup"), keys.take("warmup_iters", 0), keys.take("warmup_ratio", 0.1)
    shapes = {"linear": "linear", "constant": "constant", "exp": "exponential"}
    if shape in shapes:
        section |= {"warmup": shapes[shape], "warmup_length": int(length), "warmup_factor": float(factor)}
    elif shape is not None:
        keys.tell("warmup", shape)
    keys.expect("warmup_by_epoch", False)
    by_epoch = keys.take("by_epoch", True)
    policy, ratio, least = keys.take("policy"), keys.take("min_lr_ratio"), float(keys.take("min_lr") or 0)
    end = {"end_lr": least} if ratio is None else {"end_factor": float(ratio)}
    match str(policy).lower():
        case "poly":
            section |= {"name": "poly", "power": float(keys.take("power", 1)), **end}
        case "cosineannealing":
            section |= {"name": "cosine", **end}
        case "step":
            steps = keys.take("step")
            places = {"step_every": int(steps)} if isinstance(steps, int) else {"milestones": list(steps)}
            section |= {"name": "step", **places, "gamma": float(keys.take("gamma", 0.1))}
            section |= {"unit": "epochs"} if by_epoch else {}
        case "fixed":
            section |= {"name": "constant"}
        case other:
            notes.append(f"schedule {other} has no counterpart")
            return section if shape in shapes else {}
    keys.done()
    return section
