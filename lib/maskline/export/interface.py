"""What an exported file takes and gives, and how its outputs are read. Needs no torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from maskline.core.errors import ExportError

Output = Literal["argmax", "softmax", "sigmoid", "logits"]

INPUT = "images"
LABELS, PROBABILITIES, SCORES, LOGITS = "labels", "probabilities", "scores", "logits"

NAMES: Mapping[Output, str] = {"argmax": LABELS, "softmax": PROBABILITIES, "sigmoid": SCORES, "logits": LOGITS}
"""Output -> its name in a file."""

OUTPUTS = frozenset(NAMES.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Interface:
    """What a file gives for an image of any size, and what it does to it first.

    Args:
        outputs: Keys of ``NAMES``, each once, at least one.
        resize: Height and width that the network sees; the result is resized back to the image. None: the image
            as it is.
        pad_multiple: Sides are padded with the mean color to a multiple of this, a multiple of the network's stride.
            None: that stride.
        threshold: Two classes: ``labels`` is 1 from this probability on; None: the more likely class.
        scale: Sides that the image is scaled to fit, its aspect kept, before it is padded; the result is resized back.
            None: the image as it is.
    """

    outputs: tuple[Output, ...]
    resize: tuple[int, int] | None
    pad_multiple: int | None
    threshold: float | None = None
    scale: tuple[int, int] | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the outputs in a file."""
        return tuple(NAMES[output] for output in self.outputs)

    @property
    def activation(self) -> Output:
        """What ``read`` finds in such a file: softmax, sigmoid, or argmax where nothing but labels is there."""
        if "softmax" in self.outputs or "logits" in self.outputs:
            return "softmax"
        return "sigmoid" if "sigmoid" in self.outputs else "argmax"

    def describe(self) -> str:
        """Return the outputs with their shapes."""
        shapes = {LABELS: "(batch, height, width)"}
        maps = "(batch, classes, height, width), float32"
        given = "; ".join(f"{name} {shapes.get(name, maps)}" for name in self.names)
        return given if self.threshold is None else f"{given}; label 1 from probability {self.threshold:.6g} on"


WHOLE = Interface(outputs=("argmax", "softmax"), resize=None, pad_multiple=None)
"""As evaluation sees whole images."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a model sees in a batch of images of one size.

    Args:
        labels: Class ids, (N, H, W), uint8 or uint16.
        probabilities: (N, C, H, W), float32, 0..1, sum 1 over C (sigmoid: each class for itself; a model that gives
            labels alone: 1 for the label).
    """

    labels: NDArray[Any]
    probabilities: NDArray[np.float32]


def read(outputs: Mapping[str, NDArray[Any]], *, num_classes: int) -> Prediction:
    """Return the prediction that a file's outputs, by name, stand for.

    Raises:
        ExportError: Of another shape, with class ids that are none, or nan.
    """
    if PROBABILITIES in outputs:
        values = outputs[PROBABILITIES]
    elif LOGITS in outputs:
        values = outputs[LOGITS]
    elif SCORES in outputs:
        values = outputs[SCORES]
    else:
        values = one_hot(outputs[LABELS], num_classes)
    labels = outputs.get(LABELS)
    if values.ndim != 4 or values.shape[1] != num_classes or (labels is not None and not _fit(labels, values)):
        raise ExportError("model", f"its outputs are not those of {num_classes} classes", "export it again")
    check_values(values)
    if labels is None:
        labels = values.argmax(1).astype(np.uint8 if num_classes <= 256 else np.uint16)
    of_logits = LOGITS in outputs and PROBABILITIES not in outputs
    return Prediction(labels, softmax(values) if of_logits else values)


def _fit(labels: NDArray[Any], values: NDArray[np.float32]) -> bool:
    same = labels.dtype.kind in "iu" and labels.shape == values[:, 0].shape
    return same and bool(((labels >= 0) & (labels < values.shape[1])).all())


def check_values(values: NDArray[np.float32]) -> None:
    """Check what a model gives, of whatever runtime: a nan or two infinities would become class 0.

    Args:
        values: Logits or probabilities, (N, C, ...).

    Raises:
        ExportError: The highest of a pixel is nan or infinite.
    """
    if not bool(np.isfinite(values.max(1)).all()):  # max hands nan on
        remedy = "train again with a lower optimizer.lr, or export it again"
        raise ExportError("model", "its output is not finite", remedy)


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return exp over its sum along axis 1."""
    powers = np.exp(logits - logits.max(1, keepdims=True))
    total: NDArray[np.float32] = powers / powers.sum(1, keepdims=True)
    return total


def one_hot(labels: NDArray[Any], num_classes: int) -> NDArray[np.float32]:
    """Return N, C, H, W with 1 at each label."""
    classes = np.arange(num_classes).reshape(1, -1, 1, 1)
    values: NDArray[np.float32] = (labels[:, None] == classes).astype(np.float32)
    return values
