"""An exported ONNX file in smaller numbers: half precision, or eight bits calibrated on training pictures.

Both take and give the content of a file, with the same inputs, outputs and metadata; the same content gives the same
bytes. Whether the result is good enough is for the parity gate to say.
"""

import logging
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.transformers.float16 import convert_float_to_float16

from maskline.errors import ExportError
from maskline.export.onnx_graph import INPUT
from maskline.export.trace import third_party_warnings_ignored

# Calibration keeps every intermediate result of a picture: larger ones are cropped to this many px a side.
_LARGEST_SIDE = 512

# Eight bits of a probability would be seen by every user of the file; both cost next to nothing in float32.
_KEPT_FLOAT = ("Softmax", "ArgMax")


def to_fp16(content: bytes) -> bytes:
    """Return the file with weights and intermediate results in float16; probabilities stay float32.

    Half the size. Faster on GPUs; a CPU without float16 arithmetic computes in float32 and converts.

    Raises:
        ExportError: The converter refuses the graph.
    """
    with _refusals("fp16"):
        model = convert_float_to_float16(onnx.load_from_string(content), keep_io_types=True)
        return bytes(model.SerializeToString(deterministic=True))


def to_int8(content: bytes, *, images: Iterable[NDArray[np.uint8]]) -> bytes:
    """Return the file with int8 weights, one scale a channel, and uint8 results between the operations (QDQ).

    Each result's range is the smallest and largest value seen on the calibration pictures.

    Args:
        content: The ONNX file.
        images: Calibration pictures (H, W, 3), uint8, RGB, at least one.

    Raises:
        ExportError: The quantizer refuses the graph.
    """
    model = onnx.load_from_string(content)
    kept = [node.name for node in model.graph.node if node.op_type in _KEPT_FLOAT]
    with _refusals("int8"), tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "int8.onnx"
        quantize_static(
            model,
            path,
            _Calibration(images),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=kept,
        )
        return bytes(onnx.load(path).SerializeToString(deterministic=True))


class _Calibration(CalibrationDataReader):  # type: ignore[misc]
    """Hands the quantizer one picture at a time."""

    def __init__(self, images: Iterable[NDArray[np.uint8]]) -> None:
        self._images = iter(images)

    def get_next(self) -> dict[str, NDArray[Any]] | None:
        """Return the graph's input, or None at the end."""
        image = next(self._images, None)
        return None if image is None else {INPUT: np.ascontiguousarray(_middle(image))[None]}


def _middle(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    top, left = (max(0, length - _LARGEST_SIDE) // 2 for length in image.shape[:2])
    return image[top : top + _LARGEST_SIDE, left : left + _LARGEST_SIDE]


@contextmanager
def _refusals(variant: str) -> Iterator[None]:
    """Name the variant in an error, and keep the library's advice to its own developers out of the log."""
    logging.disable(logging.WARNING)
    try:
        with third_party_warnings_ignored():
            yield
    except Exception as error:  # onnxruntime's own classes have no common base but Exception
        problem = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ExportError(variant, problem, f"leave {variant} out of export.variants") from error
    finally:
        logging.disable(logging.NOTSET)
