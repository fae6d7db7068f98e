"""Checkpoints of MMSegmentation's zoo through the real command: every tensor lands, its own outputs come out."""

import importlib.util
import json

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from maskline.builders.inference import load_segmentor
from maskline.commands.main import main

# Of the largest value; 1e-4 counts as good agreement. 1.2e-5 was seen on a processor without AVX-512.
TOLERANCE = 1e-5 if torch.backends.cpu.get_cpu_capability() == "AVX512" else 2e-5
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


@pytest.fixture(scope="module")
def fillings(shared_conformance):
    spec = importlib.util.spec_from_file_location("conformance_weights", shared_conformance / "weights.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", CASES)
def test_outputs_are_mmsegmentations(name, shared_conformance, fillings, tmp_path):
    config = shared_conformance / "models" / f"{name}.json"
    case = json.loads(config.read_text())
    tensors = {key: torch.from_numpy(fillings.fill(key, tuple(shape))) for key, shape in case["tensors"].items()}
    torch.save({"state_dict": tensors, "meta": {}}, tmp_path / "checkpoint.pth")
    arguments = ["import-weights", str(tmp_path / "checkpoint.pth"), "--mmseg-config", str(config)]
    result = CliRunner().invoke(main, [*arguments, "-o", str(tmp_path / "model")])
    assert result.exit_code == 0, result.output
    assert f"matched: {len(tensors)}\n" in result.output
    for title in ("reshaped", "missing", "left over", "of another shape"):
        assert f"{title}: 0\n" in result.output
    model = load_segmentor(tmp_path / "model")
    size = case["input"]
    image = torch.from_numpy(fillings.image(size["seed"], size["height"], size["width"]))
    with torch.inference_mode():
        outputs = {**model.head_logits(image), "logits": model(image)}
    with np.load(config.with_suffix(".npz")) as expected:
        for key, values in expected.items():
            difference = np.abs(outputs[key].numpy() - values).max()
            assert difference <= TOLERANCE * np.abs(values).max(), key


def test_every_case_is_listed(shared_conformance):
    assert sorted(path.stem for path in (shared_conformance / "models").glob("*.json")) == CASES
