import json

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from maskline.core.errors import ExportError
from maskline.export import onnx_graph, package
from maskline.export.runtime_onnx import OnnxModel
from maskline.export.trace import Deployable, trace


def test_two_exports_have_the_same_bytes(trained, content):
    program = trace(trained.deployable(), example_size=(40, 48))
    again = onnx_graph.to_onnx(program, opset=18, metadata=package.describe(trained, example_size=(40, 48)))
    assert again == content


def test_inputs_outputs_and_opset(content):
    model = onnx.load_from_string(content)
    onnx.checker.check_model(model, full_check=True)

    def signature(value):
        shape = value.type.tensor_type.shape
        kind = onnx.TensorProto.DataType.Name(value.type.tensor_type.elem_type)
        return value.name, kind, [dim.dim_param or dim.dim_value for dim in shape.dim]

    assert [signature(value) for value in model.graph.input] == [("images", "UINT8", ["batch", "height", "width", 3])]
    assert [signature(value) for value in model.graph.output] == [
        ("labels", "UINT8", ["batch", "height", "width"]),
        ("probabilities", "FLOAT", ["batch", 3, "height", "width"]),
    ]
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 18)]


def test_nothing_of_this_machine_is_inside(content):
    for trace_of_machine in (b"stack_trace", b"/home", b"site-packages", b"conftest", b"maskline/export"):
        assert trace_of_machine not in content


def test_weights_are_inside(content):
    assert not any(value.external_data for value in onnx.load_from_string(content).graph.initializer)


def test_metadata_says_what_the_model_is(content):
    (entry,) = onnx.load_from_string(content).metadata_props
    assert entry.key == "maskline"
    value = json.loads(entry.value)
    assert list(value) == sorted(value)
    assert value["class_names"] == ["background", "disc", "vessel"]
    assert value["palette"][2] == [230, 60, 60]
    assert (value["mean"], value["std"]) == ([120, 110, 90], [60, 55, 50])
    assert value["ignore_index"] == 255
    assert value["receipt"] == "ab" * 32
    assert value["sizes"]["example"] == [40, 48]
    assert value["params"] == {"data": {"name": "folder"}, "model": {"type": "smp"}}


@pytest.mark.parametrize("size", [(16, 16), (17, 29), (33, 47), (32, 48), (101, 75), (24, 160)])
@pytest.mark.parametrize("batch", [1, 3])
def test_agrees_with_torch_at_every_size(trained, model_file, size, batch):
    images = np.random.default_rng(1).integers(0, 256, (batch, *size, 3), dtype=np.uint8)
    found = OnnxModel(model_file, threads=1).predict(images)
    expected = trained.runtime(threads=1).predict(images)
    assert found.labels.dtype == np.uint8
    np.testing.assert_allclose(found.probabilities, expected.probabilities, atol=1e-5)
    assert np.mean(found.labels != expected.labels) < 1e-3


def test_operator_set_that_the_exporter_cannot_reach_is_refused(trained):
    program = trace(trained.deployable(), example_size=(40, 48))
    with pytest.raises(ExportError, match=r"export.opset: 99 cannot be written for this network; set it to \d+"):
        onnx_graph.to_onnx(program, opset=99, metadata={})


class _Bessel(nn.Module):
    def forward(self, images):
        return torch.special.bessel_j0(images)


def test_operator_without_onnx_form_is_refused():
    model = Deployable(_Bessel(), num_classes=3, stride=1, mean=(0, 0, 0), std=(1, 1, 1)).eval()
    with pytest.raises(
        ExportError,
        match=r"onnx: prims.bessel_j0.default: No ONNX function.*; choose another export.opset, or a network",
    ):
        onnx_graph.to_onnx(trace(model, example_size=(40, 48)), opset=18, metadata={})
