"""The traced program as OpenVINO IR, where openvino (Apache-2.0) is installed: pip install 'maskline[openvino]'."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from maskline.core.errors import ExportError
from maskline.export.interface import INPUT, Prediction, read
from maskline.export.runtime_onnx import check_images
from maskline.export.variants import Limits

if TYPE_CHECKING:
    from torch.export import ExportedProgram

_FILES = ("model.xml", "model.bin")


class OpenVinoModel:
    """An IR file of the export stage on the CPU, in float32: without being told so, OpenVINO computes in bfloat16.

    Args:
        path: The .xml file; the .bin file lies beside it.
        threads: CPU threads.
        num_classes: C.

    Raises:
        ExportError: OpenVINO is missing, or cannot read the file.
    """

    def __init__(self, path: Path, *, threads: int, num_classes: int) -> None:
        openvino = _openvino()
        settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads}
        try:
            self._compiled = openvino.Core().compile_model(path, "CPU", settings)
        except RuntimeError as error:
            raise ExportError(path, _first_line(error), "export it again") from error
        self._path, self._num_classes = path, num_classes

    def predict(self, images: NDArray[np.uint8]) -> Prediction:
        """Return the prediction for images (N, H, W, 3), uint8, RGB.

        Raises:
            ShapeError: Another shape or type.
            ExportError: The graph does not run at this size.
        """
        check_images(images, channels=self._compiled.inputs[0].get_partial_shape()[3].get_length())
        try:
            outputs = self._compiled({INPUT: images})
        except RuntimeError as error:
            size = f"{images.shape[1]}x{images.shape[2]}"
            raise ExportError(self._path, f"fails at {size} px ({_first_line(error)})", "export it again") from error
        arrays: Mapping[str, NDArray[Any]] = {
            output.get_any_name(): np.array(value) for output, value in outputs.items()
        }
        return read(arrays, num_classes=self._num_classes)


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenVinoVariant:
    """See ``maskline.export.variants.Variant``.

    Args:
        num_classes: C.
        limits: Of its parity gate.
    """

    num_classes: int
    limits: Limits
    name: str = "openvino"
    files: tuple[str, ...] = _FILES
    timed: bool = True

    def write(self, folder: Path, *, program: "ExportedProgram", content: bytes) -> None:
        """See ``Variant``.

        Raises:
            ExportError: OpenVINO is missing, or refuses the graph.
        """
        del program
        openvino = _openvino()
        try:
            model = openvino.Core().read_model(content)
        except RuntimeError as error:
            raise ExportError("openvino", _first_line(error), "leave openvino out of export.variants") from error
        for number, operation in enumerate(model.get_ordered_ops()):  # its own names count on through the process
            operation.set_friendly_name(f"{operation.get_type_name()}_{number}")
        openvino.save_model(model, folder / _FILES[0], compress_to_fp16=False)

    def open(self, folder: Path, *, threads: int) -> OpenVinoModel:
        """See ``Variant``."""
        return OpenVinoModel(folder / _FILES[0], threads=threads, num_classes=self.num_classes)


def _openvino() -> Any:
    try:
        import openvino
    except ImportError as error:
        raise ExportError(
            "export.variants: openvino",
            "the package openvino is not installed",
            "pip install openvino, or leave openvino out",
        ) from error
    return openvino


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[-1]
