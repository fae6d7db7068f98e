import json

import numpy as np
import onnx
import onnxruntime
import pytest
from onnxruntime.capi.onnxruntime_pybind11_state import Fail

from maskline.core.errors import ExportError, ShapeError
from maskline.export import processor
from maskline.export.runtime_onnx import OnnxModel, open_session


def test_missing_file(tmp_path):
    with pytest.raises(ExportError, match=r"model.onnx: no such file; give a model.onnx"):
        OnnxModel(tmp_path / "model.onnx", threads=1)


def test_damaged_file(tmp_path, content):
    path = tmp_path / "model.onnx"
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(ExportError, match="cannot be loaded"):
        OnnxModel(path, threads=1)


def test_file_of_another_tool(tmp_path, content):
    model = onnx.load_from_string(content)
    del model.metadata_props[:]
    path = tmp_path / "model.onnx"
    onnx.save(model, path)
    with pytest.raises(ExportError, match="no metadata under the key maskline"):
        OnnxModel(path, threads=1)


def spoilt(content, *, outputs=None):
    """Return a file with nan for its first weight, and only some outputs."""
    model = onnx.load_from_string(content)
    weight = next(one for one in model.graph.initializer if len(one.dims) == 4)
    values = onnx.numpy_helper.to_array(weight).copy()
    values.flat[0] = np.nan
    weight.CopyFrom(onnx.numpy_helper.from_array(values, weight.name))
    kept = [one for one in model.graph.output if outputs is None or one.name in outputs]
    del model.graph.output[:]
    model.graph.output.extend(kept)
    return model.SerializeToString()


def test_nan_is_no_class(tmp_path, content):
    (tmp_path / "model.onnx").write_bytes(spoilt(content))
    with pytest.raises(ExportError, match="its output is not finite"):
        OnnxModel(tmp_path / "model.onnx", threads=1).predict(np.zeros((1, 40, 48, 3), np.uint8))


def test_nan_in_a_file_that_gives_labels_alone(tmp_path, content):
    (tmp_path / "model.onnx").write_bytes(spoilt(content, outputs={"labels"}))
    with pytest.raises(ExportError, match="not finite"):
        OnnxModel(tmp_path / "model.onnx", threads=1)


def labels_alone(content, weights, *, kind, form):
    """Return a file of labels alone, its first weight as numbers of another type, or in a node of its own."""
    model = onnx.load_from_string(content)
    tensor = next(one for one in model.graph.initializer if len(one.dims) == 4)
    name, values = tensor.name, np.full(tensor.dims, weights, np.float32)
    tensor.CopyFrom(onnx.helper.make_tensor(f"{name}_as", kind, values.shape, values.ravel().tolist()))
    if form == "constant":
        constant = onnx.helper.make_node("Constant", [], [tensor.name], value=tensor)
        model.graph.initializer.remove(tensor)
        model.graph.node.insert(0, constant)
    model.graph.node.insert(
        form == "constant", onnx.helper.make_node("Cast", [f"{name}_as"], [name], to=onnx.TensorProto.FLOAT)
    )
    kept = [one for one in model.graph.output if one.name == "labels"]
    del model.graph.output[:]
    model.graph.output.extend(kept)
    return model.SerializeToString()


@pytest.mark.parametrize("form", ["initializer", "constant"])
@pytest.mark.parametrize("kind", [onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16])
def test_nan_of_any_type_in_a_file_that_gives_labels_alone(tmp_path, content, kind, form):
    (tmp_path / "model.onnx").write_bytes(labels_alone(content, np.nan, kind=kind, form=form))
    with pytest.raises(ExportError, match="is not finite"):
        OnnxModel(tmp_path / "model.onnx", threads=1)


def test_an_overflow_in_a_file_that_gives_labels_alone(tmp_path, content):
    images = np.full((1, 40, 48, 3), 255, np.uint8)
    for weights in (3e38, 0.01):
        spoilt_by = labels_alone(content, weights, kind=onnx.TensorProto.FLOAT, form="initializer")
        (tmp_path / "model.onnx").write_bytes(spoilt_by)
        model = OnnxModel(tmp_path / "model.onnx", threads=1)
        assert not model.has_probabilities
        if weights == 0.01:
            assert model.predict(images).labels.shape == (1, 40, 48)
        else:
            with pytest.raises(ExportError, match="its output is not finite"):
                model.predict(images)


@pytest.mark.parametrize(
    "changes",
    [{"std": [0, 1, 1]}, {"mean": "x"}, {"class_names": None}, {"mean": [float("nan")] * 3}, None],
)
def test_metadata_of_another_form(tmp_path, content, changes):
    model = onnx.load_from_string(content)
    entry = next(one for one in model.metadata_props if one.key == "maskline")
    entry.value = "[1" if changes is None else json.dumps({**json.loads(entry.value), **changes})
    onnx.save(model, tmp_path / "model.onnx")
    with pytest.raises(ExportError, match="metadata is of another form"):
        OnnxModel(tmp_path / "model.onnx", threads=1)


def test_fewer_classes_than_the_graph_has(tmp_path, content):
    model = onnx.load_from_string(content)
    entry = next(one for one in model.metadata_props if one.key == "maskline")
    about = json.loads(entry.value)
    entry.value = json.dumps({**about, "class_names": [*about["class_names"], "another"]})
    onnx.save(model, tmp_path / "model.onnx")
    with pytest.raises(ExportError, match="not those of"):
        OnnxModel(tmp_path / "model.onnx", threads=1).predict(np.zeros((1, 40, 48, 3), np.uint8))


@pytest.mark.parametrize("kind", ["STRING", "INT64", "seq", "Loop"])
def test_what_no_network_of_ours_has(tmp_path, content, kind):
    """Outputs that are no numbers, or not of their type, and a loop, which would not end."""
    model, onnx_of = onnx.load_from_string(content), onnx.helper
    graph, old = model.graph, next(one for one in model.graph.output if one.name == "probabilities")
    made_by = next(node for node in graph.node if old.name in node.output)
    made_by.output[:] = ["before"]
    new, node = onnx_of.make_tensor_value_info, onnx_of.make_node("Identity", ["before"], [old.name])
    if kind == "seq":
        node = onnx_of.make_node("SequenceConstruct", ["before"], [old.name])
        old.CopyFrom(onnx_of.make_tensor_sequence_value_info(old.name, onnx.TensorProto.FLOAT, None))
    elif kind == "Loop":
        inputs = [new("i", onnx.TensorProto.INT64, []), new("on", onnx.TensorProto.BOOL, []), new("v", 1, None)]
        nodes = [onnx_of.make_node("Identity", [name], [f"{name}_"]) for name in ("on", "v")]
        outputs = [new("on_", onnx.TensorProto.BOOL, []), new("v_", 1, None)]
        body = onnx_of.make_graph(nodes, "body", inputs, outputs)
        node = onnx_of.make_node("Loop", ["", "true", "before"], [old.name], body=body)
        graph.initializer.append(onnx_of.make_tensor("true", onnx.TensorProto.BOOL, [], [True]))
    else:
        type_ = getattr(onnx.TensorProto, kind)
        node = onnx_of.make_node("Cast", ["before"], [old.name], to=type_)
        old.type.tensor_type.elem_type = type_
    graph.node.append(node)
    onnx.save(model, tmp_path / "model.onnx")
    told = (
        r"has control flow \(Loop\)" if kind == "Loop" else rf"its output probabilities is a .*{kind.lower()}.*; give"
    )
    with pytest.raises(ExportError, match=told):
        OnnxModel(tmp_path / "model.onnx", threads=1)


@pytest.mark.parametrize("exact", [False, True])
def test_eight_bit_sums_do_not_overflow_where_they_could(content, monkeypatch, exact):
    """test_precision's bounds show the same, on processors that need the setting."""
    monkeypatch.setattr(processor, "sums_int8_exactly", lambda: exact)
    options = open_session(content, threads=1).get_session_options()
    if exact:
        with pytest.raises(RuntimeError, match="does not have configuration"):
            options.get_session_config_entry("session.x64quantprecision")
    else:
        assert options.get_session_config_entry("session.x64quantprecision") == "1"


def test_a_file_that_cannot_be_opened_that_way_is_opened_without(content, monkeypatch):
    real, tried = onnxruntime.InferenceSession, []

    def refusing(*args, **kwargs):
        tried.append(args)
        if len(tried) == 1:
            raise Fail("Attempt to replace the existing tensor")
        return real(*args, **kwargs)

    monkeypatch.setattr(processor, "sums_int8_exactly", lambda: False)
    monkeypatch.setattr(onnxruntime, "InferenceSession", refusing)
    assert open_session(content, threads=1).get_inputs()
    assert len(tried) == 2


@pytest.mark.parametrize(
    "images",
    [np.zeros((1, 32, 32, 3), np.float32), np.zeros((32, 32, 3), np.uint8), np.zeros((1, 3, 32, 32), np.uint8)],
)
def test_wrong_input(model_file, images):
    with pytest.raises(ShapeError, match="give uint8"):
        OnnxModel(model_file, threads=1).predict(images)
