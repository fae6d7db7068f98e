"""Smaller numbers: still the same network, half and a quarter of the size, the same bytes each time."""

import dataclasses
import logging

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import nn

from maskline.core.errors import ExportError
from maskline.export import onnx_graph, package, precision
from maskline.export.onnx_passes.rounding import to_steps
from maskline.export.runtime_onnx import OnnxModel
from maskline.export.trace import trace
from maskline.models.scale import scaled_size
from maskline.models.segmentor import SegmentorBase


@pytest.fixture
def images(pictures):
    return [pictures.sample(i).image for i in range(len(pictures))]


def disagreement(model_file, content, images, tmp_path):
    """Share of pixels with another class, and the largest difference in probability."""
    path = tmp_path / "variant.onnx"
    path.write_bytes(content)
    expected, found = OnnxModel(model_file, threads=1), OnnxModel(path, threads=1)
    assert found.metadata == expected.metadata
    differs, distance = [], 0.0
    for image in images:
        one, other = expected.predict(image[None]), found.predict(image[None])
        assert (other.labels.dtype, other.probabilities.dtype) == (one.labels.dtype, np.float32)
        differs.append((one.labels != other.labels).mean())
        distance = max(distance, float(np.abs(one.probabilities - other.probabilities).max()))
    return max(differs), distance


def differing(model_file, content, images, tmp_path):
    """Number of pixels with another class."""
    path = tmp_path / "variant.onnx"
    path.write_bytes(content)
    expected, found = OnnxModel(model_file, threads=1), OnnxModel(path, threads=1)
    return sum(int((expected.predict(each[None]).labels != found.predict(each[None]).labels).sum()) for each in images)


def int8(content, images, *, min_agreement=0.0):
    return precision.to_int8(content, images=images, min_agreement=min_agreement, threads=1)


def quantized_convolutions(content):
    """Names of the convolutions whose weights are eight bits."""
    return eight_bits(onnx.load_from_string(content).graph)


def eight_bits(graph):
    dequantized = {node.output[0] for node in graph.node if node.op_type == "DequantizeLinear"}
    return {node.name for node in graph.node if node.op_type == "Conv" and node.input[1] in dequantized}


def constants(content):
    return {
        onnx.TensorProto.DataType.Name(value.data_type) for value in onnx.load_from_string(content).graph.initializer
    }


def test_fp16(model_file, content, images, tmp_path):
    half = precision.to_fp16(content)
    assert "FLOAT16" in constants(half)
    differs, distance = disagreement(model_file, half, images, tmp_path)
    assert differs < 0.01
    assert 0 < distance < 0.02
    assert precision.to_fp16(content) == half


def test_int8(model_file, content, images, tmp_path, caplog):
    small = int8(content, images)
    model = onnx.load_from_string(small)
    values = {value.name: value for value in model.graph.initializer}
    makers = {node.output[0]: node for node in model.graph.node}
    first = next(node for node in model.graph.node if node.op_type == "Conv")
    picture, weight = (makers[name] for name in first.input[:2])
    assert (picture.op_type, weight.op_type) == ("DequantizeLinear", "DequantizeLinear")
    assert list(values[weight.input[1]].dims) == [8]  # a scale for each of the eight output channels
    assert values[weight.input[0]].data_type == onnx.TensorProto.INT8
    assert makers[picture.input[0]].op_type == "Concat"  # the image's bytes, not rounded a second time
    assert numpy_helper.to_array(values[picture.input[1]]) == 1
    differs, distance = disagreement(model_file, small, images, tmp_path)
    assert differs < 0.1  # random weights; how near a trained network comes is for the gate
    assert 0 < distance < 0.3
    assert int8(content, iter(images)) == small
    assert not caplog.records


def test_sensitive_operations_stay_in_float(model_file, content, images, tmp_path):
    small, careful = int8(content, images), int8(content, images, min_agreement=0.999)
    every = quantized_convolutions(small)
    assert len(every) == 3  # all but the last
    assert quantized_convolutions(careful) < every
    pixels = sum(image.shape[0] * image.shape[1] for image in images)
    worse, better = (differing(model_file, each, images, tmp_path) / pixels for each in (small, careful))
    assert better <= 1 - 0.999 < worse
    assert int8(content, images, min_agreement=0.999) == careful
    assert int8(content, images, min_agreement=1e-6) == small


def test_weights_are_those_that_keep_sums(content, images):
    """The quantizer finds the steps that the weights were rounded to."""
    exact, small = (onnx.load_from_string(each).graph for each in (content, int8(content, images)))
    values = {value.name: numpy_helper.to_array(value) for graph in (exact, small) for value in graph.initializer}
    makers = {node.output[0]: node for node in small.node}
    convs = [{node.name: node for node in graph.node if node.op_type == "Conv"} for graph in (exact, small)]
    compared = 0
    for name in eight_bits(small):
        weight = values[convs[0][name].input[1]]
        stored, scale, _ = (values[each] for each in makers[convs[1][name].input[1]].input)
        if weight.shape[1] > 3:  # the first one's have the normalization in them
            np.testing.assert_allclose(stored * scale.reshape(-1, 1, 1, 1), to_steps(weight), rtol=1e-5, atol=1e-7)
            compared += 1
    assert compared == 2


class _Mixer(SegmentorBase):
    """A convolution, linear layers over channels with their sums, and a convolution."""

    def __init__(self, layers):
        super().__init__(num_classes=3, stride=1, align_corners=False)
        self.stem, self.head = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 3, 1)
        self.layers = nn.ModuleList(nn.Linear(8, 8) for _ in range(layers))

    def run_heads(self, images, *, auxiliary):
        found = self.stem(images).permute(0, 2, 3, 1)
        for layer in self.layers:
            found = found + layer(found)
        return {"decode_head": self.head(found.permute(0, 3, 1, 2))}

    def supervise_heads(self, images, target):
        raise NotImplementedError


@pytest.mark.parametrize(("layers", "in_float"), [(3, True), (1, False)])
def test_sums_between_matrix_products_stay_in_float(trained, images, layers, in_float):
    torch.manual_seed(0)
    mixer = dataclasses.replace(trained, network=_Mixer(layers).eval())
    program = trace(mixer.deployable(), example_size=(40, 48))
    about = package.describe(mixer, example_size=(40, 48))
    graph = onnx.load_from_string(int8(onnx_graph.to_onnx(program, opset=18, metadata=about), images)).graph
    eight_bit = {node.output[0] for node in graph.node if node.op_type == "DequantizeLinear"}
    kinds = {node.op_type for node in graph.node if node.input and eight_bit.issuperset(node.input)}
    assert "MatMul" in kinds or "Gemm" in kinds
    assert ("Add" not in kinds) == in_float


@pytest.mark.parametrize("most", [1, 2, 7, 64])
def test_the_fewest_are_found_in_few_tries(most):
    for needed in range(1, most + 2):
        tried = []
        found = precision.fewest(most, lambda count: tried.append(count) or min(1, count / needed), least=1)  # noqa: B023
        assert found == min(needed, most)
        assert len(tried) <= 12
        assert len(set(tried)) == len(tried)


@pytest.mark.parametrize(
    ("agreement", "found"),
    [
        ({1: 0.2, 2: 0.9, 4: 0.5, 7: 0.8}, 2),  # none is enough: the best
        ({1: 0.2, 2: 0.7, 4: 0.7, 7: 0.5}, 2),  # the smallest of equals
        ({1: 0.2, 2: 0.9, 4: 1.0, 3: 0.5}, 4),  # enough, though three agree less than two
        ({1: 0.2, 2: 0.9, 4: 0.5, 7: 1.0, 5: 0.6, 6: 0.4}, 7),
    ],
)
def test_more_in_float_may_agree_less(agreement, found):
    assert precision.fewest(7, agreement.__getitem__, least=1) == found


def test_no_operation_to_leave():
    assert precision.fewest(0, lambda count: 1 / count, least=1) == 0


def test_ranges_come_from_the_images(content, images):
    dark = [image // 8 for image in images]
    assert int8(content, dark) != int8(content, images)


def test_large_images_are_cropped():
    image = np.arange(600 * 20 * 3, dtype=np.uint32).reshape(600, 20, 3)
    assert precision._middle(image, None).shape == (512, 20, 3)
    np.testing.assert_array_equal(precision._middle(image, None), image[44:556])


@pytest.mark.parametrize(("size", "part"), [((600, 1000), (600, 600)), ((1000, 600), (600, 600)), ((100, 1000), None)])
def test_ranges_are_taken_at_the_factor_of_the_whole_image(size, part):
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    middle = precision._middle(image, (400, 800))
    assert middle.shape[:2] == (part or size)
    factors = {scaled_size(each, (400, 800))[0] / each[0] for each in (size, middle.shape[:2])}
    assert max(factors) - min(factors) < 0.01


def test_a_graph_that_cannot_be_quantized(content, images):
    wrong = [image.astype(np.float32) for image in images]
    with pytest.raises(ExportError, match=r"int8: .*; leave int8 out of export.variants"):
        int8(content, wrong)
    assert logging.root.manager.disable == logging.NOTSET
