import csv
import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from maskline.builders.inference import load_segmentor
from maskline.commands import predict
from maskline.core.errors import CheckpointError
from maskline.predict.model import Model
from maskline.predict.prediction_folder import PredictionFolder
from tools.trial import complete_params

NAMES = ["eye", "left/alpha", "left/eye", "turned"]


def run(model, *inputs, out, options=()):
    arguments = [str(part) for part in (model, *inputs, "-o", out, "--threads", 1, *options)]
    return CliRunner().invoke(predict.main, arguments, catch_exceptions=False)


def table(out):
    with (out / "shares.csv").open(newline="") as stream:
        return {row["name"]: row for row in csv.DictReader(stream)}


def pixels(path, *, mode=None):
    with Image.open(path) as picture:
        return np.array(picture.convert(mode) if mode else picture)


def digests(folder):
    return {p.relative_to(folder): hashlib.sha256(p.read_bytes()).digest() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture
def all_kinds():
    return [part for kind in predict.KINDS for part in ("--save", kind)]


@pytest.fixture(params=["trained_folder", "onnx_file"])
def model(request):
    return request.getfixturevalue(request.param)


def test_results_of_every_image(model, pictures, tmp_path, all_kinds):
    before = digests(pictures)
    out = tmp_path / "out"
    result = run(model, pictures, out=out, options=all_kinds)
    assert result.exit_code == 0, result.output
    assert digests(pictures) == before
    assert list(table(out)) == NAMES
    for name, row in table(out).items():
        size = (44, 30) if name == "turned" else (30, 44)  # EXIF: shown upright
        assert (int(row["height"]), int(row["width"])) == size
        index = pixels(out / "index" / f"{name}.png")
        assert index.shape == size
        assert index.dtype == np.uint8
        assert float(row["share_vessel"]) == pytest.approx((index == 1).mean(), abs=1e-6)
        assert float(row["share_background"]) == pytest.approx((index == 0).mean(), abs=1e-6)
        colors = pixels(out / "palette" / f"{name}.png", mode="RGB")
        np.testing.assert_array_equal(colors, np.array([[0, 0, 0], [230, 60, 60]], np.uint8)[index])
        probabilities = np.load(out / "probabilities" / f"{name}.npy")
        assert probabilities.shape == (2, *size)
        assert probabilities.dtype == np.float32
        np.testing.assert_array_equal(probabilities.argmax(0), index)
        assert pixels(out / "overlay" / f"{name}.jpg").shape == (*size, 3)


def test_class_ids_are_the_networks(trained_folder, pictures, tmp_path):
    assert run(trained_folder, pictures / "eye.png", out=tmp_path / "out").exit_code == 0
    image = torch.from_numpy(pixels(pictures / "eye.png")).permute(2, 0, 1)[None]
    mean = torch.tensor([123.675, 116.28, 103.53]).view(1, 3, 1, 1)
    std = torch.tensor([58.395, 57.12, 57.375]).view(1, 3, 1, 1)
    with torch.no_grad():
        expected = load_segmentor(trained_folder)((image - mean) / std).argmax(1)[0]
    np.testing.assert_array_equal(pixels(tmp_path / "out" / "index" / "eye.png"), expected)


def test_sliding_window(shipped_params, trained_folder, onnx_file, pictures, tmp_path, all_kinds):
    Image.new("RGB", (100, 70), (200, 30, 90)).save(pictures / "large.png")
    values = complete_params(shipped_params)
    values["evaluate"] |= {"inference": "slide", "window": [32, 48], "stride": [20, 30]}
    (tmp_path / "params.yaml").write_text(json.dumps(values))  # YAML holds JSON
    options = (*all_kinds, "--params", tmp_path / "params.yaml")
    run(trained_folder, pictures / "large.png", out=tmp_path / "whole", options=all_kinds)
    result = run(trained_folder, pictures / "large.png", out=tmp_path / "slide", options=options)
    assert result.exit_code == 0, result.output
    whole, slide = (np.load(tmp_path / name / "probabilities" / "large.npy") for name in ("whole", "slide"))
    assert whole.shape == slide.shape
    assert not np.array_equal(whole, slide)  # windows have borders of their own
    result = run(onnx_file, pictures, out=tmp_path / "other", options=options)
    assert result.exit_code == 2
    assert "an exported model has no steps around it" in result.stderr


def test_export_folder_is_a_model(onnx_file, pictures, tmp_path):
    assert run(onnx_file.parent, pictures / "eye.png", out=tmp_path / "out").exit_code == 0


def test_the_fastest_file_of_an_export_folder(onnx_file, trained_folder, pictures, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder, fastest = tmp_path / "export", ["--fastest"]
    folder.mkdir()
    shutil.copy(onnx_file, folder / "model-int8.onnx")
    result = run(folder, pictures / "eye.png", out=tmp_path / "out", options=fastest)
    assert result.exit_code == 2
    assert "does not say which file is the fastest (FileNotFoundError)" in result.stderr
    latency = tmp_path / "reports" / "export" / "latency.json"
    latency.parent.mkdir(parents=True)
    latency.write_text('{"fastest": "model-int8.onnx"}')
    assert run(folder, pictures / "eye.png", out=tmp_path / "out", options=fastest).exit_code == 0
    result = run(trained_folder, pictures / "eye.png", out=tmp_path / "other", options=fastest)
    assert "a trained model is one file; name the export folder" in result.stderr


def test_without_torch(onnx_file, pictures, tmp_path):
    code = (
        "import sys; sys.modules['torch'] = None; from maskline.commands.predict import main; "
        f"main([{str(onnx_file)!r}, {str(pictures)!r}, '-o', {str(tmp_path / 'out')!r}])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert list(table(tmp_path / "out")) == NAMES


def test_second_run_does_nothing_and_a_new_image_is_added(onnx_file, pictures, tmp_path):
    out = tmp_path / "out"
    run(onnx_file, pictures, out=out)
    times = {path: path.stat().st_mtime_ns for path in out.rglob("*.jpg")}
    first = digests(out)
    run(onnx_file, pictures, out=out)
    assert digests(out) == first
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*.jpg")} == times
    Image.new("RGB", (40, 40)).save(pictures / "black.png")
    run(onnx_file, pictures, out=out)
    assert list(table(out)) == ["black", *NAMES]


def test_half_done_folder_is_completed(onnx_file, pictures, tmp_path, monkeypatch):
    out, whole = tmp_path / "out", tmp_path / "whole"
    run(onnx_file, pictures, out=whole)
    written = PredictionFolder.write

    def stop_at_third(self, source, *rest):
        if source.name == NAMES[2]:
            raise KeyboardInterrupt
        written(self, source, *rest)

    monkeypatch.setattr(PredictionFolder, "write", stop_at_third)
    assert run(onnx_file, pictures, out=out).exit_code == 130
    with (out / "shares.csv").open("a") as stream:
        stream.write("left/eye,cut o")  # a line that was being written
    again = []
    monkeypatch.setattr(PredictionFolder, "write", lambda self, source, *r: again.append(written(self, source, *r)))
    assert run(onnx_file, pictures, out=out).exit_code == 0
    assert len(again) == 2
    assert digests(out) == digests(whole)
    with (out / "shares.csv").open("a") as stream:
        stream.write("x" * 200_000 + "\n")
    damaged = run(onnx_file, pictures, out=out)
    assert (damaged.exit_code, damaged.output.count("\n")) == (2, 1)
    assert "shares.csv: damaged table (field larger than field limit" in damaged.output


def test_missing_result_and_changed_image_are_done_again(onnx_file, pictures, tmp_path):
    out = tmp_path / "out"
    run(onnx_file, pictures, out=out)
    (out / "palette" / "eye.png").unlink()
    Image.new("L", (50, 20)).save(pictures / "left" / "eye.png")
    run(onnx_file, pictures, out=out)
    assert (out / "palette" / "eye.png").is_file()
    assert table(out)["left/eye"]["height"] == "20"


def test_unreadable_images_come_last_in_one_line_each(trained_folder, pictures, tmp_path):
    (pictures / "broken.png").write_bytes(b"no picture")
    Image.new("RGB", (8, 40)).save(pictures / "thin.png")
    result = run(trained_folder, pictures, out=tmp_path / "out")
    assert result.exit_code == 2
    lines = result.stderr.strip().splitlines()
    assert [line.split(":")[0] for line in lines[-2:]] == ["error", "error"]
    assert "broken.png: not an image" in lines[-2]
    assert "thin.png: 40x8 px is too small" in lines[-1]
    assert list(table(tmp_path / "out")) == NAMES


def test_folder_of_another_model_or_of_something_else_stays_as_it_is(trained_folder, onnx_file, pictures, tmp_path):
    out = tmp_path / "out"
    run(onnx_file, pictures, out=out)
    before = digests(out)
    result = run(trained_folder, pictures, out=out)
    assert result.exit_code == 2
    assert "results of another model or setting" in result.stderr
    assert digests(out) == before
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("text")
    result = run(onnx_file, pictures, out=tmp_path / "mine")
    assert result.exit_code == 2
    assert "not empty, and nothing that predict wrote" in result.stderr
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize("out", ["/proc/x", "x" * 300])
def test_a_folder_that_nobody_can_make(onnx_file, pictures, out):
    done = run(onnx_file, pictures, out=Path(out))
    assert (done.exit_code, done.output.count("\n")) == (2, 1), done.output
    assert done.output.startswith(f"error: {out}")


@pytest.mark.parametrize("name", ["nothing", "pictures", "pictures/eye.png"])
def test_no_model(pictures, tmp_path, name):
    result = run(tmp_path / name, pictures, out=tmp_path / "out")
    assert result.exit_code == 2
    assert "no model; name a folder with model.json or model.onnx, or an .onnx file" in result.stderr
    assert not (tmp_path / "out").exists()


def test_an_image_that_cannot_be_read_does_not_keep_others_from_their_results(trained_folder, pictures, tmp_path):
    """A TIFF without a page, a name that is not UTF-8, a name too long for its result."""
    (pictures / "empty.tif").write_bytes(b"II*\0\0\0\0\0")
    for name in ("a" * 248 + ".png", os.fsdecode(b"\xff.png")):
        shutil.copy(pictures / "eye.png", pictures / name)
    done = run(trained_folder, pictures, out=tmp_path / "out")
    assert done.exit_code == 2, done.output
    assert done.output.count("error: ") == 3, done.output
    assert len((tmp_path / "out" / "shares.csv").read_text().splitlines()) == 1 + len(NAMES)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory"),
        CheckpointError("model", "its output is not finite", "train again"),
        FileNotFoundError(2, "No such file or directory"),
    ],
)
def test_one_image_that_fails_does_not_end_the_others(trained_folder, pictures, tmp_path, monkeypatch, error):
    segment = Model.segment

    def fails_at_the_second(self, image):
        if image.shape[0] == 44:  # the turned one
            raise error
        return segment(self, image)

    monkeypatch.setattr(Model, "segment", fails_at_the_second)
    done = run(trained_folder, pictures, out=tmp_path / "out")
    assert (done.exit_code, done.output.count("error: "), done.output.count("turned.jpg")) == (2, 1, 1)
    assert len((tmp_path / "out" / "shares.csv").read_text().splitlines()) == len(NAMES)


def test_a_defect_waits_for_the_others_and_keeps_its_traceback(trained_folder, pictures, tmp_path, monkeypatch):
    segment = Model.segment

    def fails_at_the_second(self, image):
        if image.shape[0] == 44:
            raise TypeError("a defect")
        return segment(self, image)

    monkeypatch.setattr(Model, "segment", fails_at_the_second)
    with pytest.raises(TypeError, match="a defect"):
        run(trained_folder, pictures, out=tmp_path / "out")
    assert len((tmp_path / "out" / "shares.csv").read_text().splitlines()) == len(NAMES)


@pytest.mark.parametrize("place", ["probabilities", "shares.csv", "probabilities/left"])
def test_what_cannot_be_written_names_the_output(trained_folder, pictures, tmp_path, monkeypatch, place):
    out = tmp_path / "out"

    def full(*_):
        raise OSError("3840 requested and 3040 written")

    if place == "probabilities":
        monkeypatch.setattr(np, "save", full)
    else:
        assert run(trained_folder, pictures, out=out, options=("--save", "probabilities")).exit_code == 0
        shutil.rmtree(out / place) if (out / place).is_dir() else (out / place).unlink()
        (out / place).mkdir() if place == "shares.csv" else (out / place).touch()
    done = run(trained_folder, pictures, out=out, options=("--save", "probabilities"))
    assert (done.exit_code, done.output.count("\n")) == (2, 1), done.output
    assert done.output.startswith(f"error: {out / place}")


@pytest.mark.parametrize("content", ["{", "[" * 100_000, "\ud800"])
def test_a_note_that_predict_did_not_write(trained_folder, pictures, tmp_path, content):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "predict.json").write_bytes(content.encode(errors="surrogatepass"))
    done = run(trained_folder, pictures, out=tmp_path / "out")
    assert done.exit_code == 2
    assert "predict.json: not what predict wrote" in done.output
