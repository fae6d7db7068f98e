"""Sizes of networks that can be counted by hand."""

import pytest
import torch
from torch import nn

from maskline.analysis.flops import summarize
from maskline.builders.model import segmentor
from maskline.models.backbones.mit import MIT_PLANS, MixTransformer
from maskline.params.network.model import validate_model
from tools.recipe_models import NETWORKS


def test_one_convolution_by_hand():
    model = nn.Conv2d(3, 8, 3, padding=1, bias=False)
    model.weight.requires_grad_(False)
    found = summarize(model, in_channels=3, size=(10, 12))
    assert found.parameters == 3 * 8 * 9
    assert found.trainable == 0
    assert found.multiply_adds == 3 * 8 * 9 * 10 * 12
    assert model.weight.device == torch.device("cpu")


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_of_the_recipes(name):
    section = validate_model(NETWORKS[name], place=name)
    with torch.device("meta"):
        model = segmentor(section, num_classes=19)
    found = summarize(model, in_channels=3, size=(64, 64))
    assert found.parameters == found.trainable == sum(p.numel() for p in model.parameters())
    assert found.multiply_adds > 0


class Last(nn.Module):
    def __init__(self, backbone):
        super().__init__()
        self.backbone = backbone

    def forward(self, images):
        return self.backbone(images)[-1]


def test_attention_is_counted():
    backbone = MixTransformer(in_channels=3, plan=MIT_PLANS["b0"], dropout=0.0, attention_dropout=0.0, drop_path=0.0)
    small = summarize(Last(backbone), in_channels=3, size=(128, 128)).multiply_adds
    large = summarize(Last(backbone), in_channels=3, size=(256, 256)).multiply_adds
    # Convolutions grow fourfold, attention over pixels sixteenfold.
    assert 4.05 * small < large < 16 * small
    assert large / 1e9 == pytest.approx(0.6, abs=0.15)
