"""The train loader of an MMSegmentation configuration: batch, workers and augmentation, as this project's keys."""

from collections.abc import Mapping, Sequence
from typing import Any

from maskline.weights.mmseg.keys import Keys

# Steps that change nothing at these values: crops are filled up, and heads make their own borders.
_FIXED = {"Pad": {"pad_val": 0, "seg_pad_val": 255}, "GenerateEdge": {"edge_width": 4, "ignore_index": 255}}
_LOADING = ("LoadImageFromFile", "LoadAnnotations", "PackSegInputs", "DefaultFormatBundle", "Collect", "Normalize")


def loader(config: Mapping[str, Any], notes: list[str]) -> dict[str, dict[str, Any]]:
    """Return sections with the keys that a ``train_dataloader`` (0.x: ``data``) states.

    Args:
        config: The whole configuration.
        notes: Gets a sentence on each key without a counterpart.
    """
    old = "train_dataloader" not in config
    keys = Keys(config.get("data" if old else "train_dataloader"), place="train_dataloader", notes=notes)
    names = ("samples_per_gpu", "workers_per_gpu") if old else ("batch_size", "num_workers")
    batch, workers = (keys.take(name) for name in names)
    sections: dict[str, dict[str, Any]] = {}
    if batch is not None:
        sections["train"] = {"batch_size": int(batch)}
        notes.append(f"train_dataloader: batch_size {batch} is that of one GPU; here it is that of all together")
    if workers is not None:
        sections["machine"] = {"workers": int(workers)}
    keys.ignore("persistent_workers", "pin_memory", "collate_fn", "drop_last", "prefetch_factor", "val", "test")
    sampler = keys.part("sampler", place="train_dataloader.sampler")
    sampler.expect("type", "InfiniteSampler", "DefaultSampler")
    sampler.expect("shuffle", True)
    sampler.ignore("round_up")
    sampler.done()
    data = keys.take("train" if old else "dataset")
    keys.done()
    if isinstance(data, Mapping):
        sections["augment"] = _augmentation(_inner(data, notes), notes)
    return sections


def _inner(data: Mapping[str, Any], notes: list[str]) -> Mapping[str, Any]:
    """Return the data set that wrappers hold, the first of several."""
    while isinstance(data.get("dataset"), Mapping) or data.get("datasets"):
        several = data.get("datasets")
        if several:
            notes.append(f"{data.get('type')} of {len(several)} data sets has no counterpart: prepare them as one")
        data = several[0] if several else data["dataset"]
    return data


def _augmentation(data: Mapping[str, Any], notes: list[str]) -> dict[str, Any]:
    """Return the section augment of a data set's pipeline."""
    notes.append(f"data set {data.get('type')} is no part of an import: see data.name")
    steps = data.get("pipeline") or []
    if not steps:
        return {}
    section: dict[str, Any] = {"scale": None, "keep_ratio": True, "ratio_range": [1.0, 1.0], "cat_max_ratio": 1.0}
    section |= {"flip_horizontal": 0.0, "flip_vertical": 0.0, "rotate_degrees": 0.0, "photometric": {"prob": 0.0}}
    for step in steps:
        keys = Keys(step, place="train_pipeline", notes=notes)
        name = keys.type()
        keys.place = f"train_pipeline {name}"
        match name:
            case "RandomResize" | "Resize" | "RandomChoiceResize":
                section |= _chosen_side(keys) if name == "RandomChoiceResize" else _resize(keys)
            case "RandomCrop":
                section["crop_size"] = _pair(keys.take("crop_size"))
                section["cat_max_ratio"] = float(keys.take("cat_max_ratio", 1.0))
                keys.expect("ignore_index", 255)
            case "RandomFlip":
                section |= _flip(keys)
            case "RandomRotate":
                section |= {"rotate_degrees": keys.take("degree"), "rotate_prob": float(keys.take("prob", 1.0))}
                _expect(keys, pad_val=0, seg_pad_val=255)
            case "PhotoMetricDistortion":
                section["photometric"] = _photometric(keys)
            case _ if name in _FIXED:
                keys.ignore("size")
                _expect(keys, **_FIXED[name])
            case _ if name in _LOADING:
                keys.ignore(*step)
            case _:
                notes.append(f"train_pipeline: {name} has no counterpart")
                continue
        keys.done()
    return section


def _expect(keys: Keys, **neutral: Any) -> None:
    for key, value in neutral.items():
        keys.expect(key, value)


def _resize(keys: Keys) -> dict[str, Any]:
    scale = keys.take("scale", keys.take("img_scale"))
    section: dict[str, Any] = {"keep_ratio": bool(keys.take("keep_ratio", False))}
    ratio = keys.take("ratio_range")
    section["ratio_range"] = [1.0, 1.0] if ratio is None else [float(x) for x in ratio]
    if isinstance(scale, Sequence) and len(scale) == 2 and all(isinstance(side, int) for side in scale):
        section["scale"] = [int(side) for side in reversed(scale)]
    elif scale is not None:
        keys.tell("scale", scale)
    keys.expect("resize_type", "Resize")
    return section


def _chosen_side(keys: Keys) -> dict[str, Any]:
    sides, kind, longest = keys.take("scales"), keys.take("resize_type", "Resize"), keys.take("max_size")
    if kind != "ResizeShortestEdge" or not all(isinstance(side, int) for side in sides):
        keys.tell("scales", sides)
        return {}
    return {"shorter_sides": list(sides), **({} if longest is None else {"longer_side": int(longest)})}


def _flip(keys: Keys) -> dict[str, Any]:
    prob, direction = keys.take("prob", keys.take("flip_ratio", 0.5)), keys.take("direction", "horizontal")
    if direction in ("horizontal", "vertical") and isinstance(prob, int | float):
        return {f"flip_{direction}": float(prob)}
    keys.tell("direction", direction)
    return {}


def _photometric(keys: Keys) -> dict[str, Any]:
    ranges = {name: keys.take(f"{name}_range", (0.5, 1.5)) for name in ("contrast", "saturation")}
    return {
        "mode": "mmseg",
        "prob": 0.5,
        "brightness": keys.take("brightness_delta", 32),
        **{name: [float(x) for x in low_high] for name, low_high in ranges.items()},
        "hue_degrees": 2 * keys.take("hue_delta", 18),  # OpenCV's hue counts two degrees as one
    }


def _pair(size: Any) -> list[int]:
    return [int(size)] * 2 if isinstance(size, int) else [int(side) for side in size]
