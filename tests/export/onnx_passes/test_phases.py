"""Convolutions of doubled maps at the small size: the numbers of torch's own, at every size, odd ones too."""

import dataclasses

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch.nn import functional as F

from maskline.builders.model import segmentor
from maskline.export import onnx_graph, package
from maskline.export.interface import WHOLE
from maskline.export.onnx_passes.phases import in_blocks, in_phases
from maskline.export.runtime_onnx import OnnxModel
from maskline.export.trace import trace
from maskline.params.whole import validate_params
from maskline.runtime.torch_seeds import seed_torch
from tools.trial import complete_params

SMALL, SKIP = 16, 5


def values(*shape):
    return np.random.default_rng(len(shape) + shape[0]).normal(size=shape).astype(np.float32)


WEIGHTS = {
    "wide": values(20, SMALL, 3, 3),
    "beside": values(20, SMALL + 2 * SKIP, 3, 3),
    "next": values(6, 20, 3, 3),
    "last": values(3, 6, 3, 3),
    "bias": values(20),
}


def graph(nodes, *, channels=SMALL):
    """A file with the maps ``small`` and ``skip`` as inputs and the last node's result as its output."""
    made = helper.make_graph(
        nodes,
        "test",
        [
            helper.make_tensor_value_info("small", TensorProto.FLOAT, ["n", channels, "h", "w"]),
            helper.make_tensor_value_info("skip", TensorProto.FLOAT, ["n", SKIP, "H", "W"]),
        ],
        [helper.make_tensor_value_info(nodes[-1].output[0], TensorProto.FLOAT, ["n", "C", "h2", "w2"])],
        [numpy_helper.from_array(value, name) for name, value in WEIGHTS.items()]
        + [numpy_helper.from_array(np.array([1, 1, 2, 2], np.float32), "factors")],
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    return model.SerializeToString(deterministic=True)


def conv(source, weight, result, **attributes):
    return helper.make_node("Conv", [source, *weight.split()], [result], **{"pads": [1, 1, 1, 1], **attributes})


def doubling(mode="nearest", source="seen"):
    return helper.make_node(
        "Resize",
        [source, "", "factors"],
        ["up"],
        mode=mode,
        coordinate_transformation_mode="asymmetric",
        nearest_mode="floor",
    )


SEEN = helper.make_node("Relu", ["small"], ["seen"])
BESIDE = helper.make_node("Concat", ["up", "skip", "skip"], ["joined"], axis=1)


def operations(content):
    return [node.op_type for node in onnx.load_from_string(content).graph.node]


def run(content, feed):
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    return session.run(None, {value.name: feed[value.name] for value in session.get_inputs()})[0]


def maps(height, width, batch=1):
    rng = np.random.default_rng(height * width)
    shapes = {"small": (batch, SMALL, height, width), "skip": (batch, SKIP, 2 * height, 2 * width)}
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def expected(feed, *layers, beside):
    """The same by torch: doubling, then each (weight, bias, relu)."""
    small, skip = (torch.from_numpy(feed[name]) for name in ("small", "skip"))
    found = F.interpolate(F.relu(small), scale_factor=2, mode="nearest")
    found = torch.cat([found, skip, skip], 1) if beside else found
    for weight, bias, relu in layers:
        found = F.conv2d(
            found, torch.from_numpy(WEIGHTS[weight]), torch.from_numpy(WEIGHTS[bias]) if bias else None, padding=1
        )
        found = F.relu(found) if relu else found
    return found.numpy()


@pytest.mark.parametrize("size", [(1, 1), (1, 4), (3, 7), (5, 2), (8, 8), (33, 17)])
@pytest.mark.parametrize("beside", [False, True])
@pytest.mark.parametrize("relu", [False, True])
def test_one_layer_is_torchs(size, beside, relu):
    weight, bias = ("beside", "bias") if beside else ("wide", "")
    nodes = [SEEN, doubling(), *([BESIDE] if beside else [])]
    nodes.append(conv("joined" if beside else "up", f"{weight} {bias}", "seen_large"))
    nodes += [helper.make_node("Relu", ["seen_large"], ["y"])] if relu else []
    content = graph(nodes)
    found = in_phases(content)
    assert "Resize" not in operations(found)
    assert operations(found).count("Conv") == (8 if beside else 4)
    assert operations(found).count("Relu") == 1 + 4 * relu
    feed = maps(*size, batch=2)
    want = expected(feed, (weight, bias, relu), beside=beside)
    assert want.shape == (2, 20, 2 * size[0], 2 * size[1])
    np.testing.assert_allclose(run(found, feed), want, rtol=1e-4, atol=1e-4)
    assert in_phases(content) == found
    shapes = {value.name: str(value.type.tensor_type.shape) for value in onnx.load_from_string(found).graph.value_info}
    sums = [node for node in onnx.load_from_string(found).graph.node if node.op_type == "Add"]
    assert len(sums) == 4 * beside
    assert all(shapes[node.input[0]] == shapes[node.input[1]] for node in sums)  # known, so the runtime joins them


@pytest.mark.parametrize("size", [(1, 1), (3, 7), (16, 9)])
@pytest.mark.parametrize("beside", [False, True])
def test_few_channels_by_blocks(size, beside):
    weight = "beside" if beside else "wide"
    nodes = [SEEN, doubling(), *([BESIDE] if beside else []), conv("joined" if beside else "up", f"{weight} bias", "a")]
    nodes += [helper.make_node("Relu", ["a"], ["b"]), conv("b", "next", "c"), conv("c", "last", "y")]
    content = graph(nodes)
    alone = in_blocks(onnx.load_from_string(content)).SerializeToString()
    assert ("Resize" in operations(alone), "Resize" in operations(in_phases(content))) == (True, False)
    feed = maps(*size)
    want = expected(feed, (weight, "bias", True), ("next", "", False), ("last", "", False), beside=beside)
    for found in (in_phases(content), alone):
        assert operations(found)[-1] == "DepthToSpace"
        np.testing.assert_allclose(run(found, feed), want, rtol=1e-4, atol=2e-3)


def test_few_channels_of_a_map_that_may_be_odd_stay():
    content = graph([SEEN, conv("seen", "wide", "a"), conv("a", "next", "b"), conv("b", "last", "y")])
    assert in_phases(content) is content
    assert in_blocks(onnx.load_from_string(content)).SerializeToString(deterministic=True) == content


OTHERS = {
    "another kernel's edges": [SEEN, doubling(), conv("up", "wide", "y", pads=[0, 0, 0, 0])],
    "stride": [SEEN, doubling(), conv("up", "wide", "y", strides=[2, 2])],
    "dilation": [SEEN, doubling(), conv("up", "wide", "y", dilations=[2, 2])],
    "blurred": [SEEN, doubling("linear"), conv("up", "wide", "y")],
    "seen by two": [
        SEEN,
        doubling(),
        conv("up", "wide", "a"),
        conv("up", "wide", "b"),
        helper.make_node("Add", ["a", "b"], ["y"]),
    ],
    "doubled second": [
        SEEN,
        doubling(),
        helper.make_node("Concat", ["skip", "skip", "up"], ["joined"], axis=1),
        conv("joined", "beside", "y"),
    ],
}


@pytest.mark.parametrize("kind", OTHERS)
def test_others_stay(kind):
    content = graph(OTHERS[kind])
    assert in_phases(content) is content


def test_few_channels_before_the_doubling_stay():
    few = graph([SEEN, doubling(), conv("up", "few", "y")], channels=8)
    model = onnx.load_from_string(few)
    model.graph.initializer.append(numpy_helper.from_array(values(20, 8, 3, 3), "few"))
    content = model.SerializeToString()
    assert in_phases(content) is content


@pytest.mark.parametrize("resize", [None, (64, 96)])
def test_a_network_agrees_with_torch(shipped_params, trained, tmp_path, resize):
    settings = complete_params(shipped_params)
    settings["model"]["type"] = "smp"
    settings["model"]["smp"] |= {"architecture": "Unet", "encoder": "tu-test_resnet"}
    seed_torch(0)
    network = segmentor(validate_params(settings).model, num_classes=3).eval()
    one = dataclasses.replace(trained, network=network, interface=dataclasses.replace(WHOLE, resize=resize))
    program = trace(one.deployable(), example_size=(64, 96))
    content = in_phases(onnx_graph.to_onnx(program, opset=18, metadata=package.describe(one, example_size=(64, 96))))
    # Neither the five doublings nor one to the size that is there.
    assert operations(content).count("Resize") == (0 if resize is None else 2)
    assert "DepthToSpace" in operations(content)
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    model, reference = OnnxModel(path, threads=1), one.runtime(threads=1)
    for size in ((16, 16), (33, 47), (101, 75)):
        images = np.random.default_rng(1).integers(0, 256, (2, *size, 3), dtype=np.uint8)
        found, want = model.predict(images), reference.predict(images)
        np.testing.assert_allclose(found.probabilities, want.probabilities, atol=1e-5)
        assert np.mean(found.labels != want.labels) < 1e-3
