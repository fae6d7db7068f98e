"""Eight bits from the image on: the first convolution of an eight-bit graph sees gray levels, unrounded.

A normalized image has a scale a channel, eight bits have one for all: each gray level would be rounded once more, and
a network's first convolution bears that worst. So the normalization goes into that convolution's weights, and padding
is done before, each channel with its own mean level.
"""

from collections.abc import Mapping

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

from maskline.export.interface import INPUT
from maskline.export.onnx_passes.nodes import Made, replace_nodes, settings

LEVELS = f"{INPUT}_levels"
"""The padded image in float32, whose values are whole numbers from 0 to 255."""

_BYTES = f"{INPUT}_padded"

_STEPS = ("Transpose", "Cast", "Sub", "Div", "Pad", "Conv")


def with_gray_levels(model: onnx.ModelProto) -> bool:
    """Let the first convolution see ``LEVELS``; the same function, but for the mean's fraction of a level in padding.

    Args:
        model: Changed in place, where it begins as ``maskline.export.trace.Deployable`` without resizing does.

    Returns:
        Whether it does.
    """
    constants = {value.name: value for value in model.graph.initializer}
    steps = _beginning(model, constants)
    if steps is None:
        return False
    transpose, _, centred, scaled, pad, conv = steps
    mean, std = (_values(constants, node.input[1]) for node in (centred, scaled))
    weight = _values(constants, conv.input[1]) / std.reshape(-1, 1, 1)
    bias = _values(constants, conv.input[2]) if len(conv.input) > 2 else np.zeros(len(weight))
    bias = bias - (weight.sum((2, 3)) * mean.ravel()).sum(1)
    edges = settings(conv).get("pads", [0, 0, 0, 0])
    replacement = Made(INPUT)
    around = replacement.constant("edges", np.array([0, 0, *edges[:2], 0, 0, *edges[2:]], np.int64))
    pads = replacement.add("Add", [pad.input[1], around], "pads")
    channels = [f"{INPUT}_channel_{i}" for i in range(mean.size)]
    replacement.nodes.append(
        helper.make_node("Split", [transpose.output[0]], channels, name=f"{INPUT}_split", axis=1, num_outputs=mean.size)
    )
    padded = [
        replacement.add(
            "Pad", [name, pads, replacement.constant(f"level_{i}", np.array(level, np.uint8))], f"padded_{i}"
        )
        for i, (name, level) in enumerate(zip(channels, np.rint(mean.ravel()), strict=True))
    ]
    replacement.add("Concat", padded, _BYTES.removeprefix(f"{INPUT}_"), axis=1)
    replacement.add("Cast", [_BYTES], LEVELS.removeprefix(f"{INPUT}_"), to=TensorProto.FLOAT)
    both = [
        replacement.constant("weight", weight.astype(np.float32)),
        replacement.constant("bias", bias.astype(np.float32)),
    ]
    kept = {name: value for name, value in settings(conv).items() if name != "pads"}
    replacement.nodes.append(helper.make_node("Conv", [LEVELS, *both], list(conv.output), name=conv.name, **kept))
    nodes = [each for node in model.graph.node for each in (replacement.nodes if node is conv else [node])]
    replace_nodes(model, nodes, replacement.constants)
    return True


def without_conversion(model: onnx.ModelProto) -> None:
    """Hand the eight-bit convolution the image's bytes themselves, which ``LEVELS`` are, with scale 1.

    Args:
        model: Quantized; changed in place. Where the first convolution is left in float32, nothing changes.
    """
    quantized = {node.output[0] for node in model.graph.node if list(node.input[:1]) == [LEVELS]}
    for node in model.graph.node:
        if node.op_type == "DequantizeLinear" and node.input[0] in quantized:
            node.input[0] = _BYTES
    replace_nodes(model, list(model.graph.node), [])


def _beginning(model: onnx.ModelProto, constants: Mapping[str, TensorProto]) -> list[NodeProto] | None:
    """Return the nodes from the image to the first convolution, or None where the graph begins otherwise."""
    steps: list[NodeProto] = []
    name = INPUT
    for kind in _STEPS:
        readers = [node for node in model.graph.node if name in node.input and node.op_type != "Shape"]
        if len(readers) != 1 or readers[0].op_type != kind or readers[0].input[0] != name:
            return None
        steps.append(readers[0])
        name = readers[0].output[0]
    *_, centred, scaled, pad, conv = steps
    known = all(each in constants for each in (centred.input[1], scaled.input[1], *conv.input[1:]))
    plain = settings(pad).get("mode", b"constant") == b"constant" and len(pad.input) <= 3  # axes would be a fourth
    zeros = (
        len(pad.input) < 3
        or not pad.input[2]
        or (pad.input[2] in constants and not numpy_helper.to_array(constants[pad.input[2]]).any())
    )
    whole = settings(conv).get("group", 1) == 1 and settings(conv).get("auto_pad", b"NOTSET") == b"NOTSET"
    return steps if known and plain and zeros and whole else None


def _values(constants: Mapping[str, TensorProto], name: str) -> NDArray[np.float64]:
    values: NDArray[np.float64] = numpy_helper.to_array(constants[name]).astype(np.float64)
    return values
