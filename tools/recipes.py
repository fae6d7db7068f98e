"""The recipes: MMSegmentation's published params, written as overlays from the tables below; and ours.

``python -m tools.recipes`` writes recipes/; a test fails while one of them is stale. Params and results are those of
MMSegmentation 1.2.2's configurations and metafiles (Apache-2.0), or stand in ``tools.recipe_measured``. A recipe says
what differs from the defaults, and of the section machine always the same keys: the use of another recipe leaves none.
"""

import copy
import io
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ruamel.yaml.comments import CommentedMap, CommentedSeq

from maskline.core.files import write_text
from maskline.params.whole import validate_params
from maskline.projects import naming
from maskline.projects.yaml_lines import writer
from tools.recipe_few_labels import FEW_LABELS
from tools.recipe_measured import MEASURED
from tools.recipe_models import NETWORKS, Network

ROOT = Path(__file__).resolve().parent.parent
_WIDTH = 118
HEADER = "# yaml-language-server: $schema=../params.schema.json\n"

_Results = tuple[tuple[str, float, float | None], ...]

_SGD = {"name": "sgd", "lr": 0.01, "momentum": 0.9, "weight_decay": 0.0005}
_DICE = {"name": "dice_mmseg", "weight": 3.0}
_POLY = {"name": "poly", "power": 0.9, "end_lr": 0.0001, "warmup_length": 0}
_SEGFORMER_RULES = [
    {"key": "norm", "lr_mult": 1.0, "decay_mult": 0.0},
    {"key": "head", "lr_mult": 10.0, "decay_mult": 1.0},
]

# Data set -> side of crop and window, and the window's step, px.
_RETINA = {"drive": (64, 42), "stare": (128, 85), "chase_db1": (128, 85), "hrf": (256, 170)}
# Network, then mIoU and mIoU with scales and flips, in percent.
_CITYSCAPES: _Results = (
    ("fcn_r18-d8", 71.11, 72.91),
    ("fcn_r50-d8", 73.61, 74.24),
    ("fcn_r101-d8", 75.13, 75.94),
    ("pspnet_r18-d8", 74.87, 76.04),
    ("pspnet_r50-d8", 78.55, 79.79),
    ("pspnet_r101-d8", 79.76, 81.01),
    ("deeplabv3_r18-d8", 76.70, 78.27),
    ("deeplabv3_r50-d8", 79.32, 80.57),
    ("deeplabv3_r101-d8", 80.20, 81.21),
    ("deeplabv3plus_r18-d8", 76.89, 78.76),
    ("deeplabv3plus_r50-d8", 80.09, 81.13),
    ("deeplabv3plus_r101-d8", 80.97, 82.03),
    ("upernet_r50", 78.19, 79.19),
    ("upernet_r101", 79.40, 80.46),
    ("fpn_r50", 74.52, 76.08),
    ("fpn_r101", 75.80, 77.40),
    ("pointrend_r50", 76.47, 78.13),
    ("pointrend_r101", 78.30, 79.97),
    ("ocrnet_hr18s", 77.16, 78.66),
    ("ocrnet_hr18", 78.57, 80.46),
    ("ocrnet_hr48", 80.70, 81.87),
)
_ADE20K: _Results = (
    ("fcn_r50-d8", 36.10, 38.08),
    ("fcn_r101-d8", 39.91, 41.40),
    ("pspnet_r50-d8", 42.48, 43.44),
    ("pspnet_r101-d8", 44.39, 45.35),
    ("deeplabv3_r50-d8", 42.66, 44.09),
    ("deeplabv3_r101-d8", 45.00, 46.66),
    ("deeplabv3plus_r50-d8", 43.95, 44.93),
    ("deeplabv3plus_r101-d8", 45.47, 46.35),
    ("upernet_r50", 42.05, 42.78),
    ("upernet_r101", 43.82, 44.85),
    ("fpn_r50", 37.49, 39.09),
    ("fpn_r101", 39.35, 40.72),
    ("pointrend_r50", 37.64, 39.17),
    ("pointrend_r101", 40.02, 41.60),
)
# By thousands of iterations; the metafile calls those of 160,000 by the shorter run's name in two places.
_OCRNET_ADE20K: dict[int, _Results] = {
    80: (("ocrnet_hr18s", 35.06, 35.80), ("ocrnet_hr18", 37.79, 39.16), ("ocrnet_hr48", 43.00, 44.30)),
    160: (("ocrnet_hr18s", 37.19, 38.40), ("ocrnet_hr18", 39.32, 40.80), ("ocrnet_hr48", 43.25, 44.88)),
}
_SEGFORMER = (  # Cityscapes, then ADE20K; each also with scales and flips
    ("b0", 76.54, 78.22, 37.41, 38.34),
    ("b1", 78.56, 79.73, 40.97, 42.54),
    ("b2", 81.08, 82.18, 45.58, 47.03),
    ("b3", 81.94, 83.14, 47.82, 48.81),
    ("b4", 81.89, 83.38, 48.46, 49.76),
    ("b5", 82.25, 83.48, 49.13, 50.22),
)
# Data set -> head -> vessel Dice and mDice, with cross-entropy alone and with three times Dice added.
_VESSELS = {
    "drive": {
        "fcn": ((78.67, 88.38), (79.32, 88.71)),
        "pspnet": ((78.62, 88.35), (79.42, 88.76)),
        "deeplabv3": ((78.69, 88.38), (79.56, 88.84)),
    },
    "stare": {
        "fcn": ((81.02, 89.78), (82.70, 90.65)),
        "pspnet": ((81.22, 89.89), (82.84, 90.72)),
        "deeplabv3": ((80.93, 89.73), (82.71, 90.65)),
    },
    "chase_db1": {
        "fcn": ((80.24, 89.46), (80.40, 89.52)),
        "pspnet": ((80.36, 89.52), (80.28, 89.45)),
        "deeplabv3": ((80.47, 89.57), (80.37, 89.49)),
    },
    "hrf": {
        "fcn": ((79.45, 88.92), (80.87, 89.64)),
        "pspnet": ((80.07, 89.24), (80.96, 89.69)),
        "deeplabv3": ((80.21, 89.32), (80.71, 89.56)),
    },
}


def recipes() -> dict[str, str]:
    """Return file name -> text of every recipe."""
    return {f"{name}.yaml": text for name, text in sorted([*_published(), *_measured(), *_few_labels()])}


def _published() -> Iterator[tuple[str, str]]:
    for comment, values in _all():
        yield _file(naming.name(validate_params(values, place=comment)), _comment(comment), values)


def _measured() -> Iterator[tuple[str, str]]:
    for name, recipe in MEASURED.items():
        about = textwrap.fill(recipe.about, width=118, initial_indent="# ", subsequent_indent="# ")
        yield _file(name, f"{about}\n# Measured: docs/results.md\n", recipe.changes)


def _few_labels() -> Iterator[tuple[str, str]]:
    for name, (about, changes) in FEW_LABELS.items():
        told = textwrap.fill(about, width=118, initial_indent="# ", subsequent_indent="# ")
        yield _file(name, f"{told}\n# Not measured here.\n", changes)


def _file(name: str, comment: str, values: dict[str, Any]) -> tuple[str, str]:
    machine = {"cache": "auto", "journal_every": 100} | values.get("machine", {})
    return name, f"{HEADER}# {name}\n{comment}{_dump({**overlay(values, place=name), 'machine': machine})}"


def _all() -> Iterator[tuple[str, dict[str, Any]]]:
    for name, single, flipped in _CITYSCAPES:
        yield (
            _result(single, flipped),
            _task("cityscapes", NETWORKS[name], crop=(512, 1024), batch=8, iterations=80_000),
        )
    yield (
        _result(80.09, None),
        _task("cityscapes", NETWORKS["ocrnet_r101-d8"], crop=(512, 1024), batch=8, iterations=40_000),
    )
    for thousands, results in ((160, _ADE20K), *_OCRNET_ADE20K.items()):
        for name, single, flipped in results:
            task = _task("ade20k", NETWORKS[name], crop=(512, 512), batch=16, iterations=1000 * thousands)
            yield _result(single, flipped), task
    for size, city, flipped, ade, ade_flipped in _SEGFORMER:
        network = NETWORKS[f"segformer_mit-{size}"]
        task = _task("cityscapes", network, crop=(1024, 1024), batch=8, iterations=160_000, slide=(1024, 768))
        yield _result(city, flipped), task | _segformer_training()
        task = _task("ade20k", network, crop=(512, 512), batch=16, iterations=160_000)
        yield _result(ade, ade_flipped), task | _segformer_training()
    yield from _retina()


def _retina() -> Iterator[tuple[str, dict[str, Any]]]:
    for data, (crop, stride) in _RETINA.items():
        for head, pairs in _VESSELS[data].items():
            for with_dice, (vessel, mean) in zip((False, True), pairs, strict=True):
                network = copy.deepcopy(NETWORKS[f"unet-s5-d16_{head}"])
                if with_dice:
                    network["decode_head"]["losses"].append(dict(_DICE))
                task = _task(data, network, crop=(crop, crop), batch=16, iterations=40_000, slide=(crop, stride))
                task["train"]["best_metric"] = "mDice"
                yield f"Published: vessel Dice {vessel}, mDice {mean}", task


def _task(
    data: str,
    network: Network,
    *,
    crop: tuple[int, int],
    batch: int,
    iterations: int,
    slide: tuple[int, int] | None = None,
) -> dict[str, Any]:
    window, stride = slide or (crop[0], crop[0])
    evaluate = {
        "split": "auto" if data in _RETINA else "val",
        "inference": "slide" if slide else "whole",
        "window": [window, window],
        "stride": [stride, stride],
    }
    warmup = {"warmup": "linear", "warmup_length": 200, "warmup_factor": 0.1} if _refines_points(network) else {}
    return {
        "data": {"name": data},
        "augment": {
            "cat_max_ratio": 0.75,
            "flip_vertical": 0.0,
            "rotate_degrees": 0,
            "ratio_range": [0.5, 2.0],
            "crop_size": list(crop),
            # OpenCV's hue has 180 steps: MMSegmentation's 18 of them are 36 degrees.
            "photometric": {
                "brightness": 32,
                "hue_degrees": 36,
                "contrast": [0.5, 1.5],
                "saturation": [0.5, 1.5],
            },
        },
        "model": network,
        "optimizer": dict(_SGD),
        "schedule": {**_POLY, **warmup},
        "train": {
            "iterations": iterations,
            "batch_size": batch,
            "val_every": iterations // 10,
            "best_metric": "mIoU",
        },
        "evaluate": evaluate,
        "machine": {"cache": "stream", "journal_every": 1000},
    }


def _segformer_training() -> dict[str, Any]:
    return {
        "optimizer": {
            "name": "adamw",
            "lr": 0.00006,
            "weight_decay": 0.01,
            "paramwise": {"custom_keys": copy.deepcopy(_SEGFORMER_RULES)},
        },
        "schedule": {
            "name": "poly",
            "power": 1.0,
            "end_lr": 0.0,
            "warmup": "linear",
            "warmup_length": 1500,
            "warmup_factor": 0.000001,
        },
    }


def _refines_points(network: Network) -> bool:
    return bool(network["decode_head"]["name"] == "point")


def _result(single: float, flipped: float | None) -> str:
    more = "" if flipped is None else f", with scales and flips {flipped:.2f}"
    return f"Published: mIoU {single:.2f}{more}, from ImageNet weights (import-weights, then model.weights)"


def _comment(text: str) -> str:
    return (
        f"# {text}.\n# Source: MMSegmentation 1.2.2, its metafiles; one run on several GPUs. Not yet repeated here.\n"
    )


def overlay(values: dict[str, Any], *, place: str) -> dict[str, Any]:
    """Return what of sections differs from the defaults, a variant's name besides.

    Raises:
        ParamsError: A value is wrong.
    """
    whole = validate_params(values, place=place)
    overlay: dict[str, Any] = _said(values, whole.model_dump(mode="json", exclude_defaults=True))
    assert validate_params(overlay, place=place) == whole
    return overlay


def _said(values: Any, differing: Any) -> Any:
    """Return the values of ``differing`` in the order and with the numbers that the tables have them in."""
    match differing:
        case dict():
            return {key: _said(value, differing[key]) for key, value in values.items() if key in differing}
        case list():
            return [_said(*pair) for pair in zip(values, differing, strict=True)]
        case _:
            return values


def _dump(values: dict[str, Any]) -> str:
    """Return sections of keys; what fits on one line stands there, in braces and brackets."""
    yaml = writer()
    yaml.width = 2 * _WIDTH  # never reached: what is longer stands in lines
    yaml.brace_single_entry_mapping_in_flow_sequence = True
    stream = io.StringIO()
    yaml.dump({name: _in_lines(keys, _WIDTH - 2) for name, keys in values.items()}, stream)
    return stream.getvalue()


def _in_lines(value: Any, room: int) -> Any:
    if isinstance(value, dict):
        return CommentedMap({key: _laid_out(part, room, f"{key}: ") for key, part in value.items()})
    return CommentedSeq([_laid_out(part, room, "- ") for part in value])


def _laid_out(value: Any, room: int, before: str) -> Any:
    if not isinstance(value, (dict, list)):
        return value
    parts = _in_lines(value, room - 2)
    if len(before) + len(str(value).replace("'", "")) <= room:
        parts.fa.set_flow_style()
    return parts


def main() -> None:
    """Write every recipe."""
    for name, text in recipes().items():
        write_text(ROOT / "recipes" / name, text)


if __name__ == "__main__":
    main()
