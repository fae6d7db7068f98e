"""How large images are taken apart, and exported files on them."""

import json
import logging

import numpy as np
import onnx
import pytest

from maskline.export.runtime_onnx import OnnxModel
from maskline.predict import large_images
from maskline.predict.large_images import LONGEST, OVERLAP, LargeOnnxModel, cut


@pytest.mark.parametrize("length", [1, 1280, 1281, 2049, 2304, 2305, 3072, 20_000, 123_457])
def test_windows_share_enough_and_cost_little(length):
    axis = cut(length)
    ends = [start + axis.window for start in axis.starts]
    assert (axis.starts[0], ends[-1]) == (0, length)
    assert axis.window <= LONGEST
    assert all(end - start >= OVERLAP for end, start in zip(ends[:-1], axis.starts[1:], strict=True))
    assert len(ends) * axis.window / length < 1.3
    seen, kept = zip(*axis.parts(), strict=True)
    assert np.concatenate([np.arange(length)[each] for each in kept]).tolist() == list(range(length))
    assert all(outer.start <= inner.start < inner.stop <= outer.stop for outer, inner in zip(seen, kept, strict=True))


def write(path, output, **sizes):
    """Write a 3x3 convolution of the image to two classes; ``output`` is logits or labels."""
    helper, proto = onnx.helper, onnx.TensorProto
    weights = np.random.default_rng(0).normal(size=(2, 3, 3, 3)).astype(np.float32)
    nodes = [
        helper.make_node("Cast", ["images"], ["floats"], to=proto.FLOAT),
        helper.make_node("Transpose", ["floats"], ["channels"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["channels", "weights"], ["logits"], pads=[1, 1, 1, 1]),
        helper.make_node("ArgMax", ["logits"], ["classes"], axis=1, keepdims=0),
        helper.make_node("Cast", ["classes"], ["labels"], to=proto.UINT8),
    ]
    images = helper.make_tensor_value_info("images", proto.UINT8, ["n", "h", "w", 3])
    given = {
        "logits": helper.make_tensor_value_info("logits", proto.FLOAT, ["n", 2, "h", "w"]),
        "labels": helper.make_tensor_value_info("labels", proto.UINT8, ["n", "h", "w"]),
    }
    graph = helper.make_graph(nodes, "g", [images], [given[output]], [onnx.numpy_helper.from_array(weights, "weights")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    about = {"class_names": ["a", "b"], "mean": [0.0] * 3, "std": [1.0] * 3, "sizes": {"resize": None, **sizes}}
    helper.set_model_props(model, {"maskline": json.dumps(about)})
    path.write_bytes(model.SerializeToString())


@pytest.mark.parametrize("output", ["logits", "labels"])
def test_an_exported_file_sees_large_images_by_windows(monkeypatch, tmp_path, caplog, output):
    for name, value in {"WHOLE_PIXELS": 40 * 50, "LONGEST": 32, "OVERLAP": 8, "_MULTIPLE": 8}.items():
        monkeypatch.setattr(large_images, name, value)
    write(tmp_path / "model.onnx", output)
    whole, model = (kind(tmp_path / "model.onnx", threads=1) for kind in (OnnxModel, LargeOnnxModel))
    seen = []
    monkeypatch.setattr("maskline.export.runtime_onnx.check_images", lambda images, **_: seen.append(images.shape[1:3]))
    images = np.random.default_rng(1).integers(0, 256, (2, 61, 90, 3), dtype=np.uint8)
    with caplog.at_level(logging.INFO, logger="maskline"):
        predictions = [model.predict(images) for _ in range(2)]
    assert len(seen) == 2 * 3 * 4
    assert max(seen) <= (32, 32)
    assert caplog.messages == ["predict: 90x61 px is large: by windows of 32x32 px, as all above 2000 px"]
    expected = whole.predict(images)
    np.testing.assert_array_equal(predictions[1].labels, expected.labels)
    np.testing.assert_allclose(predictions[1].probabilities, expected.probabilities, atol=1e-5)


def test_small_images_and_files_that_resize_are_seen_whole(monkeypatch, tmp_path):
    monkeypatch.setattr(large_images, "WHOLE_PIXELS", 40 * 50)
    write(tmp_path / "a.onnx", "labels")
    write(tmp_path / "b.onnx", "labels", resize=[32, 32])
    write(tmp_path / "c.onnx", "labels", scale=[64, 32])
    seen = []
    monkeypatch.setattr("maskline.export.runtime_onnx.check_images", lambda images, **_: seen.append(images.shape[1:3]))
    LargeOnnxModel(tmp_path / "a.onnx", threads=1).predict(np.zeros((1, 40, 50, 3), np.uint8))
    for name in ("b.onnx", "c.onnx"):
        LargeOnnxModel(tmp_path / name, threads=1).predict(np.zeros((1, 90, 50, 3), np.uint8))
    assert seen == [(40, 50), (90, 50), (90, 50)]
