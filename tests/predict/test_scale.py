"""At a scale a model sees the same everywhere: validation, evaluation, predict, Python, exported file, example.py."""

import dataclasses
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from ruamel.yaml import YAML

import maskline
from maskline.builders.export import build_trained
from maskline.builders.inference import build_inference
from maskline.commands import predict as command
from maskline.core.errors import CheckpointError, MasklineError, ParamsError
from maskline.export import card, onnx_graph, package
from maskline.export.trace import trace
from maskline.params.evaluate import EvaluateParams
from maskline.params.export import ExportParams
from tests.commands.conftest import trained_folder
from tests.set_fixtures import workspace
from tests.sets import index_mask, save

__all__ = ["trained_folder", "workspace"]

SCALE = (40, 72)
MODELS = (Path("data/models"), Path("data/export/model.onnx"))


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


def test_what_training_was_told_travels(workspace, tmp_path):
    """Validation, evaluation, predict and the exported file of one run, without a word to any of them."""
    for i in range(6):
        save(index_mask(i, (60, 48)), tmp_path / f"set/masks/{i}.png")
        pixels = np.random.default_rng(i).integers(0, 256, (8, 10, 3), dtype=np.uint8)
        save(Image.fromarray(pixels.repeat(6, 0).repeat(6, 1)), tmp_path / f"set/images/{i}.png")
    assert workspace.both(archive=str(tmp_path / "set")).code == 0
    values = YAML().load(workspace.path / "params.yaml")
    values["model"]["test_scale"] = list(SCALE)
    values["model"]["backbone"] |= {"base_channels": 4, "num_stages": 2}
    values["model"]["decode_head"]["channels"] = 4
    values["model"]["auxiliary_heads"] = []
    values["augment"]["crop_size"], values["schedule"]["warmup_length"] = [32, 32], 0
    values["train"] |= {"batch_size": 2, "iterations": 2, "precision": "fp32"}
    values["evaluate"] |= {"split": "val", "bootstrap": 0, "tta": {"scales": [1.0], "flips": ["none"]}}
    values["evaluate"] |= {"threshold": None, "min_component_px": 0, "max_hole_px": 0}
    values["export"] |= {"variants": [], "latency_size": [40, 48], "latency_batches": [1], "latency_runs": 1}
    YAML().dump(values, workspace.path / "params.yaml")
    for stage in ("train", "evaluate", "export"):
        assert (result := workspace.run(stage)).code == 0, result.err

    curve = pandas.read_csv("reports/train/curves.csv").iloc[-1]
    scores = pandas.read_csv("reports/evaluate/scores.csv", index_col=0)
    assert [curve[key] for key in ("aAcc", "mIoU", "mDice")] == pytest.approx(
        scores["value"][["aAcc", "mIoU", "mDice"]]
    )
    assert "images scaled to fit 72 x 40 px" in Path("reports/evaluate/report.html").read_text()
    image = tmp_path / "set/images/0.png"
    found, exported = (maskline.load(model, threads=1).predict(image).classes for model in MODELS)
    np.testing.assert_array_equal(found, exported)
    for scale, same in (("model", True), (None, False)):
        inference = build_inference(EvaluateParams(scale=scale, device="cpu"), MODELS[0])
        told = inference.segment(torch.from_numpy(np.array(Image.open(image)))[None], probabilities=False)
        assert np.array_equal(found, told.labels[0].numpy()) == same


def exported(model, path):
    """The exported file of a trained folder."""
    trained = build_trained(ExportParams(), model)
    about = package.describe(trained, example_size=(40, 48))
    path.write_bytes(onnx_graph.to_onnx(trace(trained.deployable(), example_size=(40, 48)), opset=18, metadata=about))
    return path


def test_models_of_other_scales_are_not_one(trained_folder, photos, tmp_path):
    """But each exported is: the remedy that the error names."""
    shutil.copytree(trained_folder, tmp_path / "other")
    told = json.loads((tmp_path / "other" / "model.json").read_text())
    told["params"]["model"]["test_scale"] = list(SCALE)
    (tmp_path / "other" / "model.json").write_text(json.dumps(told))
    with pytest.raises(CheckpointError, match=r"test_scale \[40, 72\], and .* has null; name models of one scale"):
        maskline.load([trained_folder, tmp_path / "other"])
    files = [exported(model, tmp_path / f"{model.name}.onnx") for model in (trained_folder, tmp_path / "other")]
    one, other = (maskline.load(file, threads=1).predict(photos / "1.png").probabilities for file in files)
    both = maskline.load(files, threads=1).predict(photos / "1.png").probabilities
    np.testing.assert_allclose(both, (one + other) / 2, atol=1e-6)


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
