"""Nearest resizing by whole factors, written so that runtimes are fast at it. The results are the same, bit for bit.

Shapes: N batch, C channels, H height, W width.
"""

from collections.abc import Mapping

import numpy as np
import onnx
import torch
from onnx import NodeProto, TensorProto, numpy_helper
from torch.export import ExportedProgram
from torch.fx.experimental.symbolic_shapes import statically_known_true

from maskline.export.onnx_passes.nodes import Made, replace_nodes, settings

_NEAREST = torch.ops.aten.upsample_nearest2d.vec
_BILINEAR = torch.ops.aten.upsample_bilinear2d.vec

_DEFAULTS = {
    "mode": b"nearest",
    "coordinate_transformation_mode": b"half_pixel",
    "nearest_mode": b"round_prefer_floor",
}
"""Of Resize, as ONNX has them."""

# With whole factors, these two take each element so many times in a row.
_REPEATS = ((b"asymmetric", b"floor"), (b"half_pixel", b"round_prefer_floor"))


def with_factors(program: ExportedProgram) -> None:
    """Give nearest resizing its factor instead of a size, wherever the tracer knows that one is twice the other.

    onnxruntime keeps its own layout of features through a Resize with constant factors only. Bilinear resizing to the
    size that is there already goes.

    Args:
        program: Changed in place.
    """
    for node in program.graph_module.graph.nodes:
        if node.target in (_NEAREST, _BILINEAR) and node.args[1] is not None:
            factor = 2 if node.target is _NEAREST else 1
            before, after = node.args[0].meta["val"].shape[2:], node.meta["val"].shape[2:]
            if not all(statically_known_true(new == factor * old) for old, new in zip(before, after, strict=True)):
                continue
            if node.target is _NEAREST:
                node.args = (node.args[0], None, [2.0, 2.0])
            else:
                node.replace_all_uses_with(node.args[0])
    program.graph_module.graph.eliminate_dead_code()
    program.graph_module.recompile()


def as_gather(model: onnx.ModelProto) -> onnx.ModelProto:
    """Write each nearest Resize with constant whole factors as two Gathers over NHWC.

    onnxruntime computes in eight bits over NHWC, where its Resize takes an element at a time and a Gather copies all
    channels at once; the Transposes around it vanish, since they undo the runtime's own.

    Args:
        model: Changed in place.

    Returns:
        The same object.
    """
    constants = {value.name: value for value in model.graph.initializer}
    nodes: list[NodeProto] = []
    new_constants: list[TensorProto] = []
    for node in model.graph.node:
        factors = nearest_factors(node, constants)
        part = Made("", [node]) if factors is None else _gathers(node, factors)
        nodes += part.nodes
        new_constants += part.constants
    replace_nodes(model, nodes, new_constants)
    return model


def nearest_factors(node: NodeProto, constants: Mapping[str, TensorProto]) -> tuple[int, int] | None:
    """Return the factors of H and W of a nearest Resize by whole ones, or None for every other node."""
    if node.op_type != "Resize" or len(node.input) != 3 or node.input[2] not in constants:
        return None
    attributes = settings(node)
    mode, center, rounding = (attributes.get(name, default) for name, default in _DEFAULTS.items())
    if mode != b"nearest" or (center, rounding) not in _REPEATS:
        return None
    factors = numpy_helper.to_array(constants[node.input[2]]).tolist()
    if factors[:2] != [1, 1] or any(factor != int(factor) for factor in factors):
        return None
    return int(factors[2]), int(factors[3])


def _gathers(node: NodeProto, factors: tuple[int, int]) -> Made:
    """Return what stands for a Resize: rows, then columns, each taken as often as its factor says."""
    replacement = Made(node.output[0])

    def constant(name: str, value: int) -> str:
        return replacement.constant(name, np.array(value, np.int64))

    zero, one = constant("zero", 0), constant("one", 1)
    map_name = replacement.add("Transpose", [node.input[0]], "nhwc", perm=[0, 2, 3, 1])
    shape = replacement.add("Shape", [map_name], "shape")
    for axis, factor in zip((1, 2), factors, strict=True):
        times = constant(f"times_{axis}", factor)
        length = replacement.add("Gather", [shape, constant(f"axis_{axis}", axis)], f"length_{axis}")
        steps = replacement.add(
            "Range", [zero, replacement.add("Mul", [length, times], f"target_{axis}"), one], f"range_{axis}"
        )
        source = replacement.add("Div", [steps, times], f"source_{axis}")
        map_name = replacement.add("Gather", [map_name, source], f"gathered_{axis}", axis=axis)
    replacement.add("Transpose", [map_name], "", perm=[0, 3, 1, 2])
    return replacement
