"""New nodes have names of their own, and nothing is left that leads nowhere."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from maskline.export.onnx_passes.nodes import Made, replace_nodes, settings


def model():
    nodes = [
        helper.make_node("Mul", ["x", "two"], ["double"]),
        helper.make_node("Add", ["double", "one"], ["y"]),
        helper.make_node("Neg", ["double"], ["unseen"]),
    ]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None]) for name in ("x", "y")]
    constants = [numpy_helper.from_array(np.array([n], np.float32), name) for n, name in ((1, "one"), (2, "two"))]
    graph = helper.make_graph(nodes, "test", values[:1], values[1:], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def test_what_leads_nowhere_goes():
    given = model()
    made = Made("y")
    made.add("Sub", ["x", made.constant("three", np.array([3], np.float32))], "")
    made.add("Relu", [made.add("Softmax", ["x"], "shares", axis=0)], "unused")
    made.say_shape("y", ["n"])
    replace_nodes(given, [*given.graph.node[:1], *made.nodes], made.constants, made.shapes)
    onnx.checker.check_model(given)
    assert [(node.op_type, node.name, *node.output) for node in given.graph.node] == [("Sub", "y", "y")]
    assert [value.name for value in given.graph.initializer] == ["y_three"]
    assert [value.name for value in given.graph.value_info] == ["y"]


def test_names_and_settings():
    made = Made("up")
    assert made.add("Softmax", ["x"], "shares", axis=1) == "up_shares"
    assert made.constant("two", np.array(2)) == "up_two"
    assert settings(made.nodes[0]) == {"axis": 1}
