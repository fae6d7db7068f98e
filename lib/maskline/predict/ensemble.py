"""Several models, exported ones among them, as one: the mean of their probabilities."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from maskline.core.errors import CheckpointError
from maskline.export.interface import Prediction
from maskline.export.runtime_onnx import OnnxModel
from maskline.predict.model import Model, Runtime


def averaged(models: Sequence[Model], paths: Sequence[Path]) -> Model:
    """Return one model of several.

    Args:
        models: Of the same classes and images.
        paths: Where they came from, for messages.

    Raises:
        CheckpointError: There is none, they differ, or one gives no probabilities.
    """
    if not models:
        raise CheckpointError("ensemble", "no model", "name one or more")
    first = models[0]
    for model, path in zip(models, paths, strict=True):
        for what, same in (("classes", model.labels == first.labels), ("images", model.reading == first.reading)):
            if not same:
                raise CheckpointError(path, f"is for other {what} than {paths[0]}", "name models of one data set")
        if isinstance(model.runtime, OnnxModel) and not model.runtime.has_probabilities:
            raise CheckpointError(path, "gives no probabilities", "export it with softmax among export.outputs")
    runtime = _Averaged([model.runtime for model in models])
    made_by = {"members": [model.made_by for model in models]}
    return Model(runtime, labels=first.labels, reading=first.reading, made_by=made_by)


class _Averaged:
    """Runtimes, one after the other."""

    def __init__(self, runtimes: Sequence[Runtime]) -> None:
        self._runtimes = runtimes

    def predict(self, images: NDArray[np.uint8]) -> Prediction:
        """Return the mean of all probabilities, and its most likely class."""
        fields = [runtime.predict(images).probabilities for runtime in self._runtimes]
        mean: NDArray[np.float32] = np.stack(fields).mean(axis=0, dtype=np.float32)
        return Prediction(mean.argmax(1).astype(np.uint8 if mean.shape[1] <= 256 else np.uint16), mean)
