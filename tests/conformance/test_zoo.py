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
    "beit-base_upernet_8xb2-160k_ade20k-640x640",
    "bisenetv1_r18-d32_4xb4-160k_cityscapes-1024x1024",
    "bisenetv2_fcn_4xb4-160k_cityscapes-1024x1024",
    "ccnet_r50-d8_4xb2-40k_cityscapes-512x1024",
    "cgnet_fcn_4xb4-60k_cityscapes-680x680",
    "convnext-tiny_upernet_8xb2-amp-160k_ade20k-512x512",
    "danet_r50-d8_4xb2-40k_cityscapes-512x1024",
    "ddrnet_23-slim_in1k-pre_2xb6-120k_cityscapes-1024x1024",
    "dmnet_r50-d8_4xb2-40k_cityscapes-512x1024",
    "dnl_r50-d8_4xb2-40k_cityscapes-512x1024",
    "dpt_vit-b16_8xb2-160k_ade20k-512x512",
    "emanet_r50-d8_4xb2-80k_cityscapes-512x1024",
    "encnet_r50-d8_4xb2-40k_cityscapes-512x1024",
    "erfnet_fcn_4xb4-160k_cityscapes-512x1024",
    "fast_scnn_8xb4-160k_cityscapes-512x1024",
    "fastfcn_r50-d32_jpu_psp_4xb2-80k_cityscapes-512x1024",
    "fpn_poolformer_s12_8xb4-40k_ade20k-512x512",
    "gcnet_r50-d8_4xb2-40k_cityscapes-512x1024",
    "icnet_r18-d8_4xb2-80k_cityscapes-832x832",
    "isanet_r50-d8_4xb2-40k_cityscapes-512x1024",
    "knet-s3_r50-d8_fcn_8xb2-adamw-80k_ade20k-512x512",
    "mae-base_upernet_8xb2-amp-160k_ade20k-512x512",
    "mask2former_r50_8xb2-90k_cityscapes-512x1024",
    "mask2former_swin-t_8xb2-160k_ade20k-512x512",
    "maskformer_r50-d32_8xb2-160k_ade20k-512x512",
    "mobilenet-v2-d8_fcn_4xb2-80k_cityscapes-512x1024",
    "mobilenet-v3-d8-s_lraspp_4xb4-320k_cityscapes-512x1024",
    "nonlocal_r50-d8_4xb2-40k_cityscapes-512x1024",
    "pidnet-s_2xb6-120k_1024x1024-cityscapes",
    "psanet_r50-d8_4xb2-40k_cityscapes-512x1024",
    "resnest_s101-d8_fcn_4xb2-80k_cityscapes-512x1024",
    "segmenter_vit-t_mask_8xb1-160k_ade20k-512x512",
    "setr_vit-l_naive_8xb1-80k_cityscapes-768x768",
    "stdc1_4xb12-80k_cityscapes-512x1024",
    "swin-tiny-patch4-window7-in1k-pre_upernet_8xb2-160k_ade20k-512x512",
    "twins_pcpvt-s_fpn_fpnhead_8xb4-80k_ade20k-512x512",
    "twins_svt-s_uperhead_8xb2-160k_ade20k-512x512",
    "vit_deit-s16_upernet_8xb2-80k_ade20k-512x512",
]

# MMSegmentation draws the bases of SegNeXt's head in each call: its own outputs of one image differ.
DRAWN = ["segnext_mscan-t_1xb16-adamw-160k_ade20k-512x512"]


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


def run(name, zoo):
    """Return our outputs and MMSegmentation's, at its strides."""
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
    expected = {tuple(key.rsplit("_stride", 1)): value for key, value in stored.items() if "_stride" in key}
    return {
        key: (outputs[key][:, :, :: int(stride), :: int(stride)].numpy(), value)
        for (key, stride), value in expected.items()
    }


def difference(ours, theirs):
    """Return the largest difference, as a share of the largest value."""
    return np.abs(ours - theirs).max() / np.abs(theirs).max()


@pytest.mark.parametrize("name", IMPORTED)
def test_outputs_are_mmsegmentations(name, zoo):
    for key, (ours, theirs) in run(name, zoo).items():
        assert difference(ours, theirs) <= TOLERANCE, key


@pytest.mark.parametrize("name", DRAWN)
def test_outputs_are_as_near_as_mmsegmentations_are_to_each_other(name, zoo):
    outputs = run(name, zoo)
    again = resize(torch.from_numpy(outputs["decode_head"][1]), (64, 96), align_corners=False)[:, :, ::8, ::8].numpy()
    spread = difference(again, outputs["logits"][1])
    assert spread > TOLERANCE
    for key, (ours, theirs) in outputs.items():
        assert difference(ours, theirs) <= 1.5 * spread, key


def test_what_is_not_listed_does_not_import(zoo):
    folder, _ = zoo
    cases = {path.stem: path for path in folder.glob("*.json")}
    listed = {*IMPORTED, *DRAWN}
    assert listed <= cases.keys()
    for name in cases.keys() - listed:
        section = json.loads(cases[name].read_text())["model"]
        with pytest.raises(ShapeError, match=r"counterpart|one value|one norm_cfg"):
            ModelReader().read(section, preprocessor=None)
