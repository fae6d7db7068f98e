"""What training was told travels with the model: equal classes wherever a file is shown to it."""

import json

import imagecodecs
import numpy as np
import onnx
import pytest
import tifffile
import torch
from click.testing import CliRunner
from PIL import Image

import maskline
from maskline.builders.inference import build_inference
from maskline.builders.training import build_training
from maskline.commands import predict
from maskline.data.dataset import PreparedSplit
from maskline.export import example, onnx_graph, package
from maskline.export.trace import trace
from maskline.params.evaluate import EvaluateParams
from maskline.params.whole import validate_params
from maskline.runtime.checkpoint import save_model
from tests.set_fixtures import workspace
from tests.sets import index_mask
from tools.trial import complete_params

__all__ = ["workspace"]

SIZE = (44, 36)  # width, height
COUNT = 2

DEEP = {"image_scale": [500.0, 3500.0]}
# Name -> suffix of the files, section data, bands of a file, largest value.
CASES = {
    "rgb": ("jpg", {}, 3, 255),
    "gray": ("png", {}, 1, 255),
    "bgr": ("png", {"channels": [2, 1, 0]}, 3, 255),
    "one channel": ("png", {"channels": [0]}, 1, 255),
    "four channels": ("tif", {"channels": [3, 0, 1, 2]}, 4, 255),
    "near infrared first": ("tif", {"channels": [3, 0, 1]}, 4, 255),
    "twelve channels, lzw": ("tif", {"channels": list(range(12))[::-1], **DEEP}, 12, 4000),
    "16-bit gray": ("png", DEEP, 1, 4000),
    "16-bit color png": ("png", DEEP, 3, 4000),
    "16-bit tiff": ("tif", {"image_scale": "full_range"}, 3, 65535),
    "float tiff": ("tif", DEEP, 1, 4000.5),
    "own percentiles": ("jpg", {"image_scale": ["p2", "p99.5"]}, 3, 255),
    "own percentiles of floats": ("tif", {"image_scale": ["p2", "p99.5"]}, 1, 4000.5),
    "cmyk": ("jpg", {}, 4, 255),
    "turned": ("jpg", {"exif": "apply"}, 3, 255),
    "stored": ("jpg", {"exif": "ignore"}, 3, 255),
    "alpha": ("png", {"alpha": "drop"}, 4, 255),
    "overview": ("tif", {}, 3, 255),
}


def drawn(seed, bands, high):
    """Blocks of noise, (height, width, bands), of the smallest type that holds them."""
    kind = np.float32 if isinstance(high, float) else np.uint8 if high < 256 else np.uint16
    coarse = np.random.default_rng(seed).uniform(0, high, (9, 11, bands))
    return coarse.repeat(4, 0).repeat(4, 1).astype(kind)


def write(path, values, name):
    if path.suffix == ".tif":
        kind = "rgb" if values.shape[2] in (3, 4) else "minisblack"
        shape = {"photometric": kind, "planarconfig": "contig", "metadata": None}
        extra = {"extrasamples": ["unspecified"]} if values.shape[2] == 4 else {}
        with tifffile.TiffWriter(path) as file:
            compression = "lzw" if "lzw" in name else "zlib"
            file.write(values.squeeze(), compression=compression, **shape, **extra)
            if name == "overview":
                file.write(values[::2, ::2], subfiletype=1, **shape)
    elif values.dtype == np.uint16:
        path.write_bytes(imagecodecs.png_encode(values.squeeze()))
    elif name == "cmyk":
        Image.fromarray(values, mode="CMYK").save(path, quality=95)
    else:
        exif = Image.Exif()
        if name in {"turned", "stored"}:
            exif[0x0112] = 6
        Image.fromarray(values.squeeze()).save(path, exif=exif, quality=95)


@pytest.fixture(scope="module")
def networks():
    """Weights and ONNX content by number of channels: they are the same for all cases of one number."""
    return {}


@pytest.fixture
def convert(workspace, tmp_path):
    """Write and convert a set; return the params of a small network that fits it."""

    def make(name, **changes):
        suffix, data, bands, high = CASES[name]
        upright = SIZE[::-1] if name == "turned" else SIZE
        for split, seed in (("train", 10), ("test", 0)):
            for folder in ("images", "masks"):
                (tmp_path / "set" / split / folder).mkdir(parents=True)
            for i in range(COUNT):
                image = tmp_path / "set" / split / "images" / f"{split}{i}.{suffix}"
                write(image, drawn(seed + i, bands, high), name)
                index_mask(i, upright).save(tmp_path / "set" / split / "masks" / f"{split}{i}.png")
        data = {**data, **changes, "val_fraction": 0.0}
        result = workspace.both(archive=str(tmp_path / "set"), **data)
        assert result.code == 0, result.err
        channels = len(data.get("channels") or "rgb")
        values = complete_params(workspace.path / "params.yaml")
        values["model"] |= {"in_channels": channels, "mean": [120.0] * channels, "std": [40.0] * channels}
        values["model"]["auxiliary_heads"] = []
        values["model"]["backbone"] |= {"base_channels": 4, "num_stages": 2}
        values["model"]["decode_head"]["channels"] = 4
        values["augment"]["crop_size"] = [32, 32]
        values["train"] |= {"batch_size": 2, "threads": 1}
        return values

    return make


@pytest.fixture
def models(convert, workspace, tmp_path, networks):
    """A trained folder with the card that training writes, and its export."""

    def make(name, **changes):
        job = build_training(validate_params(convert(name, **changes)), workspace.prepared)
        channels = len(job.card["preprocessing"]["mean"])
        network = job.model.eval().to(memory_format=torch.contiguous_format)
        with torch.no_grad():  # half of the pixels to each class
            seen = network(torch.randn(1, channels, 64, 64, generator=torch.Generator().manual_seed(0)))
            network.decode_head.conv_seg.bias[1] -= (seen[:, 1] - seen[:, 0]).median()
        folder, file = tmp_path / "model", tmp_path / "model.onnx"
        save_model(folder, weights=network.state_dict(), last=None, card=job.card)
        one = package.Trained.from_card(network, json.loads((folder / "model.json").read_text()))
        if channels not in networks:
            program = trace(one.deployable(), example_size=(40, 48))
            networks[channels] = onnx_graph.to_onnx(program, opset=18, metadata={})
        graph = onnx.load_from_string(networks[channels])
        about = json.dumps(package.describe(one, example_size=(40, 48)))
        onnx.helper.set_model_props(graph, {onnx_graph.METADATA_KEY: about})
        file.write_bytes(graph.SerializeToString())
        return folder, file

    return make


def by_command(model, files, out):
    words = [str(part) for part in (model, *files, "-o", out, "--threads", 1, "--save", "index")]
    result = CliRunner().invoke(predict.main, words, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return [opened(out / "index" / f"{file.stem}.png") for file in files]


def opened(path):
    with Image.open(path) as image:
        return np.array(image)


@pytest.mark.parametrize("name", CASES)
def test_equal_classes_from_evaluate_predict_example_and_python(name, models, workspace, tmp_path):
    folder, file = models(name)
    files = sorted((tmp_path / "set/test/images").iterdir())
    split = PreparedSplit.open(workspace.prepared, "test", cache="stream")
    inference = build_inference(EvaluateParams(), folder)
    images = [split.sample(i).image for i in range(COUNT)]
    expected = [inference.segment(torch.from_numpy(one)[None], probabilities=False).labels[0].numpy() for one in images]
    assert all(0.02 < classes.mean() < 0.98 for classes in expected)
    flipped = [inference.segment(torch.from_numpy(one[..., ::-1].copy())[None], probabilities=False) for one in images]
    if name not in {"gray", "one channel", "16-bit gray", "float tiff", "own percentiles of floats"}:
        assert all((a != b.labels[0].numpy()).any() for a, b in zip(expected, flipped, strict=True)), "order matters"
    for i, source in enumerate(files):
        example.main(str(file), str(source), str(tmp_path / f"{i}.png"))
    model, exported = maskline.load(folder, threads=1), maskline.load(file, threads=1)
    cells = {
        "predict, torch": by_command(folder, files, tmp_path / "torch"),
        "predict, ONNX": by_command(file, files, tmp_path / "onnx"),
        "example.py": [opened(tmp_path / f"{i}.png") for i in range(COUNT)],
        "Python, torch": [result.classes for result in model.predict(files)],
        "Python, ONNX": [result.classes for result in exported.predict(files)],
    }
    for cell, found in cells.items():
        for one, classes in zip(expected, found, strict=True):
            np.testing.assert_array_equal(one, classes, err_msg=cell)
