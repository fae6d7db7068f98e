"""Ten training steps of small networks beside MMSegmentation's: losses in float64, some pixels ignored.

What it computed is in GOLDEN: MMSegmentation 1.2.2 (ConvNeXt: mmpretrain 1.2.0) with the same weights, images, losses
and AdamW; no dropout, no drop path.
"""

import pytest
import torch

from maskline.losses.composite import CompositeLoss
from maskline.losses.mmseg import cross_entropy_mmseg
from maskline.models.backbones.convnext import ConvNeXt
from maskline.models.backbones.swin import SwinPlan, SwinTransformer
from maskline.models.backbones.vit import VisionTransformer, VitPlan
from maskline.models.heads.fcn import FCNHead
from maskline.models.heads.segmenter import SegmenterHead
from maskline.models.heads.uper import UPerHead
from maskline.models.segmentor import Segmentor

CLASSES = 4
PLAN = VitPlan(width=16, depth=2, num_heads=2, image_size=(64, 96), out_indices=(1,), final_norm=True)
GOLDEN = {
    "swin upernet": [
        1.84211964099,
        1.87967570412,
        2.00970560749,
        1.74920794344,
        1.80056928493,
        1.84662968968,
        1.9929337631,
        1.73868545442,
        1.78697777469,
        1.81604375617,
    ],
    "convnext upernet": [
        1.80131406515,
        1.88223512189,
        2.18646143272,
        1.63189422123,
        1.74501550208,
        1.85427867978,
        2.14742938696,
        1.60045666045,
        1.7347466994,
        1.84129639621,
    ],
    "segmenter": [
        1.36650760254,
        1.25663216292,
        2.0713247587,
        1.01095820275,
        1.25027717404,
        1.2324817083,
        2.06089006579,
        0.932363444084,
        1.35890666726,
        1.17100643297,
    ],
}


def options(backbone, index, channels=8):
    picked = backbone.channels[index] if isinstance(index, int) else [backbone.channels[i] for i in index]
    return {
        "in_channels": picked,
        "in_index": index,
        "channels": channels,
        "num_classes": CLASSES,
        "dropout": 0.0,
        "align_corners": False,
    }


def upernet(backbone):
    return Segmentor(
        backbone=backbone,
        decode_heads=[UPerHead(bins=(1, 2, 3, 6), **options(backbone, [0, 1, 2, 3]))],
        auxiliary_heads=[FCNHead(num_convs=1, concat_input=False, **options(backbone, 2))],
        neck=None,
        num_classes=CLASSES,
        align_corners=False,
    )


def segmenter():
    backbone = VisionTransformer(in_channels=3, plan=PLAN)
    head = SegmenterHead(num_layers=2, num_heads=2, drop_path=0.0, **options(backbone, 0, channels=16))
    return Segmentor(
        backbone=backbone,
        decode_heads=[head],
        auxiliary_heads=[],
        neck=None,
        num_classes=CLASSES,
        align_corners=False,
    )


NETWORKS = {
    "swin upernet": lambda: upernet(
        SwinTransformer(in_channels=3, plan=SwinPlan(width=8, depths=(2, 2, 2, 2), num_heads=(1, 2, 2, 4)), window=3)
    ),
    "convnext upernet": lambda: upernet(ConvNeXt(size="atto", in_channels=3)),
    "segmenter": segmenter,
}


def fill(model):
    """Give every parameter values by a formula of its place in the order of names and its shape."""
    for number, (name, parameter) in enumerate(sorted(model.named_parameters())):
        places = torch.arange(parameter.numel(), dtype=torch.float64)
        waves = torch.sin(places * 0.7 + number).view(parameter.shape)
        fan = max(parameter[0].numel(), 1) if parameter.ndim > 1 else 10.0
        offset = 1.0 if parameter.ndim == 1 and name.endswith(("weight", "gamma")) else 0.0
        with torch.no_grad():
            parameter.copy_(waves / fan**0.5 + offset)


def batch(step):
    """Two images and their labels; a part is ignored, and a class is missing in every other step."""
    places = torch.arange(2 * 3 * 64 * 96, dtype=torch.float64)
    images = torch.sin(places * (0.013 + 0.001 * step) + step).view(2, 3, 64, 96) * 1.5
    blocks = torch.arange(2 * 8 * 12)
    target = ((blocks * blocks // 5 + step) % CLASSES).view(2, 8, 12).repeat_interleave(8, 1).repeat_interleave(8, 2)
    target[:, :10, 20:50] = 255
    if step % 2:
        target[target == 3] = 0
    return images, target


def optimizer(model):
    return torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.05)


def criterion(weight):
    loss = {"class_weights": None, "activation": "softmax", "reduction": "mean"}
    return CompositeLoss([(lambda *given: cross_entropy_mmseg(*given, **loss), weight)])


def losses(model):
    """Train for ten steps; return the sum of losses of each."""
    criteria = {"decode_head": criterion(1.0), "auxiliary_head.0": criterion(0.4)}
    steps, descent = [], optimizer(model)
    for step in range(10):
        images, target = batch(step)
        total = sum(criteria[name](*pair, 255) for name, pair in model.training_pairs(images, target).items())
        descent.zero_grad()
        total.backward()
        descent.step()
        steps.append(total.item())
    return steps


@pytest.mark.parametrize("name", NETWORKS)
def test_losses_are_mmsegmentations(name, monkeypatch):
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)  # losses compute in float32 otherwise
    model = NETWORKS[name]().double().train()
    fill(model)
    assert losses(model) == pytest.approx(GOLDEN[name], rel=1e-8)
