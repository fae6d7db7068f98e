"""The first convolution sees gray levels: the same function, and padding in each channel's own mean color."""

import dataclasses

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from maskline.export import onnx_graph, package
from maskline.export.interface import Interface
from maskline.export.onnx_passes.gray_levels import LEVELS, with_gray_levels
from maskline.export.trace import Deployable, trace

MEAN, STD = (123.675, 116.28, 103.53), (58.0, 57.5, 57.0)


def exported(network, *, stride=1, mean=MEAN):
    logits = Interface(outputs=("logits",), resize=None, pad_multiple=None)
    model = Deployable(network, num_classes=4, stride=stride, mean=mean, std=STD[: len(mean)], interface=logits).eval()
    program = trace(model, example_size=(40, 48))
    return onnx.load_from_string(onnx_graph.to_onnx(program, opset=18, metadata={}, outputs=logits.names))


def run(model, image):
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"images": image})[0]


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("channels", [3, 2])
def test_a_layer_is_the_same(bias, channels):
    torch.manual_seed(0)
    layer = nn.Conv2d(channels, 4, 3, padding=1, bias=bias)
    model = exported(layer, stride=16, mean=MEAN[:channels])
    image = np.random.default_rng(0).integers(0, 256, (2, 21, 35, channels), dtype=np.uint8)
    want = run(model, image)
    assert with_gray_levels(model)
    onnx.checker.check_model(model)
    found = run(model, image)
    np.testing.assert_allclose(found[..., 1:-1, 1:-1], want[..., 1:-1, 1:-1], atol=1e-4)
    most = (
        0.5 * float(layer.weight.detach().abs().sum((1, 2, 3)).max()) / min(STD)
    )  # half a level in all that is padded
    assert 1e-4 < np.abs(found - want).max() < most


@pytest.mark.parametrize("size", [(16, 24), (17, 29), (64, 40)])
def test_a_network_is_the_same(content, size):
    """Its mean is of whole levels."""
    model = onnx.load_from_string(content)
    assert with_gray_levels(model)
    image = np.random.default_rng(1).integers(0, 256, (1, *size, 3), dtype=np.uint8)
    found, want = (
        onnxruntime.InferenceSession(each, providers=["CPUExecutionProvider"]).run(["probabilities"], {"images": image})
        for each in (model.SerializeToString(), content)
    )
    np.testing.assert_allclose(found[0], want[0], atol=1e-5)
    (first,) = (node for node in model.graph.node if LEVELS in node.input)
    assert first.op_type == "Conv"


class _Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, images):
        return self.layer(images) + images


def test_images_that_are_seen_twice_stay_normalized():
    model = exported(_Twice())
    before = model.SerializeToString(deterministic=True)
    assert not with_gray_levels(model)
    assert model.SerializeToString(deterministic=True) == before


def test_resized_images_stay_normalized(trained):
    resized = dataclasses.replace(trained, interface=Interface(outputs=("argmax",), resize=(48, 48), pad_multiple=None))
    program = trace(resized.deployable(), example_size=(40, 48))
    content = onnx_graph.to_onnx(
        program, opset=18, metadata=package.describe(resized, example_size=(40, 48)), outputs=("labels",)
    )
    assert not with_gray_levels(onnx.load_from_string(content))
