"""The other families of MMSegmentation's zoo: every tensor of a state dict lands, and its own outputs come out.

As ``test_import_weights``, without the command around it: these are many networks of full size.
"""

import importlib.util
import json

import numpy as np
import pytest
import torch

from maskline.builders.model import segmentor
from maskline.core.errors import ShapeError
from maskline.models.layers import resize, size_of
from maskline.params.network.model import validate_model
from maskline.weights.matching import match
from maskline.weights.mmseg.model import ModelReader

TOLERANCE = 1e-4  # of the largest value
IMPORTED = [
    "ann_r50-d8_4xb2-40k_cityscapes-512x1024",
    "apcnet_r50-d8_4xb2-40k_cityscapes-512x1024",
    "bisenetv1_r18-d32_4xb4-160k_cityscapes-1024x1024",
    "bisenetv2_fcn_4xb4-160k_cityscapes-1024x1024",
    "ccnet_r50-d8_4xb2-40k_cityscapes-512x1024",
    "convnext-tiny_upernet_8xb2-amp-160k_ade20k-512x512",
    "danet_r50-d8_4xb2-40k_cityscapes-512x1024",
    "dmnet_r50-d8_4xb2-40k_cityscapes-512x1024",
    "dnl_r50-d8_4xb2-40k_cityscapes-512x1024",
    "emanet_r50-d8_4xb2-80k_cityscapes-512x1024",
    "encnet_r50-d8_4xb2-40k_cityscapes-512x1024",
    "fastfcn_r50-d32_jpu_psp_4xb2-80k_cityscapes-512x1024",
    "gcnet_r50-d8_4xb2-40k_cityscapes-512x1024",
    "icnet_r18-d8_4xb2-80k_cityscapes-832x832",
    "isanet_r50-d8_4xb2-40k_cityscapes-512x1024",
    "knet-s3_r50-d8_fcn_8xb2-adamw-80k_ade20k-512x512",
    "maskformer_r50-d32_8xb2-160k_ade20k-512x512",
    "mobilenet-v2-d8_fcn_4xb2-80k_cityscapes-512x1024",
    "nonlocal_r50-d8_4xb2-40k_cityscapes-512x1024",
    "psanet_r50-d8_4xb2-40k_cityscapes-512x1024",
    "resnest_s101-d8_fcn_4xb2-80k_cityscapes-512x1024",
]


@pytest.fixture(scope="module")
def zoo(shared_conformance):
    """The folder of cases, and the values of their tensors."""
    spec = importlib.util.spec_from_file_location("conformance_weights", shared_conformance / "weights.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return shared_conformance / "zoo", module


def state_dict(case, stored, fill):
    """The whole state dict of a case."""
    tensors = {key: torch.from_numpy(fill(key, tuple(shape))) for key, shape in case["tensors"].items()}
    tensors |= {
        key.removeprefix("tensor:"): torch.from_numpy(stored[key]) for key in stored if key.startswith("tensor:")
    }
    return tensors | {name: tensors[source] for name, source in case["copies"].items()}


@pytest.mark.parametrize("name", IMPORTED)
def test_outputs_are_mmsegmentations(name, zoo):
    folder, fillings = zoo
    case = json.loads((folder / f"{name}.json").read_text())
    with np.load(folder / f"{name}.npz") as file:
        stored = dict(file)
    reader = ModelReader()
    params = validate_model(reader.read(case["model"], preprocessor=None), place=name)
    with torch.device("meta"):
        model = segmentor(params, num_classes=reader.num_classes)
    found = match(state_dict(case, stored, fillings.fill), model.state_dict(), binary=reader.binary)
    assert (found.missing, found.left_over, found.unfit) == ((), (), ())
    model.load_state_dict(found.tensors, strict=True, assign=True)
    size = case["input"]
    image = torch.from_numpy(fillings.image(size["seed"], size["height"], size["width"]))
    with torch.inference_mode():
        outputs = model.eval().head_logits(image)
        outputs["logits"] = resize(list(outputs.values())[-1], size_of(image), align_corners=model.align_corners)
    for key, expected in stored.items():
        if "_stride" in key:
            output, stride = key.rsplit("_stride", 1)
            difference = np.abs(outputs[output][:, :, :: int(stride), :: int(stride)].numpy() - expected).max()
            assert difference <= TOLERANCE * np.abs(expected).max(), key


def test_what_is_not_listed_does_not_import(zoo):
    folder, _ = zoo
    cases = {path.stem: path for path in folder.glob("*.json")}
    assert set(IMPORTED) <= cases.keys()
    for name in cases.keys() - set(IMPORTED):
        section = json.loads(cases[name].read_text())["model"]
        with pytest.raises(ShapeError, match=r"counterpart|one value|one norm_cfg"):
            ModelReader().read(section, preprocessor=None)
