"""With ``evaluate.scale`` a model sees the same everywhere: evaluation, predict, Python, exported file, example.py."""

import dataclasses
import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

import maskline
from maskline.builders.export import build_trained
from maskline.builders.inference import build_inference
from maskline.commands import predict as command
from maskline.core.errors import MasklineError, ParamsError
from maskline.export import card, onnx_graph, package
from maskline.export.trace import trace
from maskline.params.evaluate import EvaluateParams
from maskline.params.export import ExportParams
from tests.commands.conftest import trained_folder

__all__ = ["trained_folder"]

SCALE = (40, 72)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    for i, size in enumerate([(31, 57), (90, 50)]):
        coarse = np.random.default_rng(i).integers(0, 256, (size[0] // 6 + 1, size[1] // 6 + 1, 3), dtype=np.uint8)
        Image.fromarray(coarse.repeat(6, 0).repeat(6, 1)[: size[0], : size[1]]).save(folder / f"{i}.png")
    return folder


@pytest.fixture(scope="module")
def expected(trained_folder, photos):
    """Class maps of the evaluation."""
    inference = build_inference(EvaluateParams(scale=SCALE, device="cpu"), trained_folder)
    images = [torch.from_numpy(np.array(Image.open(path)))[None] for path in sorted(photos.iterdir())]
    return [inference.segment(image, probabilities=False).labels[0].numpy() for image in images]


def test_it_is_another_result_than_at_the_own_size(trained_folder, photos, expected):
    plain = maskline.load(trained_folder, threads=1).predict([photos / "0.png", photos / "1.png"])
    assert all((one.classes != other).mean() > 0.02 for one, other in zip(plain, expected, strict=True))


def test_python_and_an_imported_model(trained_folder, photos, expected, tmp_path):
    shutil.copytree(trained_folder, tmp_path / "imported")
    told = json.loads((tmp_path / "imported" / "model.json").read_text())
    told["params"]["evaluate"] = {"scale": list(SCALE), "inference": "whole"}
    (tmp_path / "imported" / "model.json").write_text(json.dumps(told))
    (tmp_path / "params.yaml").write_text(f"evaluate: {{scale: {list(SCALE)}}}\n")
    for model in (
        maskline.load(tmp_path / "imported", threads=1),
        maskline.load(trained_folder, params=tmp_path / "params.yaml", threads=1),
    ):
        for one, other in zip(model.predict([photos / "0.png", photos / "1.png"]), expected, strict=True):
            np.testing.assert_array_equal(one.classes, other)


@pytest.mark.parametrize("section", [{"scale": [8, 72]}, {"scale": "large"}, {"scale": {"a": 1}}, ["scale"]])
def test_a_card_of_another_form_is_one_line(trained_folder, section, tmp_path):
    shutil.copytree(trained_folder, tmp_path / "model")
    told = json.loads((tmp_path / "model" / "model.json").read_text())
    told["params"]["evaluate"] = section
    (tmp_path / "model" / "model.json").write_text(json.dumps(told))
    with pytest.raises(MasklineError, match=r"model\.json"):
        maskline.load(tmp_path / "model")


def test_the_exported_file_and_its_example(trained_folder, photos, expected, tmp_path):
    trained = build_trained(ExportParams(), trained_folder, scale=SCALE)
    about = package.describe(trained, example_size=(40, 48))
    assert about["sizes"]["scale"] == [40, 72]
    program = trace(trained.deployable(), example_size=(40, 48))
    (tmp_path / "model.onnx").write_bytes(onnx_graph.to_onnx(program, opset=18, metadata=about))
    (tmp_path / "example.py").write_text(card.example_text())
    found = maskline.load(tmp_path / "model.onnx", threads=1).predict([photos / "0.png", photos / "1.png"])
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one.classes, other)
    names = [tmp_path / "example.py", tmp_path / "model.onnx", photos / "1.png", tmp_path / "labels.png"]
    subprocess.run([sys.executable, "-I", *map(str, names)], capture_output=True, check=True)
    with Image.open(tmp_path / "labels.png") as mask:
        np.testing.assert_array_equal(np.asarray(mask), expected[1])


def test_what_cannot_be_scaled_is_refused(trained_folder, photos, tmp_path):
    (tmp_path / "params.yaml").write_text("evaluate: {scale: [40, 72]}\n")
    arguments = [
        trained_folder,
        photos / "0.png",
        "-o",
        tmp_path / "out",
        "--stream",
        "--params",
        tmp_path / "params.yaml",
    ]
    result = CliRunner().invoke(command.main, list(map(str, arguments)))
    assert result.exit_code == 2
    assert "evaluate: scale resizes the whole image, which is not in memory; set it to null" in result.stderr
    with pytest.raises(ParamsError, match=r"export\.resize: \[32, 32\], beside evaluate\.scale \[40, 72\]"):
        build_trained(ExportParams(resize=(32, 32)), trained_folder, scale=SCALE)
    (tmp_path / "params.yaml").write_text("evaluate: {scale: [8, 72]}\n")
    with pytest.raises(ParamsError, match=r"evaluate\.scale.*8"):
        maskline.load(trained_folder, params=tmp_path / "params.yaml")


def test_the_card_says_it(trained_folder):
    trained = build_trained(ExportParams(), trained_folder)
    scaled = dataclasses.replace(trained, interface=dataclasses.replace(trained.interface, scale=SCALE))
    assert "scaled to the largest size within 72 x 40 px" in card._policy(scaled)
    assert "scaled" not in card._policy(trained)
    assert "scale" not in package.describe(trained, example_size=(40, 48))["sizes"]
