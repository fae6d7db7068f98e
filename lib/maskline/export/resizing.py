"""Nearest resizing by whole factors, written so that runtimes are fast at it. The results are the same, bit for bit.

Shapes: N batch, C channels, H height, W width.
"""

from collections.abc import MutableSequence

import onnx
import torch
from onnx import NodeProto, helper, numpy_helper
from torch.export import ExportedProgram
from torch.fx.experimental.symbolic_shapes import statically_known_true

_NEAREST = torch.ops.aten.upsample_nearest2d.vec


def with_factors(program: ExportedProgram) -> None:
    """Give nearest resizing its factor instead of a size, wherever the tracer knows that one is twice the other.

    onnxruntime keeps its own layout of features through a Resize with constant factors only.

    Args:
        program: Changed in place.
    """
    for node in program.graph_module.graph.nodes:
        if node.target is _NEAREST and node.args[1] is not None:
            before, after = node.args[0].meta["val"].shape[2:], node.meta["val"].shape[2:]
            if all(statically_known_true(large == 2 * small) for small, large in zip(before, after, strict=True)):
                node.args = (node.args[0], None, [2.0, 2.0])
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
    nodes = list(model.graph.node)
    del model.graph.node[:]
    for node in nodes:
        factors = _factors(node, constants)
        model.graph.node.extend([node] if factors is None else _gathers(node, factors, model.graph.initializer))
    used = {name for node in model.graph.node for name in node.input}
    for value in [value for value in model.graph.initializer if value.name not in used]:
        model.graph.initializer.remove(value)
    return model


def _factors(node: NodeProto, constants: dict[str, onnx.TensorProto]) -> tuple[int, int] | None:
    """Return the factors of H and W, or None where the node is another operation or has none."""
    if node.op_type != "Resize" or len(node.input) != 3 or node.input[2] not in constants:
        return None
    settings = {each.name: helper.get_attribute_value(each) for each in node.attribute}
    if settings.get("mode", b"nearest") != b"nearest":
        return None
    factors = numpy_helper.to_array(constants[node.input[2]]).tolist()
    if factors[:2] != [1, 1] or any(factor != int(factor) for factor in factors):
        return None
    return int(factors[2]), int(factors[3])


def _gathers(
    node: NodeProto, factors: tuple[int, int], initializer: MutableSequence[onnx.TensorProto]
) -> list[NodeProto]:
    """Return the nodes that stand for a Resize: rows, then columns, each taken as often as its factor says."""
    made: list[NodeProto] = []

    def add(kind: str, inputs: list[str], name: str, **attributes: object) -> str:
        name = f"{node.name}_{name}"
        made.append(helper.make_node(kind, inputs, [name], name=name, **attributes))
        return name

    def constant(name: str, value: int) -> str:
        name = f"{node.name}_{name}"
        initializer.append(helper.make_tensor(name, onnx.TensorProto.INT64, [], [value]))
        return name

    zero, one = constant("zero", 0), constant("one", 1)
    found = add("Transpose", [node.input[0]], "nhwc", perm=[0, 2, 3, 1])
    shape = add("Shape", [found], "shape")
    for axis, factor in zip((1, 2), factors, strict=True):
        times = constant(f"times_{axis}", factor)
        length = add("Gather", [shape, constant(f"axis_{axis}", axis)], f"length_{axis}")
        steps = add("Range", [zero, add("Mul", [length, times], f"target_{axis}"), one], f"range_{axis}")
        found = add("Gather", [found, add("Div", [steps, times], f"source_{axis}")], f"gathered_{axis}", axis=axis)
    made.append(helper.make_node("Transpose", [found], [node.output[0]], name=node.name, perm=[0, 3, 1, 2]))
    return made
