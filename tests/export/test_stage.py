"""The stage as DVC runs it, on a tiny network and two images."""

import csv
import io
import json

import pytest
from click.testing import CliRunner
from onnx import load as load_onnx
from PIL import Image
from ruamel.yaml import YAML

from maskline.builders.model import segmentor
from maskline.cli import whole_params
from maskline.convert.shards import ShardWriter
from maskline.data import manifest
from maskline.export.web import onnxruntime_web
from maskline.metrics import scores_table
from maskline.params.whole import load_params
from maskline.runtime.checkpoint import save_model
from maskline.runtime.torch_seeds import seed_torch
from stages import export
from tests.export.web.archive import write_archive
from tests.set_fixtures import check_here
from tools.trial import complete_params

CHANGES = {
    "model": {"backbone": {"base_channels": 4, "num_stages": 2}, "decode_head": {"channels": 4}, "auxiliary_heads": []},
    "export": {"example_size": [40, 40], "latency_size": [32, 32], "latency_runs": 2}
    | {
        "variants": ["fp16", "int8", "pt2", "web"],
        "fp16": {"max_disagreement": 1.0, "max_metric_change": 1.0},  # random weights
        "int8": {"max_disagreement": 1.0, "max_metric_change": 1.0, "calibration_images": 2},
        "pt2": {"max_disagreement": 1e-4, "max_metric_change": 1e-4},
    },
    "train": {"threads": 1},
}


@pytest.fixture(scope="module", autouse=True)
def _no_download(tmp_path_factory):
    archive = write_archive(tmp_path_factory.mktemp("package") / "onnxruntime-web.tgz")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(onnxruntime_web, "obtain", lambda *, mirror: archive)
        patch.setattr(whole_params, "check_whole", check_here)
        yield


@pytest.fixture(scope="module")
def project(shipped_params, pictures, tmp_path_factory):
    """A folder with params.yaml, prepared data and an untrained model."""
    folder = tmp_path_factory.mktemp("project")
    values = complete_params(shipped_params)
    for section, changes in CHANGES.items():
        for key, value in changes.items():
            values[section][key] = {**values[section][key], **value} if isinstance(value, dict) else value
    with (folder / "params.yaml").open("w") as stream:
        YAML().dump(values, stream)
    write_prepared(folder / "prepared", pictures)
    (folder / "scores.csv").write_text(scores_table.to_csv({"mIoU": 0.5, "uncertainty_95": {}}))
    settings = load_params(folder / "params.yaml")
    seed_torch(0)
    weights = segmentor(settings.model, num_classes=pictures.labels.num_classes).state_dict()
    card = {
        "params": settings.model_dump(mode="json"),
        "labels": pictures.labels.to_dict(),
        "preprocessing": {"mean": list(settings.model.mean), "std": list(settings.model.std), "scale": 255},
        "receipt": {},
    }
    save_model(folder / "models", weights=weights, last=weights, card=card)
    return folder


def write_prepared(folder, pictures):
    folder.mkdir()
    shards, rows = ShardWriter(folder), []
    for split, i in [*(("test", i) for i in range(len(pictures))), ("train", 0), ("train", 1)]:
        sample = pictures.sample(i)
        counts = {f"pixels_{c}": int((sample.mask == c).sum()) for c in range(pictures.labels.num_classes)}
        rows.append(
            {
                "id": f"{split}_{sample.id}",
                "split": split,
                "group": f"{split}_{sample.id}",
                "source": f"{sample.id}.png",
                "height": sample.mask.shape[0],
                "width": sample.mask.shape[1],
                **shards.add({"image": png(sample.image), "mask": png(sample.mask)}),
                **counts,
                "pixels_ignored": int((sample.mask == pictures.labels.ignore_index).sum()),
            }
        )
    manifest.write(folder, rows, pictures.labels)


def png(pixels):
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format="PNG")
    return stream.getvalue()


def run(project, **paths):
    names = {
        "params": "params.yaml",
        "prepared": "prepared",
        "model": "models",
        "scores": "scores.csv",
        "out": "export",
        "agreement": "agreement.csv",
        "metrics": "agreement.json",
        "latency": "latency.json",
        "times": "latency.csv",
        **paths,
    }
    arguments = [part for name, path in names.items() for part in (f"--{name}", str(project / path))]
    return CliRunner().invoke(export.main, arguments, catch_exceptions=False)


def test_stage_writes_model_agreement_and_times(project, caplog):
    result = run(project)
    assert result.exit_code == 0, result.output
    with (project / "agreement.csv").open() as stream:
        agreement = {row["name"]: row for row in csv.DictReader(stream) if row["images"] == "test"}
    assert agreement["fp32"]["cases"] == "3"
    assert int(agreement["fp32"]["bytes"]) == (project / "export" / "model.onnx").stat().st_size
    assert json.loads((project / "agreement.json").read_text())["test"]["cases"] == 3
    assert json.loads((project / "latency.json").read_text())["fastest"].startswith("model")
    table = (project / "latency.csv").read_text().splitlines()
    assert all(line.endswith(",2") for line in table[1:]), "runs"
    assert [line.split('"')[1].split(",")[0] for line in table[1:]] == ["torch", "fp32", "fp16", "int8", "pt2"]
    (entry,) = load_onnx(project / "export" / "model.onnx").metadata_props
    receipt = json.loads((project / "models" / "model.json").read_text())["receipt"]
    assert json.loads(entry.value)["receipt"] == receipt["weights_sha256"]
    assert str(project) not in entry.value
    for name in ("fp16", "int8"):
        assert int(agreement[name]["bytes"]) == (project / "export" / f"model-{name}.onnx").stat().st_size
        assert float(agreement[name]["moved_probability"]) < 0.1
    first = (project / "export" / "model.onnx").read_bytes(), (project / "agreement.csv").read_bytes()
    files = ["README.md", "example.py", "labels.json", "model-fp16.onnx", "model-int8.onnx", "model.onnx", "model.pt2"]
    assert sorted(path.name for path in (project / "export").iterdir()) == [*files, "web"]
    assert (project / "export" / "web" / "model.onnx").read_bytes() == first[0]
    assert "web" in agreement
    assert "web" not in (project / "latency.csv").read_text()
    assert f"python -m http.server -d {project}/export/web" in caplog.text
    smaller = (project / "export" / "model-int8.onnx").read_bytes()
    small = load_onnx(project / "export" / "model-int8.onnx").graph
    dequantized = {node.output[0] for node in small.node if node.op_type == "DequantizeLinear"}
    (norm,) = (node for node in small.node if node.op_type == "BatchNormalization")
    assert not dequantized.intersection(norm.input[1:])
    program = (project / "export" / "model.pt2").read_bytes()
    assert str(project).encode() not in program
    assert b"maskline/" not in program
    assert run(project).exit_code == 0
    assert (project / "export" / "model-int8.onnx").read_bytes() == smaller
    assert (project / "export" / "model.pt2").read_bytes() == program
    assert (project / "export" / "model.onnx").read_bytes() == first[0]
    assert (project / "agreement.csv").read_bytes() == first[1]


def test_missing_model_is_one_line(project):
    result = run(project, model="nothing", out="other", agreement="other.csv")
    assert result.exit_code == 2
    assert "no such file; train first" in result.stderr
    assert not (project / "other").exists()
    assert not (project / "other.json").exists()


def test_missing_scores_are_one_line(project):
    result = run(project, scores="nothing.json", out="other", agreement="other.csv")
    assert result.exit_code == 2
    assert "nothing.json: cannot be read (FileNotFoundError); evaluate first: dvc repro evaluate" in result.stderr


def test_evaluations_scale_is_the_exports(project, tmp_path):
    values = YAML().load(project / "params.yaml")
    values["evaluate"]["scale"], values["export"]["resize"] = [40, 72], [32, 32]
    YAML().dump(values, tmp_path / "params.yaml")
    result = run(project, params=tmp_path / "params.yaml", out="other", agreement="other.csv")
    assert result.exit_code == 2
    assert "export.resize: [32, 32], beside evaluate.scale [40, 72]: an image is resized once; set it" in result.stderr
