"""An exported ONNX file in smaller numbers: half precision, or eight bits calibrated on training pictures.

Both take and give the content of a file, with the same inputs, outputs and metadata; the same content gives the same
bytes. Whether the result is good enough is for the parity gate to say.
"""

import json
import logging
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.transformers.float16 import convert_float_to_float16

from maskline.errors import ExportError
from maskline.export.interface import INPUT, read
from maskline.export.onnx_graph import METADATA_KEY
from maskline.export.resizing import as_gather
from maskline.export.trace import third_party_warnings_ignored

# Calibration keeps every intermediate result of a picture: larger ones are cropped to this many px a side.
_LARGEST_SIDE = 512

# Where eight bits save time, and what may be left in float32 for the sake of agreement.
_HEAVY = ("Conv", "ConvTranspose", "MatMul", "Gemm")

# What each operation does to the classes is measured on this many of the calibration pictures.
_SENSITIVITY_PICTURES = 4


def to_fp16(content: bytes) -> bytes:
    """Return the file with weights and intermediate results in float16; probabilities stay float32.

    Half the size. Faster on GPUs; a CPU without float16 arithmetic computes in float32 and converts.

    Raises:
        ExportError: The converter refuses the graph.
    """
    with _refusals("fp16"):
        model = convert_float_to_float16(onnx.load_from_string(content), keep_io_types=True)
        return bytes(model.SerializeToString(deterministic=True))


def to_int8(content: bytes, *, images: Iterable[NDArray[np.uint8]], min_agreement: float, threads: int) -> bytes:
    """Return the file with int8 weights, one scale a channel, and uint8 results between the operations (QDQ).

    Each result's range is the smallest and largest value seen on the calibration pictures. Convolutions and matrix
    products that bear eight bits badly stay in float32: as few as it takes, in the order of what each gains alone,
    until the classes of enough calibration pixels are those of the float32 file.

    Args:
        content: The ONNX file; it has the output ``labels``.
        images: Calibration pictures (H, W, 3), uint8, RGB, at least one.
        min_agreement: Share of calibration pixels with the same class, 0..1; 0: no operation stays in float32.
        threads: CPU threads.

    Raises:
        ExportError: The quantizer refuses the graph.
    """
    pictures = [np.ascontiguousarray(_middle(image))[None] for image in images]
    with _refusals("int8"), tempfile.TemporaryDirectory() as folder:
        quantizer = _Quantizer(content, pictures, Path(folder), threads=threads)
        return quantizer.quantized(quantizer.sensitive(min_agreement))


class _Quantizer:
    """Quantizes one graph with one calibration as often as it takes.

    Args:
        content: The ONNX file.
        pictures: Calibration inputs (1, H, W, 3).
        folder: For files in between.
        threads: CPU threads.
    """

    def __init__(self, content: bytes, pictures: Sequence[NDArray[np.uint8]], folder: Path, *, threads: int) -> None:
        self._content, self._pictures, self._folder, self._threads = content, pictures, folder, threads
        model = as_gather(onnx.load_from_string(content))
        self._model = model.SerializeToString()
        nodes = model.graph.node
        about = {entry.key: entry.value for entry in model.metadata_props}[METADATA_KEY]
        self._num_classes = len(json.loads(about)["class_names"])
        heavy = [i for i, node in enumerate(nodes) if node.op_type in _HEAVY]
        # Grey levels as they are, not rounded a second time on their way into the network.
        before = [node.name for node in nodes[: heavy[0] if heavy else 0]]
        # The last convolution has few channels: eight bits gain nothing there, and its logits decide. So would eight
        # bits of a probability, which every user of the file sees.
        after = [node.name for node in nodes[heavy[-1] if heavy else 0 :]]
        self._kept = [*before, *after]
        self._candidates = [[nodes[i].name] for i in heavy[:-1]]

    def quantized(self, in_float: Sequence[str]) -> bytes:
        """Return the file; the named nodes stay in float32."""
        path = self._folder / "int8.onnx"
        quantize_static(
            onnx.load_from_string(self._model),
            path,
            _Calibration(self._pictures),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=[*self._kept, *in_float],
            calibration_cache_path=self._folder / "ranges.json",
        )
        return bytes(onnx.load(path).SerializeToString(deterministic=True))

    def sensitive(self, min_agreement: float) -> list[str]:
        """Return the nodes to leave in float32; as few operations as are enough."""
        if not min_agreement or not self._candidates:
            return []
        few = self._pictures[:: -(-len(self._pictures) // _SENSITIVITY_PICTURES)]
        expected = self._classes(self._content, few)
        if self._agreement(expected, few, []) >= min_agreement:
            return []
        gains = [self._agreement(expected, few, names) for names in self._candidates]
        order = [self._candidates[i] for i in sorted(range(len(gains)), key=lambda i: -gains[i])]

        def first(count: int) -> list[str]:
            return [name for names in order[:count] for name in names]

        return first(fewest(len(order), lambda count: self._agreement(expected, few, first(count)) >= min_agreement))

    def _agreement(
        self, expected: Sequence[NDArray[Any]], pictures: Sequence[NDArray[np.uint8]], in_float: Sequence[str]
    ) -> float:
        found = self._classes(self.quantized(in_float), pictures)
        same = sum(int(np.count_nonzero(a == b)) for a, b in zip(expected, found, strict=True))
        return same / sum(each.size for each in expected)

    def _classes(self, content: bytes, pictures: Sequence[NDArray[np.uint8]]) -> list[NDArray[Any]]:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.log_severity_level = 4
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        names = [output.name for output in session.get_outputs()]
        found = (dict(zip(names, session.run(names, {INPUT: picture}), strict=True)) for picture in pictures)
        return [read(each, num_classes=self._num_classes).labels for each in found]


def fewest(most: int, enough: Callable[[int], bool]) -> int:
    """Return the smallest count from 1 to ``most`` that is enough, or ``most``; what is enough stays so with more."""
    low, high = 0, 1
    while high < most and not enough(high):
        low, high = high, min(2 * high, most)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


class _Calibration(CalibrationDataReader):  # type: ignore[misc]
    """Hands the quantizer one picture at a time."""

    def __init__(self, pictures: Iterable[NDArray[np.uint8]]) -> None:
        self._pictures = iter(pictures)

    def get_next(self) -> dict[str, NDArray[Any]] | None:
        """Return the graph's input, or None at the end."""
        picture = next(self._pictures, None)
        return None if picture is None else {INPUT: picture}


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
