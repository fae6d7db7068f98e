"""An exported model in onnxruntime. Needs no torch."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from maskline.errors import ExportError, ShapeError


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a model sees in a batch of images of one size.

    Args:
        labels: Class ids, (N, H, W), uint8 or uint16.
        probabilities: (N, C, H, W), float32, 0..1, sum 1 over C.
    """

    labels: NDArray[Any]
    probabilities: NDArray[np.float32]


class OnnxModel:
    """An ONNX file of the export stage, ready to run on the CPU.

    Args:
        path: The file.
        threads: CPU threads inside an operation.

    Raises:
        ExportError: Not an ONNX file that the export stage wrote.
    """

    def __init__(self, path: Path, *, threads: int) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 4  # an error is raised as well, and its text is in our own line
        self._path = path
        remedy = "give a model.onnx that the export stage wrote"
        if not Path(path).is_file():
            raise ExportError(path, "no such file", remedy)
        try:
            self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's own classes have no common base but Exception
            raise ExportError(path, f"cannot be loaded ({error})", remedy) from error
        text = self._session.get_modelmeta().custom_metadata_map.get("maskline")
        if text is None:
            raise ExportError(path, "no metadata under the key maskline", remedy)
        self.metadata: dict[str, Any] = json.loads(text)

    def predict(self, images: NDArray[np.uint8]) -> Prediction:
        """Return the prediction for images (N, H, W, 3), uint8, RGB.

        Raises:
            ShapeError: Another shape or type.
            ExportError: The graph does not run at this size.
        """
        check_images(images)
        try:
            labels, probabilities = self._session.run(["labels", "probabilities"], {"images": images})
        except Exception as error:  # as above
            size = f"{images.shape[1]}x{images.shape[2]}"
            raise ExportError(
                self._path, f"fails at {size} px ({error})", "the export stage has to refuse it"
            ) from error
        return Prediction(labels, probabilities)


def check_images(images: NDArray[Any]) -> None:
    """Refuse what is not uint8 (N, H, W, 3).

    Raises:
        ShapeError: Names the shape and type.
    """
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3:
        raise ShapeError("images", f"{images.dtype} {images.shape}", "give uint8 (batch, height, width, 3)")
