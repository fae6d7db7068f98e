"""MMSegmentation's losses as this project's. See ``maskline.weights.mmseg.model``."""

from collections.abc import Mapping
from typing import Any


def plain_cross_entropy(weight: float) -> dict[str, Any]:
    """Return a cross-entropy without further knobs."""
    return {"name": "cross_entropy", "weight": weight, "class_weights": None, "label_smoothing": 0.0}


# Keys that are read, or that change nothing at the values given here.
_READ = {
    "CrossEntropyLoss": ("use_sigmoid", "class_weight"),
    "OhemCrossEntropy": ("class_weight", "thres", "min_kept"),
    "DiceLoss": ("use_sigmoid", "activate", "naive_dice", "eps"),
    "LovaszLoss": ("class_weight",),
    "TverskyLoss": ("class_weight", "alpha", "beta", "smooth"),
    "FocalLoss": ("class_weight", "gamma", "alpha"),
}
_OF_ALL = ("type", "loss_name", "loss_weight", "avg_non_ignore")  # an ignored pixel never counts here
_NEUTRAL: dict[str, tuple[Any, ...]] = {
    "reduction": ("mean",),
    "use_mask": (False,),
    "per_image": (False,),
    "classes": ("present",),
    "loss_type": ("multi_class",),
    "ignore_index": (255,),
    "ignore_label": (255,),
}


def unread(loss: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keys of an entry of ``loss_decode`` that have an effect there and none here."""
    kind = str(loss.get("type"))
    neutral = {**_NEUTRAL, "use_sigmoid": (True,)}
    if kind == "LovaszLoss":  # not image by image, MMSegmentation's can only do without a reduction
        neutral["reduction"] = ("mean", "none")
    known = (*_OF_ALL, *_READ.get(kind, ()))
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
    match loss.get("type"):
        case "CrossEntropyLoss":
            return _cross_entropy(loss, common, binary=binary, sampler=sampler)
        case _ if sampler is not None:
            return None
        case "OhemCrossEntropy" if not binary:
            hard = {"threshold": float(loss.get("thres", 0.7)), "min_kept": int(loss.get("min_kept", 100_000))}
            return {"name": "ohem_batch", **common, **hard}
        case _ if binary:  # one channel's; over two they are something else
            return None
        case "DiceLoss" if loss.get("activate", True):
            return {
                "name": "dice_mmseg",
                "weight": weight,
                "activation": "sigmoid" if loss.get("use_sigmoid", True) else "softmax",
                "naive": bool(loss.get("naive_dice", False)),
                "eps": float(loss.get("eps", 1e-3)),
            }
        case "LovaszLoss":
            return {"name": "lovasz", **common}
        case "TverskyLoss":
            alpha, beta, smooth = (
                float(loss.get(key, usual)) for key, usual in (("alpha", 0.3), ("beta", 0.7), ("smooth", 1.0))
            )
            return {"name": "tversky", **common, "alpha": alpha, "beta": beta, "smooth": smooth}
        case "FocalLoss" if not isinstance(loss.get("alpha", 0.5), list):
            gamma, alpha = float(loss.get("gamma", 2.0)), float(loss.get("alpha", 0.5))
            return {"name": "focal", **common, "gamma": gamma, "alpha": alpha, "activation": "sigmoid"}
        case _:
            return None


def _cross_entropy(
    loss: Mapping[str, Any], common: dict[str, Any], *, binary: bool, sampler: Mapping[str, Any] | None
) -> dict[str, Any] | None:
    """Return a ``CrossEntropyLoss``; arguments as of ``loss_params``, and what losses have in common."""
    sigmoid = bool(loss.get("use_sigmoid"))
    if sampler is not None:
        hard = {"threshold": float(sampler.get("thresh") or 0), "min_kept": int(sampler.get("min_kept", 100_000))}
        return None if sigmoid or binary else {"name": "ohem", **common, **hard}
    if sigmoid == binary:
        return {"name": "cross_entropy", **common, "label_smoothing": 0.0}
    if binary or common["class_weights"] is not None:
        return None
    return {"name": "focal", **common, "gamma": 0.0, "alpha": None, "activation": "sigmoid"}  # each class by itself
