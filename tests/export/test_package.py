import dataclasses
import json

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from maskline.core.errors import DataError, ExportError
from maskline.data.labels import LabelSet
from maskline.export import onnx_graph, package, timing
from maskline.export.onnx_passes import phases
from maskline.export.runtime_onnx import OnnxModel

LIMITS = package.Limits(max_disagreement=1e-4, max_metric_change=1e-4)


def export(trained, pictures, out, variants=()):
    return package.export_model(
        trained, pictures, out=out, opset=18, example_size=(40, 48), threads=1, limits=LIMITS, variants=variants
    )


@pytest.fixture
def fast(monkeypatch, content):
    """The session's export in place of another of the same network."""
    monkeypatch.setattr(package, "trace", lambda *_, **__: None)
    monkeypatch.setattr(onnx_graph, "to_onnx", lambda *_, **__: content)


@pytest.mark.usefixtures("fast")
def test_folder_and_report(trained, pictures, tmp_path):
    report = export(trained, pictures, tmp_path / "export")
    assert sorted(path.name for path in (tmp_path / "export").iterdir()) == ["labels.json", "model.onnx"]
    assert LabelSet.read(tmp_path / "export" / "labels.json") == trained.labels
    assert report["bytes"] == (tmp_path / "export" / "model.onnx").stat().st_size
    assert report["test"]["cases"] == 3
    assert report["test"]["pixels"] == 40 * 56 + 71 * 33 + 64 * 64
    assert report["odd_sizes"]["cases"] == 5
    assert report["test"]["disagreement"] <= 1e-4
    assert report["test"]["mIoU_torch"] > 0
    json.dumps(report, allow_nan=False)


@pytest.mark.usefixtures("fast")
def test_variants_have_files_and_limits_of_their_own(trained, pictures, content, tmp_path):
    def variant(limit):
        limits = package.Limits(max_disagreement=limit, max_metric_change=1.0, section="export.scaled")
        return package.OnnxVariant(name="scaled", convert=lambda c: scaled(c, "network.head.bias", 1.05), limits=limits)

    report = export(trained, pictures, tmp_path / "export", variants=(variant(0.5),))
    assert (tmp_path / "export" / "model.onnx").read_bytes() == content
    assert (tmp_path / "export" / "model-scaled.onnx").read_bytes() == scaled(content, "network.head.bias", 1.05)
    assert report["scaled"]["test"]["moved_probability"] > 1e-4 > report["test"]["moved_probability"]
    before = sorted((tmp_path / "export").iterdir())
    with pytest.raises(
        ExportError, match=r"model-scaled.onnx: on the 3 test images, .*\(export.scaled.max_disagreement"
    ):
        export(trained, pictures, tmp_path / "export", variants=(variant(1e-4),))
    assert sorted((tmp_path / "export").iterdir()) == before


@pytest.mark.usefixtures("fast")
def test_only_the_first_file_is_in_phases(monkeypatch, trained, pictures, content, tmp_path):
    def named(given):
        model = onnx.load_from_string(given)
        model.producer_name = "in phases"
        return model.SerializeToString()

    monkeypatch.setattr(phases, "in_phases", named)
    plain = package.OnnxVariant(name="plain", convert=lambda given: given, limits=LIMITS)
    export(trained, pictures, tmp_path / "export", variants=(plain,))
    assert (tmp_path / "export" / "model.onnx").read_bytes() == named(content)
    assert (tmp_path / "export" / "model-plain.onnx").read_bytes() == content


def scaled(content: bytes, name: str, factor: float) -> bytes:
    """The file with one of its constants multiplied."""
    model = onnx.load_from_string(content)
    (constant,) = (value for value in model.graph.initializer if value.name == name)
    constant.CopyFrom(numpy_helper.from_array((numpy_helper.to_array(constant) * factor).astype(np.float32), name))
    return model.SerializeToString()


@pytest.mark.parametrize("name", ["network.head.bias", "network.stem.weight", "mean", "std"])
def test_one_changed_constant_fails_and_keeps_the_former_export(
    monkeypatch, trained, pictures, content, tmp_path, name
):
    monkeypatch.setattr(package, "trace", lambda *_, **__: None)
    monkeypatch.setattr(onnx_graph, "to_onnx", lambda *_, **__: scaled(content, name, 1.05))
    out = tmp_path / "export"
    out.mkdir()
    (out / "model.onnx").write_text("former")
    with pytest.raises(ExportError, match=r"model.onnx: on the 3 test images, .*; most in image eye_\d \(\d+x\d+\): 0"):
        export(trained, pictures, out)
    assert (out / "model.onnx").read_text() == "former"
    assert [path.name for path in tmp_path.iterdir()] == ["export"]


def test_difference_at_odd_sizes_alone_fails(trained, pictures, model_file, tmp_path):
    class WrongWhereLarge(OnnxModel):
        def predict(self, images):
            found = super().predict(images)
            if images.shape[1] < 200:
                return found
            return dataclasses.replace(found, labels=np.zeros_like(found.labels))

    with pytest.raises(ExportError, match=r"on odd sizes, .*most in crop of image eye_\d and .* \(257x161\)"):
        package.check_parity(
            trained.runtime(threads=1),
            WrongWhereLarge(model_file, threads=1),
            pictures,
            place=tmp_path / "model.onnx",
            limits=LIMITS,
        )


@pytest.mark.usefixtures("fast")
def test_split_of_other_classes_or_without_images(trained, pictures, tmp_path):
    other = dataclasses.replace(trained.labels, class_names=("a", "b", "c"))
    with pytest.raises(DataError, match="other classes than the model's"):
        export(trained, dataclasses.replace(pictures, labels=other), tmp_path / "export")
    with pytest.raises(DataError, match="no image to compare"):
        export(trained, dataclasses.replace(pictures, sizes=()), tmp_path / "export")


def test_latency_report(trained, model_file):
    models = dict.fromkeys(("fp32", "again"), lambda threads: OnnxModel(model_file, threads=threads))
    report = timing.latency(trained, models, size=(32, 40), batches=(1, 3), runs=2, threads=(1, 2), compiled=False)
    assert report.pop("fastest") == "model.onnx"
    times = {
        "torch": {"median_ms": 0.5},
        "fp32": {"median_ms": 3.0},
        "int8": {"median_ms": 2.0},
        "fp16": {"median_ms": 9},
    }
    assert timing.fastest({**times, "pt2": {"median_ms": 1.0}}) == "model-int8.onnx"
    assert {key: report.pop(key) for key in ("height", "width", "runs", "threads")} == {
        "height": 32,
        "width": 40,
        "runs": 2,
        "threads": 1,
    }
    facts = {"threads": 1, "height": 32, "width": 40, "runs": 2}
    lines = timing.table({**report, **facts}, sizes={"fp32": 77}).splitlines()
    assert lines[0] == "model,name,batch,threads,median_ms,p95_ms,ratio,bytes,height,width,runs"
    assert len(lines) == 1 + 2 * 2 * 3
    assert lines[1].startswith('"torch, batch 1, 1 thread",torch,1,1,')
    assert lines[-2].startswith('"fp32, batch 3, 2 threads",fp32,3,2,')
    assert lines[-2].endswith(",77,32,40,2")
    assert lines[-1].endswith(",,32,40,2")
    assert list(report) == ["batch_1", "batch_3", "threads_2"]
    assert list(report["threads_2"]) == ["batch_1", "batch_3"]
    for row in (*report.pop("threads_2").values(), *report.values()):
        assert list(row) == ["torch", "fp32", "again"]
        # Both medians are rounded to a thousandth of a millisecond, which is up to a percent of the shortest of them.
        expected = row["fp32"]["median_ms"] / row["torch"]["median_ms"]
        assert row["fp32"]["ratio"] == pytest.approx(expected, rel=1e-2, abs=2e-3)


def test_trained_from_card(trained):
    card = {
        "labels": trained.labels.to_dict(),
        "preprocessing": {"mean": list(trained.mean), "std": list(trained.std), "scale": 255},
        "params": trained.params,
        "receipt": {"weights_sha256": trained.weights_sha256},
    }
    assert package.Trained.from_card(trained.network, card) == trained
