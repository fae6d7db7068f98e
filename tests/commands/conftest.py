"""A tiny trained model, its export, and a folder of images."""

import numpy as np
import pytest
from PIL import Image

from maskline.builders.inference import load_segmentor
from maskline.builders.model import segmentor
from maskline.data.labels import LabelSet
from maskline.export import onnx_graph, package
from maskline.export.trace import trace
from maskline.params.whole import validate_params
from maskline.runtime.checkpoint import read_card, save_model
from maskline.runtime.torch_seeds import seed_torch
from tools.trial import complete_params

LABELS = LabelSet(class_names=("background", "vessel"), palette=((0, 0, 0), (230, 60, 60)))


@pytest.fixture(scope="session")
def trained_folder(shipped_params, tmp_path_factory):
    values = complete_params(shipped_params)
    values["model"]["backbone"] |= {"base_channels": 4, "num_stages": 2}
    values["model"]["decode_head"]["channels"] = 4
    values["model"]["auxiliary_heads"] = []
    settings = validate_params(values)
    seed_torch(0)
    weights = segmentor(settings.model, num_classes=2).state_dict()
    folder = tmp_path_factory.mktemp("trained") / "models"
    card = {
        "params": {"model": settings.model.model_dump(mode="json")},
        "labels": LABELS.to_dict(),
        "preprocessing": {"mean": list(settings.model.mean), "std": list(settings.model.std), "scale": 255},
        "receipt": {},
    }
    save_model(folder, weights=weights, last=weights, card=card)
    return folder


@pytest.fixture(scope="session")
def onnx_file(trained_folder, tmp_path_factory):
    trained = package.Trained.from_card(load_segmentor(trained_folder), read_card(trained_folder))
    program = trace(trained.deployable(), example_size=(40, 48))
    content = onnx_graph.to_onnx(program, opset=18, metadata=package.describe(trained, example_size=(40, 48)))
    path = tmp_path_factory.mktemp("exported") / "model.onnx"
    path.write_bytes(content)
    return path


@pytest.fixture
def pictures(tmp_path):
    """Four images in two folders: RGB, gray, turned by EXIF, with alpha; and a file that is none."""
    folder = tmp_path / "pictures"
    (folder / "left").mkdir(parents=True)
    pixels = np.random.default_rng(0).integers(0, 256, (30, 44, 4), dtype=np.uint8)
    Image.fromarray(pixels[..., :3]).save(folder / "eye.png")
    Image.fromarray(pixels[..., 0]).save(folder / "left" / "eye.png")
    Image.fromarray(pixels).save(folder / "left" / "alpha.png")
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    Image.fromarray(pixels[..., :3]).save(folder / "turned.jpg", exif=exif)
    (folder / "notes.txt").write_text("no image")
    return folder
