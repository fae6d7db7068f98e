"""What rewriting an ONNX graph takes: new nodes and constants by name, and no leftovers."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import onnx
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper


@dataclass(frozen=True, slots=True)
class Made:
    """Nodes and constants that take a node's place, and what is known of their shapes.

    Args:
        prefix: Begins all their names; unique in the graph.
    """

    prefix: str
    nodes: list[NodeProto] = field(default_factory=list)
    constants: list[TensorProto] = field(default_factory=list)
    shapes: list[ValueInfoProto] = field(default_factory=list)

    def add(self, kind: str, inputs: Sequence[str], name: str, **attributes: object) -> str:
        """Add an operation of one output, and return that output's name; an empty name: the prefix itself."""
        name = f"{self.prefix}_{name}" if name else self.prefix
        self.nodes.append(helper.make_node(kind, list(inputs), [name], name=name, **attributes))
        return name

    def constant(self, name: str, value: NDArray[Any]) -> str:
        """Add a constant and return its name."""
        name = f"{self.prefix}_{name}"
        self.constants.append(numpy_helper.from_array(value, name))
        return name

    def say_shape(self, name: str, sides: Sequence[int | str]) -> None:
        """Note the shape of a float32 result; two sides of one name are equal."""
        self.shapes.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, sides))


def settings(node: NodeProto) -> dict[str, Any]:
    """Return a node's attributes by name."""
    return {each.name: helper.get_attribute_value(each) for each in node.attribute}


def replace_nodes(
    model: onnx.ModelProto,
    nodes: Sequence[NodeProto],
    constants: Sequence[TensorProto],
    shapes: Sequence[ValueInfoProto] = (),
) -> None:
    """Give a model other nodes and further constants; drop what leads to no output.

    Args:
        model: Changed in place.
        nodes: In an order in which they can be computed.
        constants: Beside those that the model has.
        shapes: Likewise.
    """
    graph = model.graph
    graph.initializer.extend(constants)
    graph.value_info.extend(shapes)
    used = {value.name for value in graph.output}
    kept = []
    for node in reversed(nodes):
        if used.intersection(node.output):
            kept.append(node)
            used.update(node.input)
    del graph.node[:]
    graph.node.extend(reversed(kept))
    for value in [value for value in graph.initializer if value.name not in used]:
        graph.initializer.remove(value)
