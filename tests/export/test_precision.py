"""Smaller numbers: still the same network, half and a quarter of the size, the same bytes each time."""

import logging

import numpy as np
import onnx
import pytest

from maskline.errors import ExportError
from maskline.export import precision
from maskline.export.runtime_onnx import OnnxModel


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
    graph = onnx.load_from_string(content).graph
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
    scales = {value.name: value for value in model.graph.initializer}
    (weight,) = (node for node in model.graph.node if node.input and node.input[0].startswith("network.stem.weight"))
    assert weight.op_type == "DequantizeLinear"
    assert list(scales[weight.input[1]].dims) == [8]  # a scale for each of the eight output channels
    assert scales[weight.input[0]].data_type == onnx.TensorProto.INT8
    differs, distance = disagreement(model_file, small, images, tmp_path)
    assert differs < 0.1  # random weights; how near a trained network comes is for the gate
    assert 0 < distance < 0.3
    assert int8(content, iter(images)) == small
    assert not caplog.records


def test_sensitive_operations_stay_in_float(model_file, content, images, tmp_path):
    small, careful = int8(content, images), int8(content, images, min_agreement=0.993)
    every = quantized_convolutions(small)
    assert len(every) == 3  # all but the last
    assert quantized_convolutions(careful) < every
    pixels = sum(image.shape[0] * image.shape[1] for image in images)
    worse, better = (differing(model_file, each, images, tmp_path) / pixels for each in (small, careful))
    assert better <= 1 - 0.993 < worse
    assert int8(content, images, min_agreement=0.993) == careful
    assert int8(content, images, min_agreement=1e-6) == small


@pytest.mark.parametrize("most", [1, 2, 7, 64])
def test_the_fewest_are_found_in_few_tries(most):
    for needed in range(1, most + 2):
        tried = []
        found = precision.fewest(most, lambda count: tried.append(count) or count >= needed)  # noqa: B023
        assert found == min(needed, most)
        assert len(tried) <= 12
        assert len(set(tried)) == len(tried)


def test_ranges_come_from_the_pictures(content, images):
    dark = [image // 8 for image in images]
    assert int8(content, dark) != int8(content, images)


def test_large_pictures_are_cropped():
    image = np.arange(600 * 20 * 3, dtype=np.uint32).reshape(600, 20, 3)
    assert precision._middle(image).shape == (512, 20, 3)
    np.testing.assert_array_equal(precision._middle(image), image[44:556])


def test_a_graph_that_cannot_be_quantized(content, images):
    wrong = [image.astype(np.float32) for image in images]
    with pytest.raises(ExportError, match=r"int8: .*; leave int8 out of export.variants"):
        int8(content, wrong)
    assert logging.root.manager.disable == logging.NOTSET
