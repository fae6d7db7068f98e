"""Several models as one."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

import maskline
from maskline.analysis.network_size import describe
from maskline.builders.ensemble import write_ensemble
from maskline.builders.inference import load_segmentor
from maskline.commands.main import main
from maskline.core.errors import CheckpointError
from maskline.export import package
from maskline.export.variants import Limits
from maskline.runtime.checkpoint import read_card, read_weights, save_model
from tests.commands.conftest import LABELS, onnx_file, trained_folder
from tests.export.conftest import Pictures

__all__ = ["onnx_file", "trained_folder"]


@pytest.fixture(scope="module")
def other_folder(trained_folder, tmp_path_factory):
    """The same network with other weights."""
    folder = tmp_path_factory.mktemp("other") / "models"
    generator = torch.Generator().manual_seed(1)
    weights = {
        name: value + 0.3 * torch.randn(value.shape, generator=generator) if name.endswith("weight") else value
        for name, value in read_weights(trained_folder).items()
    }
    save_model(folder, weights=weights, last=None, card={**read_card(trained_folder), "receipt": {}})
    return folder


@pytest.fixture
def photo(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (30, 44, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def test_the_mean_of_probabilities(trained_folder, other_folder, onnx_file, photo):
    fields = [maskline.load(path, threads=1).predict(photo).probabilities for path in (trained_folder, other_folder)]
    assert np.abs(fields[0] - fields[1]).max() > 0.05
    for members in ([trained_folder, other_folder], [onnx_file, other_folder]):
        result = maskline.load(members, threads=1).predict(photo)
        np.testing.assert_allclose(result.probabilities, (fields[0] + fields[1]) / 2, atol=1e-5)
        np.testing.assert_array_equal(result.classes, result.probabilities.argmax(0))


def test_the_command_takes_models_in_front_of_images(trained_folder, other_folder, photo, tmp_path):
    arguments = ["predict", trained_folder, other_folder, photo, "-o", tmp_path / "out", "--threads", "1"]
    result = CliRunner().invoke(main, list(map(str, arguments)))
    assert result.exit_code == 0, result.output
    expected = maskline.load([trained_folder, other_folder], threads=1).predict(photo)
    with Image.open(tmp_path / "out" / "index" / "photo.png") as image:
        np.testing.assert_array_equal(np.array(image), expected.classes)


def test_members_of_members_count_alike(trained_folder, other_folder, tmp_path):
    write_ensemble([trained_folder, other_folder], tmp_path / "two")
    write_ensemble([tmp_path / "two", trained_folder], tmp_path / "three")
    networks = [load_segmentor(folder) for folder in (trained_folder, other_folder, trained_folder)]
    images = torch.randn(1, 3, 40, 33, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = torch.stack([network(images).softmax(1) for network in networks]).mean(0)
        found = load_segmentor(tmp_path / "three")(images).softmax(1)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_networks_trained_side_by_side_are_members_like_others(trained_folder, other_folder, tmp_path):
    write_ensemble([trained_folder, other_folder], tmp_path / "joined")
    card = read_card(trained_folder)
    card["params"] = {**card["params"], "model": {**card["params"]["model"], "members": 2}}
    weights = read_weights(tmp_path / "joined")
    save_model(tmp_path / "beside", weights=weights, last=None, card={**card, "receipt": {}})
    images = torch.randn(1, 3, 40, 33, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = load_segmentor(tmp_path / "joined")(images)
        torch.testing.assert_close(load_segmentor(tmp_path / "beside")(images), expected)
        write_ensemble([tmp_path / "beside", trained_folder], tmp_path / "three")
        write_ensemble([tmp_path / "joined", trained_folder], tmp_path / "again")
        found = load_segmentor(tmp_path / "three")(images)
        torch.testing.assert_close(found, load_segmentor(tmp_path / "again")(images))
    sizes = [describe(str(tmp_path / name), size=(64, 64), classes=2) for name in ("beside", "joined", "three")]
    single = describe(str(trained_folder), size=(64, 64), classes=2)
    assert [size.parameters for size in sizes] == [count * single.parameters for count in (2, 2, 3)]


def test_models_that_do_not_belong_together(trained_folder, tmp_path):
    card = read_card(trained_folder)
    card["labels"] = {**card["labels"], "class_names": ["background", "disc"]}
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "model.json").write_text(json.dumps(card))
    (tmp_path / "m" / "model.safetensors").write_bytes((trained_folder / "model.safetensors").read_bytes())
    with pytest.raises(CheckpointError, match="was trained with other labels than"):
        maskline.load([trained_folder, tmp_path / "m"])
    with pytest.raises(CheckpointError, match="no model"):
        maskline.load([])


class Eyes(Pictures):
    """Images of the classes that the models know."""

    def sample(self, index):
        one = super().sample(index)
        return replace(one, mask=np.where(one.mask == 255, 255, one.mask % 2).astype(np.uint8))


def test_one_onnx_file_holds_all_members(trained_folder, other_folder, tmp_path):
    write_ensemble([trained_folder, other_folder], tmp_path / "m")
    trained = package.Trained.from_card(load_segmentor(tmp_path / "m"), read_card(tmp_path / "m"))
    package.export_model(
        trained,
        Eyes(labels=LABELS),
        out=tmp_path / "export",
        opset=18,
        example_size=(64, 96),
        threads=1,
        limits=Limits(max_disagreement=0.001, max_metric_change=0.001, section="export"),
        variants=(),
    )
    image = np.random.default_rng(1).integers(0, 256, (50, 61, 3), dtype=np.uint8)
    whole = maskline.load(tmp_path / "export", threads=1).predict(image).probabilities
    members = [maskline.load(path, threads=1).predict(image).probabilities for path in (trained_folder, other_folder)]
    np.testing.assert_allclose(whole, np.mean(members, axis=0), atol=1e-4)
