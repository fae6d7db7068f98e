"""The model card of the export folder: what the files are, what they were made from, what to know before use."""

import html
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from maskline.core.errors import DataError
from maskline.core.files import write_text
from maskline.data.labels import LabelSet
from maskline.data.reading_rule import ReadingRule
from maskline.export import example, package
from maskline.export.interface import INPUT
from maskline.export.package import Trained
from maskline.export.variants import MODEL_FILE, Variant
from maskline.metrics import scores_table

CARD_FILE = "README.md"
EXAMPLE_FILE = "example.py"


def write(
    folder: Path,
    trained: Trained,
    agreement: Mapping[str, Any],
    *,
    variants: tuple[Variant, ...],
    data_set: str,
    split: str = "test",
    images: int,
    scores: Mapping[str, Any],
) -> None:
    """Write the card and the example into the export folder; see ``card_text``."""
    about = card_text(
        trained, agreement, variants=variants, data_set=data_set, split=split, images=images, scores=scores
    )
    write_text(folder / CARD_FILE, about)
    write_text(folder / EXAMPLE_FILE, example_text())


def example_text() -> str:
    """Return the program that is written beside the model."""
    return Path(example.__file__).read_text(encoding="utf-8")


# Of sets whose licence is known for certain; the module of each layout says what its makers state.
_LICENCES = {
    "synthetic_fundus": "drawn by maskline itself, so no one else's rights are in it",
    "chase_db1": "CC BY 4.0, Fraz et al. 2012",
}

# Layouts that say nothing of whose images they are.
_OWN = {"folder": "a folder of images and masks"}

_SCORES = ("mIoU", "mDice", "mAcc", "aAcc")


def card_text(
    trained: Trained,
    agreement: Mapping[str, Any],
    *,
    variants: tuple[Variant, ...],
    data_set: str,
    split: str = "test",
    images: int,
    scores: Mapping[str, Any],
) -> str:
    """Return the card as Markdown.

    Args:
        trained: What was exported.
        agreement: Of ``maskline.export.package.export_model``.
        variants: Those beside model.onnx.
        data_set: Its name, as ``data.name`` has it.
        split: Name of the split that was scored and compared on.
        images: Number of its images.
        scores: What evaluation found on them, as a tree.
    """
    agreement_by_file = {MODEL_FILE: agreement, **{each.files[0]: agreement[each.name] for each in variants}}
    sections = [
        _INTRODUCTION,
        _file_lines(agreement_by_file, split),
        [*_use_lines(trained), *_page_lines(variants)],
        _data_lines(trained.labels, name=data_set, split=split, images=images),
        [
            "## Scores",
            "",
            "Of the trained network, as the evaluate stage uses it, with 95 % bootstrap intervals over images.",
            "",
            *_score_lines(scores),
            *_promise_lines(scores, split),
        ],
        _limit_lines(split),
        _licence_lines(data_set, trained.origin),
        [f"SHA-256 of the trained weights: `{trained.weights_sha256}`."],
    ]
    return "\n\n".join("\n".join(lines) for lines in sections) + "\n"


_INTRODUCTION = [
    "# Model card",
    "",
    "Semantic segmentation: the class of each pixel of an image. Made by maskline's export stage; the exact",
    "settings stand in the metadata of each file, under the key `maskline`.",
]


def _limit_lines(split: str) -> list[str]:
    return [
        "## Limits",
        "",
        f"- The scores hold for images like the {split} split's: same kind of camera, scale and subject. Measure anew",
        "  before using the model on others.",
        f"- The network was seen to agree with torch on the {split} split and at five further sizes; all of them on a "
        "CPU.",
        "- It has no class for what it does not know: each pixel gets one of the classes above.",
        "- It is not a medical device, and its output is not a diagnosis.",
    ]


def _file_lines(agreement_by_file: Mapping[str, Mapping[str, Any]], split: str) -> list[str]:
    return [
        f"| file | bytes | mIoU on the {split} split | pixels with another class than in torch |",
        "| --- | --- | --- | --- |",
        *(
            f"| {file} | {each['bytes']} | {_score(each[split])} | {each[split]['disagreement']:g} |"
            for file, each in agreement_by_file.items()
        ),
    ]


def _use_lines(trained: Trained) -> list[str]:
    channels = f"{len(trained.mean)}), uint8{package.channels(trained)}"
    return [
        "## Use",
        "",
        f"    python {EXAMPLE_FILE} {MODEL_FILE} image.jpg labels.png",
        "",
        *_reading_lines(trained.reading),
        *_normalization_lines(trained),
        f"Input `{INPUT}`: (batch, height, width, {channels}, any size;",
        f"{_policy(trained)}.",
        f"Outputs: {trained.interface.describe()}.",
    ]


def _page_lines(variants: tuple[Variant, ...]) -> list[str]:
    if not any(each.name == "web" for each in variants):
        return []
    return [
        "",
        "A page to try it on, which sends nothing anywhere: `python -m http.server -d web` in this folder, then",
        "http://localhost:8000 in a browser. It runs onnxruntime-web (MIT; its licence and notices lie beside it).",
    ]


def _normalization_lines(trained: Trained) -> list[str]:
    """Return a line on the numbers of the images that training measured; none where the user gave them."""
    look = trained.params.get("model") or {}
    if "auto" not in (look.get("mean"), look.get("std")):
        return []
    mean, std = (", ".join(f"{value:g}" for value in values) for values in (trained.mean, trained.std))
    return [f"Channels are normalized inside, by numbers of the train split: mean {mean}; std {std}."]


def _reading_lines(rule: ReadingRule | None) -> list[str]:
    needs = "needs onnxruntime, numpy and Pillow; TIFF of several bands or more than 8 bits and 16-bit color PNG also"
    lines = [needs, "tifffile and imagecodecs."]
    if rule is None:
        return lines
    turned = "turned as their EXIF says" if rule.exif == "apply" else "as they are stored, whatever their EXIF says"
    return [
        *lines,
        f"It reads files as training did, by the rule in the metadata under `reading`: {rule.describe()};",
        f"{turned}. What does not fit is refused.",
    ]


def _data_lines(labels: LabelSet, *, name: str, split: str, images: int) -> list[str]:
    return [
        "## Data",
        "",
        f"Data set: {_OWN.get(name, name)}; scores are of {images} {split} images, {_SEEN[split]}",
        "Pixels of the ignore index do not count.",
        "",
        "| id | class | color |",
        "| --- | --- | --- |",
        *(f"| {i} | {_literal(each)} | {list(labels.palette[i])} |" for i, each in enumerate(labels.class_names)),
    ]


def _literal(name: str) -> str:
    """Return a name in Markdown that is no tag, link, emphasis or end of a cell."""
    return re.sub(r"([\\`*\[\]|!~])", r"\\\1", html.escape(name, quote=False))


# What training had to do with the images of the scored split.
_SEEN = {
    "test": "which training has not seen.",
    "val": "which training has\nnot learned from; but it chose its weights by their scores, which are likely too "
    "high for that.",
    "train": "which\ntraining has learned from: they say nothing of other images.",
}


def _licence_lines(name: str, origin: Mapping[str, str] | None) -> list[str]:
    lines = [
        "## Licence",
        "",
        "The weights are derived from the data set, and from pretrained weights where the settings name them; their",
        f"licences apply. The data set: {_LICENCES.get(name, 'see its makers')}. The program beside the model:",
        "Apache-2.0.",
    ]
    if origin is not None:
        lines += ["", f"The weights are, or started from, {origin['name']} ({origin['address']}): {origin['licence']}."]
    return lines


def _score(agreement: Mapping[str, Any]) -> str:
    score = agreement["mIoU_exported"]
    return "no pixel has a class" if score is None else f"{score:.4f}"


def _policy(trained: Trained) -> str:
    """Say what happens to an image before the network sees it."""
    if trained.interface.resize is not None:
        height, width = trained.interface.resize
        return f"it is resized to {height} x {width} px (bilinear) and normalized inside, the result resized back"
    multiple = trained.interface.pad_multiple or trained.network.stride
    policy = f"it is normalized, and padded to multiples of {multiple} px with the mean color, inside"
    if trained.interface.scale is not None:
        sides = f"{max(trained.interface.scale)} x {min(trained.interface.scale)} px"
        return f"it is scaled to the largest size within {sides} (longer and shorter side) that has its aspect,\n" + (
            policy.removeprefix("it is ") + ", the result resized back"
        )
    return policy


def _score_lines(scores: Mapping[str, Any]) -> list[str]:
    """Return a table of overall scores and each class's IoU, beside them those of the second observer."""
    sure, human = scores.get("uncertainty_95", {}), scores.get("second_annotator")
    rows = [(name, scores.get(name), sure.get(name), (human or {}).get(name)) for name in _SCORES]
    for name, class_scores in scores.get("per_class", {}).items():
        width = sure.get("per_class", {}).get(name, {}).get("IoU")
        reference = (human or {}).get("per_class", {}).get(name, {}).get("IoU")
        rows.append((f"IoU of {name}", class_scores["IoU"], width, reference))
    lines = ["| score | value | 95 % interval | second observer |", "| --- | --- | --- | --- |"]
    for name, value, interval, reference in rows:
        known = interval and interval["low"] is not None
        between = f"{interval['low']:.4f} to {interval['high']:.4f}" if known else "not known"
        lines.append(f"| {name} | {_number(value)} | {between} | {_number(reference) if human else 'none'} |")
    if human:
        lines += ["", "Second observer: the same scores of another person's masks, the human reference."]
    return lines


def _promise_lines(scores: Mapping[str, Any], split: str) -> list[str]:
    promise = scores.get(scores_table.PROMISE)
    if promise is None:
        return []
    told = scores_table.promise_sentences(promise, threshold=scores["threshold"], scored=f"the {split} split")
    return ["", *told, "These files bear it where evaluate used no windows, test-time augmentation or CRF."]


def _number(value: float | None) -> str:
    return "not known" if value is None else f"{value:.4f}"


def read_scores(path: Path) -> dict[str, Any]:
    """Return the evaluation's scores, of which the card tells some.

    Raises:
        DataError: They cannot be read.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise DataError(
            path, f"cannot be read ({type(error).__name__})", "evaluate first: dvc repro evaluate"
        ) from error
    return scores_table.from_csv(text, place=path)
