"""MMSegmentation's losses as this project's. See ``maskline.weights.mmseg.model``."""

from collections.abc import Mapping
from typing import Any


def plain_cross_entropy(weight: float) -> dict[str, Any]:
    """Return a cross-entropy without further knobs."""
    return {"name": "cross_entropy", "weight": weight, "class_weights": None, "label_smoothing": 0.0}


# Keys that are read, or that change nothing at the values given here.
_READ = {
    "CrossEntropyLoss": ("use_sigmoid", "class_weight", "avg_non_ignore", "reduction"),
    "OhemCrossEntropy": ("class_weight", "thres", "min_kept"),
    "DiceLoss": ("use_sigmoid", "activate", "naive_dice", "eps"),
    "LovaszLoss": ("class_weight", "classes", "per_image", "reduction"),
    "TverskyLoss": ("class_weight", "alpha", "beta", "smooth"),
    "FocalLoss": ("class_weight", "gamma", "alpha", "reduction"),
}
_OF_ALL = ("type", "loss_name", "loss_weight")
_NEUTRAL: dict[str, tuple[Any, ...]] = {
    "reduction": ("mean",),
    "use_mask": (False,),
    "loss_type": ("multi_class",),
    "ignore_index": (255,),
    "ignore_label": (255,),
    "avg_non_ignore": (False, True),
    "use_sigmoid": (True,),
}
# Of a value a pixel, or image, MMEngine takes the mean.
_REDUCTIONS = {"mean": "mean", "none": "mean", "sum": "sum"}


def unread(loss: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keys of an entry of ``loss_decode`` that have an effect there and none here."""
    neutral = _NEUTRAL
    if loss.get("type") == "DiceLoss":  # it is a class that is left out there
        neutral = {**_NEUTRAL, "ignore_index": (255, None)}
    known = (*_OF_ALL, *_READ.get(str(loss.get("type")), ()))
    return {key: value for key, value in loss.items() if key not in known and value not in neutral.get(key, ())}


def loss_params(
    loss: Mapping[str, Any], *, binary: bool = False, sampler: Mapping[str, Any] | None = None
) -> dict[str, Any] | None:
    """Return one loss's section; None: it has no counterpart.

    Args:
        loss: An entry of ``loss_decode``.
        binary: The head has one channel, which becomes the second of two beside a constant 0: a cross-entropy of
            that logit's sigmoid is then one of both channels' softmax.
        sampler: An ``OHEMPixelSampler``, which lets the hard pixels alone count; None: all count.
    """
    weight, weights = float(loss.get("loss_weight", 1.0)), loss.get("class_weight")
    if isinstance(weights, str):  # a file
        return None
    common = {"weight": weight, "class_weights": None if weights is None else [float(x) for x in weights]}
    kind = loss.get("type")
    if kind == "CrossEntropyLoss":
        if sampler is None:
            return _cross_entropy(loss, common, binary=binary)
        return None if loss.get("use_sigmoid") or binary else _hard_pixels(loss, common, sampler)
    if sampler is not None or binary:  # one channel's; over two they are something else
        return None
    match kind:
        case "OhemCrossEntropy":
            hard = {"threshold": float(loss.get("thres", 0.7)), "min_kept": int(loss.get("min_kept", 100_000))}
            return {"name": "ohem_batch", **common, **hard}
        case "DiceLoss" if loss.get("activate", True):
            return _dice(loss, weight)
        case "LovaszLoss" if loss.get("loss_type", "multi_class") == "multi_class":
            return _lovasz(loss, common)
        case "TverskyLoss":
            alpha, beta, smooth = (
                float(loss.get(key, usual)) for key, usual in (("alpha", 0.3), ("beta", 0.7), ("smooth", 1.0))
            )
            return {"name": "tversky_mmseg", **common, "alpha": alpha, "beta": beta, "smooth": smooth}
        case "FocalLoss":
            return _focal(loss, common)
        case _:
            return None


def _dice(loss: Mapping[str, Any], weight: float) -> dict[str, Any]:
    return {
        "name": "dice_mmseg",
        "weight": weight,
        "activation": "sigmoid" if loss.get("use_sigmoid", True) else "softmax",
        "naive": bool(loss.get("naive_dice", False)),
        "eps": float(loss.get("eps", 1e-3)),
        "count_ignored": True,
    }


def _focal(loss: Mapping[str, Any], common: dict[str, Any]) -> dict[str, Any]:
    gamma, alpha = float(loss.get("gamma", 2.0)), loss.get("alpha", 0.5)
    balance = [float(x) for x in alpha] if isinstance(alpha, list | tuple) else float(alpha)
    return {"name": "focal_mmseg", **common, "gamma": gamma, "alpha": balance, "reduction": _reduction(loss)}


def _reduction(loss: Mapping[str, Any]) -> str:
    return _REDUCTIONS[loss.get("reduction") or "mean"]


def _lovasz(loss: Mapping[str, Any], common: dict[str, Any]) -> dict[str, Any]:
    classes = loss.get("classes", "present")
    return {
        "name": "lovasz_mmseg",
        **common,
        "classes": classes if isinstance(classes, str) else [int(x) for x in classes],
        "per_image": bool(loss.get("per_image", False)),
        "reduction": _reduction(loss),
    }


def _hard_pixels(loss: Mapping[str, Any], common: dict[str, Any], sampler: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return a ``CrossEntropyLoss`` of the pixels that an ``OHEMPixelSampler`` chooses."""
    if loss.get("reduction", "mean") != "mean":
        return None
    threshold = sampler.get("thresh")
    return {
        "name": "ohem_mmseg",
        **common,
        "threshold": None if threshold is None else float(threshold),
        "min_kept": int(sampler.get("min_kept", 100_000)),
        "count_ignored": not loss.get("avg_non_ignore", False),
    }


def _cross_entropy(loss: Mapping[str, Any], common: dict[str, Any], *, binary: bool) -> dict[str, Any] | None:
    """Return a ``CrossEntropyLoss``; arguments as of ``loss_params``, and what losses have in common."""
    sigmoid, weights = bool(loss.get("use_sigmoid")), common["class_weights"]
    by_pixel = loss.get("reduction", "mean") != "mean"  # then there is nothing to divide by
    over_valid = bool(loss.get("avg_non_ignore")) and not by_pixel
    if binary and sigmoid:
        if weights is not None:
            if over_valid or len(weights) != 1:
                return None
            common = {**common, "class_weights": [1.0, weights[0]]}  # the factor of class 1
        sigmoid, weights = False, None
    elif binary or (sigmoid and weights is not None):
        return None
    if over_valid and sigmoid:
        return {"name": "focal", **common, "gamma": 0.0, "alpha": None, "activation": "sigmoid"}  # each by itself
    if over_valid or (weights is not None and not by_pixel):  # a mean over what counts
        return {"name": "cross_entropy", **common, "label_smoothing": 0.0}
    activation = "sigmoid" if sigmoid else "softmax"
    return {"name": "cross_entropy_mmseg", **common, "activation": activation, "reduction": _reduction(loss)}
