"""OpenVINO IR: where the package is installed it passes the gate; where it is not, one line says so."""

import sys

import pytest

from maskline.core.errors import ExportError
from maskline.export import openvino_ir, package

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


def test_a_graph_that_it_cannot_read(tmp_path):
    pytest.importorskip("openvino", reason="the extra openvino is not installed")
    with pytest.raises(ExportError, match=r"openvino: .*; leave openvino out of export.variants"):
        VARIANT.write(tmp_path, program=None, content=b"no graph")


def test_without_the_package(content, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(ExportError, match="the package openvino is not installed; pip install openvino, or leave"):
        VARIANT.write(tmp_path, program=None, content=content)
