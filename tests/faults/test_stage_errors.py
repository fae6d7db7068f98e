"""What goes wrong in the stages after convert: one clear line, exit code 2, the former outputs whole."""

import os
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from maskline.cli.entry import log
from stages import augment_preview, convert, download, evaluate, export, train
from tools.trial import TINY, write_params

STAGES = {
    "download": download.main,
    "convert": convert.main,
    "augment_preview": augment_preview.main,
    "train": train.main,
    "evaluate": evaluate.main,
    "export": export.main,
}
SMALLER = {"data.synthetic.num_train": 6, "train.iterations": 2, "train.val_every": 2, "machine.journal_every": 0}


def run(name, *options):
    return CliRunner().invoke(STAGES[name], options)


def content(folder):
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def finished(shipped_params, tmp_path_factory):
    """A folder in which the stages up to evaluate have run on a tiny synthetic set."""
    folder = tmp_path_factory.mktemp("faults") / "project"
    folder.mkdir()
    shutil.copy(shipped_params, folder)
    write_params(folder / "params.yaml", {**TINY, **SMALLER})
    before = Path.cwd()
    os.chdir(folder)
    try:
        for name in ("download", "convert", "augment_preview", "train", "evaluate"):
            result = run(name)
            assert result.exit_code == 0, f"{name}: {result.output} {result.exception!r}"
    finally:
        os.chdir(before)
    return folder


@pytest.fixture
def project(finished, tmp_path, monkeypatch):
    """A copy of ``finished``, entered."""
    folder = tmp_path / "project"
    shutil.copytree(finished, folder)
    monkeypatch.chdir(folder)
    monkeypatch.delenv("DVC_STAGE", raising=False)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.setattr(log, "handlers", [])
    return folder


def fails(project, stage, *options):
    """Run a stage that must fail; return its one line. Data and reports stay as they were."""
    before = {**content(project / "data"), **content(project / "reports")}
    result = run(stage, *options)
    after = {**content(project / "data"), **content(project / "reports")}
    assert result.exit_code == 2, f"{result.output} {result.exception!r}"
    lines = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, result.stderr
    assert "Traceback" not in result.stderr
    assert after == before
    return lines[0]


PARAMS = [
    ("optimizer.lr", -1, "params.yaml: optimizer.lr: -1 is wrong; give greater than 0"),
    ("optimizer.lr", "1e-3", 'optimizer.lr: "1e-3" is text; write the number without quotes'),
    ("optimizer.lr", "fast", 'optimizer.lr: "fast" is wrong'),
    ("optimizer.name", "adamv", '"adamv" is not one of'),
    ("train.iterations", True, "train.iterations: true is wrong"),
    ("train.iterations", 2.5, "train.iterations: 2.5 is wrong"),
    ("train.best_metric", "mIou", "'mIou' is not measured"),
    ("augment.ratio_range", [2.0, 1.0], "the first value 2 is larger than the second 1"),
    ("augment.crop_size", [640, 640], "640x640 is larger than every train image"),
    ("model.backbone.name", "resnet81", "resnet81"),
    ("model.decode_head.in_index", 9, "9, but"),
    ("model.weights", "nowhere", "nowhere/model.safetensors: no such file"),
]


@pytest.mark.parametrize(("key", "value", "expected"), PARAMS)
def test_settings(project, key, value, expected):
    write_params(project / "params.yaml", {key: value})
    assert expected in fails(project, "train")


def test_an_unknown_key_names_the_nearest(project):
    file = project / "params.yaml"
    file.write_text(file.read_text().replace("  batch_size: 2\n", "  batch_size: 2\n  batchsize: 2\n", 1))
    assert "train.batchsize: unknown key; did you mean batch_size?" in fails(project, "train")


def test_no_yaml(project):
    (project / "params.yaml").write_text("train: [1\n")
    assert "params.yaml: not YAML" in fails(project, "train")


def test_no_params(project):
    (project / "params.yaml").unlink()
    assert "params.yaml: no such file" in fails(project, "train")


def test_a_crop_too_large_for_the_preview(project):
    write_params(project / "params.yaml", {"augment.crop_size": [640, 64]})
    assert "640x64 is larger than every train image" in fails(project, "augment_preview")


def test_training_before_convert(project):
    shutil.rmtree(project / "data" / "prepared")
    assert "run the convert stage" in fails(project, "train")


def test_a_damaged_shard(project):
    shard = project / "data" / "prepared" / "shard-00000.bin"
    damaged = bytearray(shard.read_bytes())
    damaged[len(damaged) // 2 : len(damaged) // 2 + 4000] = bytes(4000)
    shard.write_bytes(damaged)
    write_params(project / "params.yaml", {"train.iterations": 6})
    assert "is not what was written" in fails(project, "train")


def test_a_damaged_shard_in_a_loader_process(project):
    shard = project / "data" / "prepared" / "shard-00000.bin"
    shard.write_bytes(bytes(shard.stat().st_size))
    write_params(project / "params.yaml", {"machine.workers": 1})
    assert "is not what was written" in fails(project, "train")


@pytest.mark.parametrize("stage", ["evaluate", "export"])
def test_no_model(project, stage):
    shutil.rmtree(project / "data" / "models")
    assert "train first" in fails(project, stage)


@pytest.mark.parametrize("stage", ["evaluate", "export"])
def test_truncated_weights(project, stage):
    file = project / "data" / "models" / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    assert "not the weights that model.json describes" in fails(project, stage)


@pytest.fixture
def small_disk(mounted_disk):
    """A disk of 96 KiB."""
    return mounted_disk("96k")


OUTPUTS = [
    ("augment_preview", "--picture", "grid.png"),
    ("train", "--model", "models"),
    ("evaluate", "--report", "report.html"),
    ("export", "--out", "export"),
]


@pytest.mark.parametrize(("stage", "option", "name"), OUTPUTS)
def test_a_read_only_disk(project, small_disk, stage, option, name):
    disk, read_only = small_disk
    (disk / "former").write_text("former")
    read_only()
    assert "read-only file system" in fails(project, stage, option, str(disk / name))
    assert sorted(path.name for path in disk.iterdir()) == ["former"]


@pytest.mark.parametrize(("stage", "option", "name"), OUTPUTS)
def test_a_full_disk(project, small_disk, stage, option, name):
    disk, _ = small_disk
    (disk / "former").write_bytes(bytes(90_000))
    line = fails(project, stage, option, str(disk / name))
    assert "no space left on device" in line
    assert "free space on this disk" in line
    assert sorted(path.name for path in disk.iterdir()) == ["former"]
