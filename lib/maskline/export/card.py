"""The model card of the export folder: what the files are, what they were made from, what to know before use."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from maskline.export import example
from maskline.export.package import MODEL_FILE, Trained, Variant

CARD_FILE = "README.md"
EXAMPLE_FILE = "example.py"


def example_text() -> str:
    """Return the program that is written beside the model."""
    return Path(example.__file__).read_text(encoding="utf-8")


def card_text(trained: Trained, agreement: Mapping[str, Any], *, variants: tuple[Variant, ...], images: int) -> str:
    """Return the card as Markdown.

    Args:
        trained: What was exported.
        agreement: Of ``maskline.export.package.export_model``.
        variants: Those beside model.onnx.
        images: Number of test images.
    """
    labels = trained.labels
    name = trained.params.get("data", {}).get("name", "unknown")
    found = {MODEL_FILE: agreement, **{each.file: agreement[each.name] for each in variants}}
    classes = [f"| {i} | {name} | {list(labels.palette[i])} |" for i, name in enumerate(labels.class_names)]
    lines = [
        "# Model card",
        "",
        "Semantic segmentation: the class of each pixel of a picture. Made by maskline's export stage; the exact",
        "settings stand in the metadata of each file, under the key `maskline`.",
        "",
        "| file | bytes | mIoU on the test split | pixels with another class than in torch |",
        "| --- | --- | --- | --- |",
        *(
            f"| {file} | {each['bytes']} | {_score(each)} | {each['test']['disagreement']:g} |"
            for file, each in found.items()
        ),
        "",
        "## Use",
        "",
        f"    python {EXAMPLE_FILE} {MODEL_FILE} picture.jpg labels.png",
        "",
        "needs onnxruntime, numpy and Pillow. Input `images`: (batch, height, width, 3), uint8, RGB, any size;",
        "normalisation and padding are inside. Outputs: `labels` (batch, height, width) and `probabilities`",
        "(batch, classes, height, width), float32.",
        "",
        "## Data",
        "",
        f"Data set: {name}; scores are of {images} test images, which training has",
        "not seen. Pixels of the ignore index do not count.",
        "",
        "| id | class | colour |",
        "| --- | --- | --- |",
        *classes,
        "",
        "## Limits",
        "",
        "- The scores hold for pictures like the test split's: same kind of camera, scale and subject. Measure anew",
        "  before using the model on others.",
        "- The network was seen to agree with torch on the test split and at five further sizes; all of them on a CPU.",
        "- It has no class for what it does not know: each pixel gets one of the classes above.",
        "- It is not a medical device, and its output is not a diagnosis.",
        "",
        "## Licence",
        "",
        "The weights are derived from the data set, and from pretrained weights where the settings name them; their",
        "licences apply. The program beside the model: Apache-2.0.",
        "",
        f"SHA-256 of the trained weights: `{trained.weights_sha256}`.",
    ]
    return "\n".join(lines) + "\n"


def _score(found: Mapping[str, Any]) -> str:
    score = found["test"]["mIoU_exported"]
    return "no pixel has a class" if score is None else f"{score:.4f}"
