"""The Python objects: what predict takes and gives, on the CPU, as the command has it."""

import io
import re
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

import maskline
from maskline.core.errors import CheckpointError, DataError, ParamsError, ShapeError
from tests.commands.conftest import onnx_file, trained_folder

__all__ = ["onnx_file", "trained_folder"]


@pytest.fixture
def photo(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (30, 44, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


@pytest.fixture(params=["trained_folder", "onnx_file"])
def model(request):
    return maskline.load(request.getfixturevalue(request.param), threads=1)


def test_one_image_in_every_form(model, photo):
    result = model.predict(photo)
    assert (result.classes.shape, result.classes.dtype) == ((30, 44), np.uint8)
    assert result.classes.any()
    assert (result.probabilities.shape, result.probabilities.dtype) == ((2, 30, 44), np.float32)
    np.testing.assert_array_equal(result.probabilities.argmax(0), result.classes)
    assert result.shares == {"background": (result.classes == 0).mean(), "vessel": (result.classes == 1).mean()}
    with Image.open(photo) as image:
        pixels = np.array(image)
        forms = [str(photo), image.copy(), pixels, torch.from_numpy(pixels).permute(2, 0, 1)]
    for form in forms:
        np.testing.assert_array_equal(model.predict(form).classes, result.classes)
    gray = model.predict(pixels[..., 0])
    np.testing.assert_array_equal(gray.image, np.repeat(pixels[..., :1], 3, 2))


def test_batches_and_lists(model, photo):
    with Image.open(photo) as image:
        pixels = np.array(image)
    batch = np.stack([pixels, pixels[::-1]])
    expected = [model.predict(one).classes for one in batch]
    for images in (batch, torch.from_numpy(batch).permute(0, 3, 1, 2), [photo, pixels[::-1]]):
        found = model.predict(images)
        assert len(found) == 2
        for one, other in zip(found, expected, strict=True):
            assert (one.classes != other).mean() < 1e-3  # the last bits of a batch are its own


def test_what_cannot_be_taken_is_said(model, photo):
    for images, error, message in (
        (np.zeros((30, 44, 5), np.uint8), DataError, "5 channels"),
        (np.zeros((30, 44, 3), np.float32), DataError, "more than 8 bits"),
        (np.zeros((1, 1, 30, 44, 3), np.uint8), ShapeError, "give one image, or a batch"),
        (7, ShapeError, "a int; give a path"),
        (photo.with_name("none.png"), FileNotFoundError, "none.png"),
    ):
        with pytest.raises(error, match=re.escape(message)):
            model.predict(images)


def test_results_are_saved_as_the_command_saves_them(model, photo):
    result, out = model.predict(photo), photo.parent
    for name in ("a.png", "a.jpg", "a.npy", "a.tif"):
        result.save(out / name)
    result.save(out / "ids.png", kind="index")
    for name in ("a.png", "ids.png", "a.tif"):
        with Image.open(out / name) as image:
            np.testing.assert_array_equal(np.array(image), result.classes)
            assert image.mode == ("P" if name == "a.png" else "L")
    np.testing.assert_array_equal(np.load(out / "a.npy"), result.probabilities)
    shown = Image.open(io.BytesIO(result._repr_png_()))
    np.testing.assert_array_equal(np.array(shown), np.array(result.overlay()))
    assert (np.array(shown) != result.image).any()
    with pytest.raises(DataError, match=r"no form of a result \(\.gif\)"):
        result.save(out / "a.gif")


def test_devices(trained_folder, onnx_file, photo):
    model = maskline.load(trained_folder, threads=1)
    expected = model.predict(photo).classes
    assert model.to("cpu") is model
    np.testing.assert_array_equal(model.predict(photo).classes, expected)
    with pytest.raises(ParamsError, match="'gpu' is none"):
        model.to("gpu")
    with pytest.raises(ParamsError, match="no such GPU"):
        model.to(f"cuda:{torch.cuda.device_count()}")
    with pytest.raises(CheckpointError, match="runs on the CPU, not on cuda"):
        maskline.load(onnx_file, threads=1).to("cuda")
    with pytest.raises(CheckpointError, match="no model"):
        maskline.load(photo)


def test_importing_maskline_loads_nothing_heavy():
    code = (
        "import sys, maskline; print(*sorted({name.split('.')[0] for name in sys.modules}));"
        "print(*sorted(name for name in sys.modules if name.startswith('maskline.')));"
        "print(maskline.load.__name__, maskline.Model.__name__, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    packages, own, last = done.stdout.split("\n")[:3]
    assert not {"numpy", "torch", "PIL", "pandas", "pydantic", "click", "onnxruntime"} & set(packages.split())
    assert own == ""
    assert last == "load Model False"
    with pytest.raises(AttributeError, match="has no attribute 'loads'"):
        _ = maskline.loads


def test_the_page_runs(root, trained_folder, photo, monkeypatch, capsys):
    page = (root / "docs/how-to/python.md").read_text()
    monkeypatch.chdir(photo.parent)
    (photo.parent / "data").mkdir()
    (photo.parent / "data/models").symlink_to(trained_folder)
    names: dict = {}
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert len(blocks) == 4
    for block in blocks:
        exec(compile(block, "python.md", "exec"), names)
    assert "(30, 44) {'background'" in capsys.readouterr().out
    for name in ("overlay.png", "classes.png", "ids.png", "probabilities.npy"):
        assert (photo.parent / name).is_file()
