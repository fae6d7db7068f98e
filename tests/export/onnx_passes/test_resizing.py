"""Nearest resizing in forms that runtimes are fast at: the same numbers, at every size."""

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from maskline.export.onnx_passes.resizing import as_gather, with_factors


def operations(model):
    return [node.op_type for node in model.graph.node]


class Doubled(nn.Module):
    """Resizes by a size that is twice the input's, as decoders do, then to a size that is not."""

    def forward(self, x):
        large = F.interpolate(x, size=(2 * x.shape[2], 2 * x.shape[3]), mode="nearest")
        return large, F.interpolate(x, size=(3 * x.shape[2], 3 * x.shape[3]), mode="nearest")


def test_twice_the_size_is_a_factor():
    sizes = {2: torch.export.Dim("h", min=2), 3: torch.export.Dim("w", min=2)}
    program = torch.export.export(Doubled(), (torch.zeros(1, 2, 6, 8),), dynamic_shapes=(sizes,))
    with_factors(program)
    resizes = [node for node in program.graph_module.graph.nodes if "upsample" in str(node.target)]
    assert [node.args[1] is None for node in resizes] == [True, False]
    x = torch.randn(1, 2, 5, 3)
    for found, expected in zip(program.module()(x), Doubled()(x), strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=0)


class Bilinear(nn.Module):
    """Resizes to the size that is there, and to another."""

    def forward(self, x):
        sizes = (x.shape[2:], (x.shape[2] + 1, x.shape[3]))
        return [F.interpolate(x, size=size, mode="bilinear", align_corners=False) + 1 for size in sizes]


def test_resizing_to_the_same_size_goes():
    sizes = {2: torch.export.Dim("h", min=2), 3: torch.export.Dim("w", min=2)}
    program = torch.export.export(Bilinear(), (torch.zeros(1, 2, 6, 8),), dynamic_shapes=(sizes,))
    with_factors(program)
    resizes = [node for node in program.graph_module.graph.nodes if "upsample" in str(node.target)]
    assert len(resizes) == 1
    x = torch.randn(1, 2, 5, 3)
    for found, expected in zip(program.module()(x), Bilinear()(x), strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=0)


def resize(factors, mode="nearest", rounding="floor"):
    make = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [
            onnx.helper.make_node(
                "Resize",
                ["x", "", "factors"],
                ["y"],
                name="up",
                mode=mode,
                coordinate_transformation_mode="asymmetric",
                nearest_mode=rounding,
            )
        ],
        "test",
        [make("x", onnx.TensorProto.FLOAT, ["n", 3, "h", "w"])],
        [make("y", onnx.TensorProto.FLOAT, ["n", 3, "H", "W"])],
        [onnx.numpy_helper.from_array(np.array(factors, np.float32), "factors")],
    )
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=10)


def run(model, x):
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})[0]


@pytest.mark.parametrize("factors", [(2, 2), (4, 2), (1, 3)])
def test_gathers_are_the_resize(factors):
    x = np.random.default_rng(0).normal(size=(2, 3, 5, 7)).astype(np.float32)
    gathered = as_gather(resize((1, 1, *factors)))
    assert "Resize" not in operations(gathered)
    assert operations(gathered).count("Transpose") == 2
    onnx.checker.check_model(gathered)
    np.testing.assert_array_equal(run(gathered, x), x.repeat(factors[0], 2).repeat(factors[1], 3))


@pytest.mark.parametrize(
    ("factors", "mode", "rounding"),
    [((1, 1, 1.5, 2), "nearest", "floor"), ((1, 1, 2, 2), "linear", "floor"), ((1, 1, 2, 2), "nearest", "ceil")],
)
def test_other_resizes_stay(factors, mode, rounding):
    assert operations(as_gather(resize(factors, mode, rounding))) == ["Resize"]
