"""predict's further models (recipe with weights), inputs (video), options (--slide, --tta, --crf) and files (TIFF)."""

import json
import shutil
import sys

import numpy as np
import pytest
import tifffile
from click.testing import CliRunner
from PIL import Image
from safetensors.torch import save_file

from maskline.commands import predict
from maskline.params.base.reading import read_yaml
from maskline.runtime.checkpoint import read_weights
from tools.trial import complete_params


def run(model, *inputs, out, options=()):
    arguments = [str(part) for part in (model, *inputs, "-o", out, "--threads", 1, *options)]
    return CliRunner().invoke(predict.main, arguments, catch_exceptions=False)


def index(out, name="eye"):
    with Image.open(out / "index" / f"{name}.png") as picture:
        return np.array(picture)


@pytest.fixture
def small_network(shipped_params, tmp_path):
    """The params file of the trained folder's network, its windows small."""
    values = complete_params(shipped_params)
    values["model"]["backbone"] |= {"base_channels": 4, "num_stages": 2}
    values["model"]["decode_head"]["channels"] = 4
    values["model"]["auxiliary_heads"] = []
    values["evaluate"] |= {"window": [16, 24], "stride": [8, 12]}
    path = tmp_path / "network.yaml"
    path.write_text(json.dumps(values))
    return path


@pytest.fixture
def with_settings(trained_folder, small_network, tmp_path):
    """The model with all params in its card, as a recipe with weights makes it; training leaves evaluate out."""
    folder = tmp_path / "model"
    shutil.copytree(trained_folder, folder)
    card = json.loads((folder / "model.json").read_text())
    card["params"] = read_yaml(small_network)
    (folder / "model.json").write_text(json.dumps(card))
    return folder


def test_recipe_with_weights_equals_the_trained_folder(trained_folder, small_network, pictures, tmp_path):
    assert run(trained_folder, pictures / "eye.png", out=tmp_path / "trained").exit_code == 0
    for weights in (trained_folder, trained_folder / "model.safetensors"):
        out = tmp_path / f"by_{weights.name}"
        result = run(small_network, pictures / "eye.png", out=out, options=("--weights", weights))
        assert result.exit_code == 0, result.output
        np.testing.assert_array_equal(index(out), index(tmp_path / "trained"))
        assert "share_vessel" in (out / "shares.csv").read_text()


def test_weights_alone_have_numbered_classes(trained_folder, small_network, pictures, tmp_path):
    save_file(read_weights(trained_folder), tmp_path / "mine.safetensors")
    options = ("--weights", tmp_path / "mine.safetensors")
    result = run(small_network, pictures / "eye.png", out=tmp_path / "out", options=options)
    assert result.exit_code == 0, result.output
    header = (tmp_path / "out" / "shares.csv").read_text().splitlines()[0]
    assert header.endswith("share_class_0,share_class_1")
    with Image.open(tmp_path / "out" / "palette" / "eye.png") as picture:
        assert picture.getpalette()[:6] == [0, 0, 0, 128, 0, 0]


def test_weights_of_another_network_or_none(trained_folder, shipped_params, pictures, tmp_path):
    result = run("params.yaml", pictures, out=tmp_path / "out", options=("--weights", tmp_path / "no.safetensors"))
    assert result.exit_code == 2
    result = run(shipped_params, pictures, out=tmp_path / "out", options=("--weights", tmp_path / "no.safetensors"))
    assert result.exit_code == 2
    assert "no.safetensors: no weights" in result.stderr
    result = run(shipped_params, pictures, out=tmp_path / "out", options=("--weights", trained_folder))
    assert result.exit_code == 2
    assert "not of the network of" in result.stderr
    assert "Traceback" not in result.output
    result = run("unett", pictures, out=tmp_path / "out", options=("--weights", trained_folder))
    assert result.exit_code == 2
    assert "no such recipe" in result.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("option", ["--slide", "--tta", "--crf"])
def test_each_step_by_an_option(with_settings, pictures, tmp_path, option):
    save = ("--save", "probabilities", "--save", "index")
    assert run(with_settings, pictures / "eye.png", out=tmp_path / "plain", options=save).exit_code == 0
    result = run(with_settings, pictures / "eye.png", out=tmp_path / "step", options=(*save, option))
    assert result.exit_code == 0, result.output
    plain, step = (np.load(tmp_path / name / "probabilities" / "eye.npy") for name in ("plain", "step"))
    assert plain.shape == step.shape
    assert not np.allclose(plain, step, atol=1e-6)
    np.testing.assert_array_equal(step.argmax(0), index(tmp_path / "step"))
    note = json.loads((tmp_path / "step" / "predict.json").read_text())["evaluate"]
    assert (note["inference"] == "slide") == (option == "--slide")
    assert (note["tta"]["flips"] == ["none", "horizontal"]) == (option == "--tta")
    assert note["crf"]["enabled"] == (option == "--crf")


def test_mirrored_mean_by_hand(with_settings, pictures, tmp_path):
    save = ("--save", "probabilities")
    with Image.open(pictures / "eye.png") as picture:
        picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(pictures / "mirrored.png")
    run(with_settings, pictures, out=tmp_path / "plain", options=save)
    run(with_settings, pictures / "eye.png", out=tmp_path / "tta", options=(*save, "--tta"))
    plain, mirrored = (np.load(tmp_path / "plain" / "probabilities" / f"{name}.npy") for name in ("eye", "mirrored"))
    found = np.load(tmp_path / "tta" / "probabilities" / "eye.npy")
    np.testing.assert_allclose(found, (plain + mirrored[:, :, ::-1]) / 2, atol=1e-5)


def test_steps_need_a_trained_model_that_knows_its_settings(trained_folder, onnx_file, pictures, tmp_path):
    result = run(onnx_file, pictures, out=tmp_path / "out", options=("--tta",))
    assert result.exit_code == 2
    assert "an exported model has no steps around it" in result.stderr


def test_steps_of_a_model_trained_here_are_those_of_params_yaml(
    trained_folder, with_settings, shipped_params, pictures, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    steps = ("--save", "probabilities", "--slide", "--tta", "--crf")
    result = run(trained_folder, pictures, out=tmp_path / "out", options=steps)
    assert result.exit_code == 2
    assert "there is no params.yaml here; name a params file with --params" in result.stderr
    assert not (tmp_path / "out").exists()
    values = complete_params(shipped_params)
    values["evaluate"] = json.loads((with_settings / "model.json").read_text())["params"]["evaluate"]
    (tmp_path / "params.yaml").write_text(json.dumps(values))  # YAML holds JSON
    for name, model in (("here", trained_folder), ("own", with_settings)):
        result = run(model, pictures / "eye.png", out=tmp_path / name, options=steps)
        assert result.exit_code == 0, result.output
    here, own = (np.load(tmp_path / name / "probabilities" / "eye.npy") for name in ("here", "own"))
    np.testing.assert_array_equal(here, own)


def test_tiff_results(with_settings, pictures, tmp_path):
    kinds = ("index", "probabilities", "index-tif", "probabilities-tif")
    options = [part for kind in kinds for part in ("--save", kind)]
    assert run(with_settings, pictures / "eye.png", out=tmp_path / "out", options=options).exit_code == 0
    maps = tifffile.imread(tmp_path / "out" / "probabilities-tif" / "eye.tif")
    np.testing.assert_array_equal(maps, np.load(tmp_path / "out" / "probabilities" / "eye.npy"))
    assert maps.dtype == np.float32
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "out" / "index-tif" / "eye.tif"), index(tmp_path / "out"))


@pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning")
def test_the_place_on_earth_is_kept(trained_folder, tmp_path):
    rasterio = pytest.importorskip("rasterio", reason="the extra geo is not installed")
    path = tmp_path / "field.tif"
    pixels = np.random.default_rng(0).integers(0, 256, (3, 30, 44), dtype=np.uint8)
    place = {"crs": "EPSG:32633", "transform": rasterio.transform.from_origin(500_000, 5_200_000, 10, 10)}
    with rasterio.open(path, "w", driver="GTiff", width=44, height=30, count=3, dtype="uint8", **place) as file:
        file.write(pixels)
    before = path.read_bytes()
    options = ("--save", "index", "--save", "index-tif", "--save", "probabilities-tif")
    assert run(trained_folder, path, out=tmp_path / "out", options=options).exit_code == 0
    assert path.read_bytes() == before
    for kind, bands in (("index-tif", 1), ("probabilities-tif", 2)):
        with rasterio.open(tmp_path / "out" / kind / "field.tif") as file:
            assert file.crs.to_epsg() == 32633
            assert file.transform == place["transform"]
            assert (file.count, file.height, file.width) == (bands, 30, 44)
    with rasterio.open(tmp_path / "out" / "index-tif" / "field.tif") as file:
        np.testing.assert_array_equal(file.read(1), index(tmp_path / "out", "field"))
    assert run(trained_folder, path, out=tmp_path / "usual").exit_code == 0  # without --save: kept as well
    assert (tmp_path / "usual" / "index-tif" / "field.tif").is_file()


@pytest.fixture
def clip(tmp_path):
    """Four frames of one color each."""
    cv2 = pytest.importorskip("cv2", reason="the extra video is not installed")
    path = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 5.0, (48, 32))
    for level in (0, 80, 160, 240):
        writer.write(np.full((32, 48, 3), (0, 0, level), np.uint8))  # BGR: red
    writer.release()
    return path


def test_frames_of_a_video(onnx_file, clip, tmp_path, monkeypatch):
    seen = []
    real = predict._Reader.read
    monkeypatch.setattr(predict._Reader, "read", lambda self, source: seen.append(real(self, source)) or seen[-1])
    before = clip.read_bytes()
    result = run(onnx_file, clip, out=tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert clip.read_bytes() == before
    rows = (tmp_path / "out" / "shares.csv").read_text().splitlines()[1:]
    assert [row.split(",")[0] for row in rows] == [f"clip/frame_{i:06d}" for i in range(4)]
    assert [round(float(frame[..., 0].mean()) / 80) for frame in seen] == [0, 1, 2, 3]
    assert all(frame[..., 2].mean() < 10 for frame in seen)
    (tmp_path / "out" / "index" / "clip" / "frame_000002.png").unlink()
    seen.clear()
    assert run(onnx_file, clip, out=tmp_path / "out").exit_code == 0  # goes on where it was
    assert [round(float(frame[..., 0].mean()) / 80) for frame in seen] == [2]


def test_a_video_without_opencv_is_one_line(onnx_file, tmp_path, monkeypatch):
    (tmp_path / "clip.mp4").write_bytes(b"frames")
    monkeypatch.setitem(sys.modules, "cv2", None)
    result = run(onnx_file, tmp_path / "clip.mp4", out=tmp_path / "out")
    assert result.exit_code == 2
    assert "a video needs OpenCV, which is not installed; pip install opencv-python-headless" in result.stderr


def test_a_video_that_is_none(onnx_file, tmp_path):
    pytest.importorskip("cv2", reason="the extra video is not installed")
    (tmp_path / "clip.mp4").write_bytes(b"no frames")
    result = run(onnx_file, tmp_path / "clip.mp4", out=tmp_path / "out")
    assert result.exit_code == 2
    assert "not a video that OpenCV reads" in result.stderr
