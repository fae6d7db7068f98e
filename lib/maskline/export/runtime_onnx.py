"""An exported model in onnxruntime. Needs no torch."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.capi.onnxruntime_pybind11_state import Fail

from maskline.core.errors import ExportError, ShapeError
from maskline.export.interface import INPUT, LABELS, Prediction, read


class OnnxModel:
    """An ONNX file of the export stage, ready to run on the CPU.

    Args:
        path: The file.
        threads: CPU threads inside an operation.

    Raises:
        ExportError: Not an ONNX file that the export stage wrote.
    """

    def __init__(self, path: Path, *, threads: int) -> None:
        self._path = path
        remedy = "give a model.onnx that the export stage wrote"
        if not Path(path).is_file():
            raise ExportError(path, "no such file", remedy)
        try:
            self._session = open_session(path, threads=threads)
        except Exception as error:  # onnxruntime's own classes have no common base but Exception
            raise ExportError(path, f"cannot be loaded ({error})", remedy) from error
        text = self._session.get_modelmeta().custom_metadata_map.get("maskline")
        if text is None:
            raise ExportError(path, "no metadata under the key maskline", remedy)
        self.metadata: dict[str, Any] = json.loads(text)
        self._names = [output.name for output in self._session.get_outputs()]

    @property
    def has_probabilities(self) -> bool:
        """Whether the file gives more than labels."""
        return self._names != [LABELS]

    def predict(self, images: NDArray[np.uint8]) -> Prediction:
        """Return the prediction for images (N, H, W, 3), uint8, RGB.

        Raises:
            ShapeError: Another shape or type.
            ExportError: The graph does not run at this size.
        """
        check_images(images, channels=len(self.metadata["mean"]))
        try:
            outputs = dict(zip(self._names, self._session.run(self._names, {INPUT: images}), strict=True))
        except Exception as error:  # as above
            size = f"{images.shape[1]}x{images.shape[2]}"
            raise ExportError(
                self._path, f"fails at {size} px ({error})", "the export stage has to refuse it"
            ) from error
        return read(outputs, num_classes=len(self.metadata["class_names"]))


def open_session(model: Path | bytes, *, threads: int) -> onnxruntime.InferenceSession:
    """Return a session on the CPU.

    Args:
        model: The file, or its content.
        threads: CPU threads inside an operation.
    """
    given = model if isinstance(model, bytes) else str(model)

    def opened(**settings: str) -> onnxruntime.InferenceSession:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 4  # an error is raised as well, and its text is in our own line
        for key, value in settings.items():
            options.add_session_config_entry(f"session.{key}", value)
        return onnxruntime.InferenceSession(given, options, providers=["CPUExecutionProvider"])

    try:
        # Without it, sums of two int8 products overflow on x86 processors that have no instructions for them (VNNI).
        return opened(x64quantprecision="1")
    except Fail:  # there, onnxruntime 1.32 cannot do that to a file in which two operations share int8 weights
        return opened()


def check_images(images: NDArray[Any], *, channels: int) -> None:
    """Refuse what is not uint8 (N, H, W, channels).

    Raises:
        ShapeError: Names the shape and type.
    """
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != channels:
        raise ShapeError("images", f"{images.dtype} {images.shape}", f"give uint8 (batch, height, width, {channels})")
