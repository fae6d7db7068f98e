"""Networks of MMSegmentation's zoo: its own tensor names load strictly and its own outputs come out."""

import importlib.util
import json

import numpy as np
import pytest
import torch

from maskline.models.mmseg import segmentor_from_mmseg

CASES = [
    "deeplabv3_r50-d8_4xb2-40k_cityscapes-512x1024",
    "deeplabv3plus_r50-d8_4xb2-40k_cityscapes-512x1024",
    "fcn_r50-d8_4xb2-40k_cityscapes-512x1024",
    "fpn_r50_4xb2-80k_cityscapes-512x1024",
    "ocrnet_r101-d8_4xb2-40k_cityscapes-512x1024",
    "pointrend_r50_4xb2-80k_cityscapes-512x1024",
    "pspnet_r50-d8_4xb2-40k_cityscapes-512x1024",
    "segformer_mit-b0_8xb1-160k_cityscapes-1024x1024",
    "unet-s5-d16_fcn_4xb4-40k_drive-64x64",
    "unet-s5-d16_pspnet_4xb4-40k_chase-db1-128x128",
    "unet_s5-d16_deeplabv3_4xb4-40k_chase-db1-128x128",
    "upernet_r50_4xb2-40k_cityscapes-512x1024",
]
TOLERANCE = 1e-5  # of the largest value; ten times stricter than what counts as good agreement


@pytest.fixture(scope="module")
def fillings(shared_conformance):
    spec = importlib.util.spec_from_file_location("conformance_weights", shared_conformance / "weights.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", CASES)
def test_outputs_are_mmsegmentations(name, shared_conformance, fillings):
    case = json.loads((shared_conformance / "models" / f"{name}.json").read_text())
    expected = np.load(shared_conformance / "models" / f"{name}.npz")
    with torch.device("meta"):
        model = segmentor_from_mmseg(case["model"])
    tensors = {key: torch.from_numpy(fillings.fill(key, tuple(shape))) for key, shape in dict(case["tensors"]).items()}
    model.load_state_dict(tensors, strict=True, assign=True)
    model.eval()
    size = case["input"]
    image = torch.from_numpy(fillings.image(size["seed"], size["height"], size["width"]))
    with torch.inference_mode():
        outputs = {**model.head_logits(image), "logits": model(image)}
    for key in expected.files:
        difference = np.abs(outputs[key].numpy() - expected[key]).max()
        assert difference <= TOLERANCE * np.abs(expected[key]).max(), key


def test_every_case_is_listed(shared_conformance):
    assert sorted(path.stem for path in (shared_conformance / "models").glob("*.json")) == CASES
