"""A set of five 16-bit channels: two of them, scaled as told, from the archive to one step of training."""

import json

import numpy as np
import pytest
import tifffile
from PIL import Image

from maskline.builders.augment import normalization
from maskline.builders.training import build_training
from maskline.core.errors import ParamsError
from maskline.data.dataset import PreparedSplit
from maskline.data.reading_rule import ReadingRule
from maskline.params.input import InputParams
from maskline.params.whole import validate_params
from tests.builders.test_training import SMALL
from tests.sets import index_mask, save
from tools.trial import complete_params


@pytest.fixture
def deep(workspace, tmp_path):
    """Write and convert the set; return its pixels."""
    pixels = np.random.default_rng(0).integers(0, 4000, (6, 48, 60, 5)).astype(np.uint16)
    for i, values in enumerate(pixels):
        save(index_mask(i, (60, 48)), tmp_path / f"set/masks/{i}.png")
        (tmp_path / "set/images").mkdir(exist_ok=True)
        tifffile.imwrite(tmp_path / f"set/images/{i}.tif", values, photometric="minisblack", planarconfig="contig")
    error = workspace.both(archive=str(tmp_path / "set")).err
    assert "5 channels" in error
    assert "data.channels" in error
    asked = {"channels": [4, 1], "image_scale": [1000.0, 3550.0]}
    result = workspace.both(archive=str(tmp_path / "set"), **asked)
    assert result.code == 0, result.err
    return pixels


def test_images_are_the_named_channels_scaled(workspace, deep):
    expected = np.rint(np.clip((deep[..., [4, 1]].astype(float) - 1000) / 10, 0, 255)).astype(np.uint8)
    for name in ("train", "val", "test"):
        split = PreparedSplit.open(workspace.prepared, name, cache="stream")
        assert split.channels == 2
        assert split.rule == ReadingRule(
            channels=(4, 1),
            image_scale=(1000.0, 3550.0),
            alpha="error",
            exif="apply",
            source_bands=(5,),
            source_types=("uint16",),
        )
        for i, id_ in enumerate(split.ids):
            assert np.array_equal(split.sample(i).image, expected[int(id_)])


def test_training_takes_them_and_no_other_number(workspace, deep):
    values = complete_params(workspace.path / "params.yaml")
    for key, value in SMALL.items():
        _, section, name = key.split("__")
        values["model"][section][name] = value
    values["augment"] |= {"crop_size": [32, 32], "class_crop": 0.5}
    values["train"]["batch_size"] = 2
    with pytest.raises(ParamsError, match=r"model\.in_channels: 3, but the prepared images have 2 channels"):
        build_training(validate_params(values), workspace.prepared)
    values["model"] |= {"in_channels": 2, "mean": [100.0, 90.0], "std": [50.0, 60.0]}
    job = build_training(validate_params(values), workspace.prepared)
    assert job.card["reading"]["channels"] == [4, 1]
    batches = job.loop.batches
    made = batches.finish(batches.batch(0), job.loop.compute.device)
    assert made.images.shape == (2, 2, 32, 32)
    assert job.model(made.images).shape == (2, 2, 32, 32)
    assert job.card["preprocessing"] == {"mean": [100.0, 90.0], "std": [50.0, 60.0], "scale": 255}
    values["augment"]["clahe"]["prob"] = 0.5
    with pytest.raises(ParamsError, match=r"augment\.clahe: works on red, green and blue"):
        build_training(validate_params(values), workspace.prepared)


def test_mean_and_std_of_the_train_split(workspace, deep):
    train = PreparedSplit.open(workspace.prepared, "train", cache="stream")
    pixels = np.concatenate([train.sample(i).image.reshape(-1, 2) for i in range(len(train))])
    assert len(train) < len(deep)
    written = json.loads((workspace.prepared / "labels.json").read_text())["images"]
    assert written == {
        "mean": np.round(pixels.mean(axis=0), 4).tolist(),
        "std": np.round(pixels.std(axis=0), 4).tolist(),
        "split": "train",
    }
    values = complete_params(workspace.path / "params.yaml")
    for key, value in SMALL.items():
        _, section, name = key.split("__")
        values["model"][section][name] = value
    values["augment"]["crop_size"] = [32, 32]
    values["model"] |= {"in_channels": 2, "mean": "auto", "std": "auto"}
    job = build_training(validate_params(values), workspace.prepared)
    assert job.card["preprocessing"] == {"mean": written["mean"], "std": written["std"], "scale": 255}
    made = job.loop.batches.augmentation
    assert (made.mean, made.std, made.fill) == (tuple(written["mean"]), tuple(written["std"]), tuple(written["mean"]))
    values["model"]["mean"] = [1.0, 2.0]
    job = build_training(validate_params(values), workspace.prepared)
    assert job.card["preprocessing"] == {"mean": [1.0, 2.0], "std": written["std"], "scale": 255}


def test_a_channel_of_one_value_has_no_std(workspace, deep):
    labels = workspace.prepared / "labels.json"
    content = json.loads(labels.read_text())
    content["images"]["std"] = [3.0, 0.0]
    labels.write_text(json.dumps(content))
    look = InputParams(in_channels=2, mean="auto", std="auto")
    with pytest.raises(ParamsError, match="channel 1 has one value in all train images; leave it out"):
        normalization(look, PreparedSplit.open(workspace.prepared, "train", cache="stream"))
    with pytest.raises(ParamsError, match=r"no prepared data here; give the numbers"):
        look.numbers()


def test_a_cmyk_image_among_others_is_read_with_a_remark(workspace, make_set, tmp_path):
    folder = make_set()
    with Image.open(folder / "train/images/00.png") as image:
        image.convert("CMYK").save(folder / "train/images/00.jpg")
    (folder / "train/images/00.png").unlink()
    assert workspace.both(archive=str(folder)).code == 0
    remarks = (workspace.prepared / "warnings.csv").read_text()
    assert remarks.count("CMYK, read as RGB without its color profile") == 1
