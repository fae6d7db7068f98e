"""Weights in whole steps: the steps are the quantizer's, kernels keep their sums, layers their mean results."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from maskline.export.onnx_passes.rounding import input_means, round_weights, to_steps


@pytest.mark.parametrize("shape", [(6, 4, 3, 3), (5, 1, 7, 7), (3, 8, 2, 1), (4, 9, 1, 1)])
def test_kernels_keep_their_sums(shape):
    weight = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    steps = np.abs(weight).max((1, 2, 3), keepdims=True).astype(np.float64) / 127
    found = to_steps(weight)
    whole = found / steps
    np.testing.assert_allclose(whole, np.rint(whole), atol=1e-9)
    assert np.abs(whole).max() < 127.001
    assert (np.abs(found - weight) < steps * 1.001).all()
    assert (np.abs((found - weight).sum((2, 3))) < steps[:, :, 0, 0] * 0.501).all()
    one_by_one = np.rint(weight / steps)
    if shape[2:] == (1, 1):
        np.testing.assert_array_equal(np.rint(whole), one_by_one)
    else:
        assert (np.abs((one_by_one * steps - weight).sum((2, 3))) > steps[:, :, 0, 0] * 0.501).any()


def test_no_weight_is_no_step():
    weight = np.zeros((2, 3, 3, 3), np.float32)
    weight[1, 0, 0, 0] = -2
    np.testing.assert_array_equal(to_steps(weight), weight)


def layer(weight, bias, *, groups):
    """A file: uint8 images NHWC, one convolution without padding."""
    nodes = [
        helper.make_node("Transpose", ["images"], ["bytes"], perm=[0, 3, 1, 2], name="turn"),
        helper.make_node("Cast", ["bytes"], ["levels"], to=TensorProto.FLOAT, name="cast"),
        helper.make_node("Conv", ["levels", "w", *(["b"] if bias is not None else [])], ["y"], name="c", group=groups),
    ]
    values = {"w": weight} | ({"b": bias} if bias is not None else {})
    made = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info("images", TensorProto.UINT8, ["n", "h", "w", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 6, "H", "W"])],
        [numpy_helper.from_array(value, name) for name, value in values.items()],
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def results(model, image):
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"images": image})[0]


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("has_bias", [True, False])
def test_a_layer_keeps_its_mean(groups, has_bias):
    rng = np.random.default_rng(3)
    weight = rng.normal(size=(6, 4 // groups, 3, 3)).astype(np.float32)
    bias = rng.normal(size=6).astype(np.float32) if has_bias else None
    image = np.broadcast_to(np.array([200, 10, 90, 40], np.uint8), (1, 9, 8, 4)).copy()
    exact = layer(weight, bias, groups=groups)
    means = input_means(exact, [image, image // 2], threads=1)
    np.testing.assert_allclose(means["levels"], [150, 7.5, 67.5, 30])
    means = input_means(exact, [image], threads=1)
    found, uncorrected = onnx.ModelProto(), onnx.ModelProto()
    for model, given in ((found, means), (uncorrected, {"levels": np.zeros(4)})):
        model.CopyFrom(exact)
        round_weights(model, means=given, in_float=[])
    want = results(exact, image)
    np.testing.assert_allclose(results(found, image), want, rtol=1e-5, atol=1e-3)
    assert np.abs(results(uncorrected, image) - want).max() > 0.1
    other = rng.integers(0, 256, image.shape, dtype=np.uint8)
    assert np.abs(results(found, other) - results(exact, other)).max() > 1e-3
    round_weights(exact, means=means, in_float=["c"])
    assert exact.graph.initializer[0].name == "w"
