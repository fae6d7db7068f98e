"""OpenVINO IR: where the package is installed it passes the gate; where it is not, one line says so."""

import sys

import numpy as np
import pytest

from maskline.builders.export import measure_latency
from maskline.core.errors import ExportError
from maskline.export import openvino_ir, package, precision
from maskline.export.variants import OnnxVariant
from maskline.params.export import ExportParams

LIMITS = package.Limits(max_disagreement=1e-4, max_metric_change=1e-4, section="export.openvino")
VARIANT = openvino_ir.OpenVinoVariant(num_classes=3, limits=LIMITS)


def test_the_gate_holds_it_against_torch(trained, pictures, content, tmp_path):
    pytest.importorskip("openvino", reason="the extra openvino is not installed")
    VARIANT.write(tmp_path, program=None, content=content)
    model = VARIANT.open(tmp_path, threads=1)
    found = package.check_parity(trained.runtime(threads=1), model, pictures, place=tmp_path, limits=LIMITS)
    assert found["odd_sizes"]["cases"] == 5


def test_two_conversions_have_the_same_bytes(content, tmp_path):
    pytest.importorskip("openvino", reason="the extra openvino is not installed")
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        VARIANT.write(tmp_path / name, program=None, content=content)
    for file in VARIANT.files:
        written = (tmp_path / "one" / file).read_bytes()
        assert written == (tmp_path / "two" / file).read_bytes()
        assert str(tmp_path).encode() not in written


def test_eight_bits_are_timed_in_it_too(trained, content, tmp_path):
    pytest.importorskip("openvino", reason="the extra openvino is not installed")
    (tmp_path / "model.onnx").write_bytes(content)
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    int8 = OnnxVariant(
        name="int8",
        convert=lambda file: precision.to_int8(file, images=[image], min_agreement=0.0, threads=1),
        limits=LIMITS,
    )
    for variant in (VARIANT, int8):
        variant.write(tmp_path, program=None, content=content)
    params = ExportParams(latency_size=(64, 64), latency_runs=1)
    measured = measure_latency(params, trained, (VARIANT, int8), tmp_path, threads=1)
    assert set(measured["batch_1"]) == {"torch", "fp32", "openvino", "int8", "openvino_int8"}
    assert measured["fastest"] in ("model.onnx", "model-int8.onnx")
    alone = measure_latency(params, trained, (int8,), tmp_path, threads=1)
    assert set(alone["batch_1"]) == {"torch", "fp32", "int8"}


def test_a_graph_that_it_cannot_read(tmp_path):
    pytest.importorskip("openvino", reason="the extra openvino is not installed")
    with pytest.raises(ExportError, match=r"openvino: .*; leave openvino out of export.variants"):
        VARIANT.write(tmp_path, program=None, content=b"no graph")


def test_without_the_package(content, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(ExportError, match="the package openvino is not installed; pip install openvino, or leave"):
        VARIANT.write(tmp_path, program=None, content=content)
