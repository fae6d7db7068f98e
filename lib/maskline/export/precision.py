"""An exported ONNX file in smaller numbers: half precision, or eight bits calibrated on training images.

Both take and give the content of a file, with the same inputs, outputs and metadata; the same content gives the same
bytes. Whether the result is good enough is for the parity gate to say.
"""

import json
import logging
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.transformers.float16 import convert_float_to_float16

from maskline.core.errors import ExportError
from maskline.export.interface import INPUT, read
from maskline.export.onnx_graph import METADATA_KEY
from maskline.export.onnx_passes.gray_levels import LEVELS, with_gray_levels, without_conversion
from maskline.export.onnx_passes.phases import in_blocks
from maskline.export.onnx_passes.resizing import as_gather
from maskline.export.onnx_passes.rounding import input_means, round_weights
from maskline.export.runtime_onnx import open_session
from maskline.export.trace import third_party_warnings_ignored
from maskline.models.scale import scaled_size

# Calibration keeps every intermediate result of an image: larger ones are cropped to this many px a side.
_LARGEST_SIDE = 512

# Where eight bits save time, and what may be left in float32 for the sake of agreement.
_HEAVY = ("Conv", "ConvTranspose", "MatMul", "Gemm")

# What each operation alone does to the classes is measured on this many of the calibration images.
_SENSITIVITY_IMAGES = 4

_AS_THEY_ARE = {LEVELS: [{"scale": np.array(1, np.float32), "zero_point": np.array(0, np.uint8)}]}


def to_fp16(content: bytes) -> bytes:
    """Return the file with weights and intermediate results in float16; probabilities stay float32.

    Half the size. Faster on GPUs; a CPU without float16 arithmetic computes in float32 and converts.

    Raises:
        ExportError: The converter refuses the graph.
    """
    with _refusals("fp16"):
        model = convert_float_to_float16(onnx.load_from_string(content), keep_io_types=True)
        return bytes(model.SerializeToString(deterministic=True))


def to_int8(
    content: bytes,
    *,
    images: Iterable[NDArray[np.uint8]],
    min_agreement: float,
    threads: int,
    scale: tuple[int, int] | None = None,
) -> bytes:
    """Return the file with int8 weights, one scale a channel, and uint8 results between the operations (QDQ).

    Each result's range is the smallest and largest value seen on the calibration images; the image itself goes in
    as it is; weights are rounded so that means are kept. Operations that bear eight bits badly stay in float32, each
    with what follows it up to the next: as few as it is found to take, in the order of what each gains alone, until
    enough calibration pixels have the class that the float32 file gives them. Where even float32 throughout is not
    enough, the set that agreed best stays in float32.

    Args:
        content: The ONNX file; it has the output ``labels``.
        images: Calibration images (H, W, 3), uint8, RGB, at least one.
        min_agreement: Share of calibration pixels with the same class, 0..1; 0: no operation stays in float32.
        threads: CPU threads.
        scale: Sides that the file scales images to fit; None: it takes them as they are.

    Raises:
        ExportError: The quantizer refuses the graph.
    """
    inputs = [np.ascontiguousarray(_middle(image, scale))[None] for image in images]
    with _refusals("int8"), tempfile.TemporaryDirectory() as folder:
        quantizer = _Quantizer(content, inputs, Path(folder), threads=threads)
        return quantizer.quantized(quantizer.sensitive(min_agreement))


class _Quantizer:
    """Quantizes one graph with one calibration as often as it takes.

    Args:
        content: The ONNX file.
        images: Calibration inputs (1, H, W, 3).
        folder: For files in between.
        threads: CPU threads.
    """

    def __init__(self, content: bytes, images: Sequence[NDArray[np.uint8]], folder: Path, *, threads: int) -> None:
        self._content, self._images, self._folder, self._threads = content, images, folder, threads
        model = as_gather(in_blocks(onnx.load_from_string(content)))
        self._gray = with_gray_levels(model)
        self._means = input_means(model, images, threads=threads)
        self._model = model.SerializeToString()
        nodes = model.graph.node
        about = {entry.key: entry.value for entry in model.metadata_props}[METADATA_KEY]
        self._num_classes = len(json.loads(about)["class_names"])
        heavy = [i for i, node in enumerate(nodes) if node.op_type in _HEAVY] or [0]
        names = [node.name for node in nodes]
        # What leads to the first heavy operation is no part of the network; the last one's results are the logits and
        # then the probabilities, which every user of the file sees.
        self._kept = [*names[: heavy[0]], *names[heavy[-1] :]]
        # With all of these in float32, the whole graph is.
        self._candidates = [names[i:j] for i, j in pairwise(heavy)]
        self._kinds = _HEAVY if _is_of_products(nodes) else None

    def quantized(self, in_float: Sequence[str]) -> bytes:
        """Return the file; the named nodes stay in float32."""
        path = self._folder / "int8.onnx"
        model = onnx.load_from_string(self._model)
        # onnxruntime computes these in float32 whatever the file says, and then cannot convert weights that they share.
        norms = [node.name for node in model.graph.node if node.op_type == "BatchNormalization"]
        kept = [*self._kept, *norms, *in_float]
        round_weights(model, means=self._means, in_float=kept)
        quantize_static(
            model,
            path,
            _Calibration(self._images),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            op_types_to_quantize=self._kinds,
            nodes_to_exclude=kept,
            calibration_cache_path=self._folder / "ranges.json",
            extra_options={"TensorQuantOverrides": _AS_THEY_ARE} if self._gray else {},
        )
        written = onnx.load(path)
        if self._gray:
            without_conversion(written)
        return bytes(written.SerializeToString(deterministic=True))

    def sensitive(self, min_agreement: float) -> list[str]:
        """Return the nodes to leave in float32; as few operations as are found to be enough."""
        if not min_agreement:
            return []
        expected = self._classes(self._content, self._images)
        few = slice(None, None, -(-len(self._images) // _SENSITIVITY_IMAGES))
        gains: list[float] = []

        def first(count: int) -> list[str]:
            order = sorted(range(len(gains)), key=lambda i: -gains[i])
            return [name for i in order[:count] for name in self._candidates[i]]

        def agreement(count: int) -> float:
            return self._agreement(expected, self._images, first(count))

        if agreement(0) >= min_agreement:
            return []
        gains += [self._agreement(expected[few], self._images[few], names) for names in self._candidates]
        return first(fewest(len(gains), agreement, least=min_agreement))

    def _agreement(
        self, expected: Sequence[NDArray[Any]], images: Sequence[NDArray[np.uint8]], in_float: Sequence[str]
    ) -> float:
        labels = self._classes(self.quantized(in_float), images)
        same = sum(int(np.count_nonzero(a == b)) for a, b in zip(expected, labels, strict=True))
        return same / sum(each.size for each in expected)

    def _classes(self, content: bytes, images: Sequence[NDArray[np.uint8]]) -> list[NDArray[Any]]:
        session = open_session(content, threads=self._threads)
        names = [output.name for output in session.get_outputs()]
        outputs = (dict(zip(names, session.run(names, {INPUT: image}), strict=True)) for image in images)
        return [read(each, num_classes=self._num_classes).labels for each in outputs]


def _is_of_products(nodes: Iterable[NodeProto]) -> bool:
    """Return whether a graph has more matrix products than convolutions.

    What lies between matrix products (sums, normalization, attention) is best left in float32: for a SegFormer, that
    halved the pixels of another class and took a twentieth more time. Between convolutions it is eight bits that save
    the copying.
    """
    kinds = Counter(node.op_type for node in nodes)
    return kinds["MatMul"] + kinds["Gemm"] > kinds["Conv"] + kinds["ConvTranspose"]


def fewest(most: int, agreement: Callable[[int], float], *, least: float) -> int:
    """Return a small count, from 1 to ``most``, whose agreement was found to be enough.

    Counts are doubled until one is enough, then halved between it and the last that was not. More may agree less: then
    a smaller count can be missed, but what is returned was measured. Where none tried is enough, and ``most`` is among
    those, it is the one that agreed best, the smallest of equals.

    Args:
        most: At least 1; 0 gives 0.
        agreement: Of a count.
        least: What is enough.
    """
    measured: dict[int, float] = {}

    def enough(count: int) -> bool:
        measured[count] = agreement(count)
        return measured[count] >= least

    low, high = 0, min(1, most)
    while high > low and not enough(high):
        low, high = high, min(2 * high, most)
    if high == low:
        return max(measured, key=lambda count: (measured[count], -count), default=0)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


class _Calibration(CalibrationDataReader):  # type: ignore[misc]
    """Hands the quantizer one image at a time."""

    def __init__(self, images: Iterable[NDArray[np.uint8]]) -> None:
        self._images = iter(images)

    def get_next(self) -> dict[str, NDArray[Any]] | None:
        """Return the graph's input, or None at the end."""
        image = next(self._images, None)
        return None if image is None else {INPUT: image}


def _middle(image: NDArray[np.uint8], scale: tuple[int, int] | None) -> NDArray[np.uint8]:
    """Return the middle of an image, of ``_LARGEST_SIDE`` at most.

    At a scale: its middle square where the file enlarges that as it does the whole image, else all of it.
    """
    height, width = image.shape[:2]
    side = _LARGEST_SIDE if scale is None else min(height, width)
    if scale is not None and min(scaled_size((height, width), scale)) != min(scale):
        return image
    top, left = (max(0, length - side) // 2 for length in (height, width))
    return image[top : top + side, left : left + side]


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
