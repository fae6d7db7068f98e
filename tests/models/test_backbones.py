"""What single backbones promise beyond the common contract."""

import pytest
import torch
from torch import nn

from maskline.core.errors import ShapeError
from maskline.models.backbones.hrnet import HRNet, hrnet_stages
from maskline.models.backbones.little_unet import LittleUNet
from maskline.models.backbones.mit import MIT_PLANS, MixTransformer
from maskline.models.backbones.resnet import ResNet, StagePlan, Stem
from maskline.models.backbones.unet import UNet
from maskline.models.layers import Norm


def resnet(depth, *, plan=None, **options):
    plan = plan or StagePlan.for_output_stride(32, multi_grid=None)
    with torch.device("meta"):
        return ResNet(depth=depth, in_channels=3, plan=plan, stem=Stem(kind="7x7"), **options)


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


# torchvision's published counts, less its classifier (width x 1000 + 1000).
@pytest.mark.parametrize(
    ("depth", "whole", "width"),
    [
        (18, 11_689_512, 512),
        (34, 21_797_672, 512),
        (50, 25_557_032, 2048),
        (101, 44_549_160, 2048),
        (152, 60_192_808, 2048),
    ],
)
def test_resnet_parameters(depth, whole, width):
    model = resnet(depth)
    assert count(model) == whole - width * 1000 - 1000
    assert model.channels[-1] == width


@pytest.mark.parametrize(
    ("name", "millions"), [("b0", 3.3), ("b1", 13.2), ("b2", 24.2), ("b3", 44.1), ("b4", 60.8), ("b5", 81.4)]
)
def test_mit_parameters(name, millions):
    with torch.device("meta"):
        model = MixTransformer(in_channels=3, plan=MIT_PLANS[name], dropout=0.0, attention_dropout=0.0, drop_path=0.1)
    assert count(model) / 1e6 == pytest.approx(millions, abs=0.06)


@pytest.mark.parametrize(
    ("width", "small", "channels"),
    [
        (18, False, (18, 36, 72, 144)),
        (18, True, (18, 36, 72, 144)),
        (32, False, (32, 64, 128, 256)),
        (48, False, (48, 96, 192, 384)),
    ],
)
def test_hrnet_channels(width, small, channels):
    with torch.device("meta"):
        model = HRNet(in_channels=3, stages=hrnet_stages(width, small=small))
    assert model.channels == channels
    assert model.strides == (4, 8, 16, 32)


def dilations(model, stage):
    return [block.conv2.dilation[0] for block in model.get_submodule(f"layer{stage}")]


@pytest.mark.parametrize(
    ("plan", "third", "fourth"),
    [
        (StagePlan.for_output_stride(32, multi_grid=None), [1] * 6, [1, 1, 1]),
        (StagePlan.for_output_stride(16, multi_grid=None), [1] * 6, [1, 2, 2]),
        (StagePlan.for_output_stride(8, multi_grid=None), [1, 2, 2, 2, 2, 2], [2, 4, 4]),
        (StagePlan.for_output_stride(16, multi_grid=(1, 2, 4)), [1] * 6, [1, 2, 4]),
        (
            StagePlan(strides=(1, 2, 1, 1), dilations=(1, 1, 2, 4), contract_dilation=False),
            [2] * 6,
            [4, 4, 4],
        ),
    ],
)
def test_dilation_of_each_block(plan, third, fourth):
    model = resnet(50, plan=plan)
    assert dilations(model, 3) == third
    assert dilations(model, 4) == fourth


def test_too_short_a_multi_grid_is_told():
    with pytest.raises(ShapeError, match=r"multi_grid \(1, 2\) is too short"):
        resnet(50, plan=StagePlan.for_output_stride(8, multi_grid=(1, 2)))


def test_unknown_depth_is_told():
    with pytest.raises(ShapeError, match="depth 51 does not exist; valid: 18, 34, 50, 101, 152"):
        resnet(51)


def test_blocks_may_start_as_the_identity():
    model = ResNet(
        depth=18,
        in_channels=3,
        plan=StagePlan.for_output_stride(32, multi_grid=None),
        stem=Stem(kind="deep"),
        base_channels=4,
        norm=Norm(kind="gn", num_groups=2),
    )
    assert all(block.gn2.weight.abs().max() == 0 for block in model.layer1)


def test_frozen_norms_keep_their_statistics():
    model = UNet(in_channels=3, base_channels=4, num_stages=3).freeze(stages=2, norm_eval=False)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    model.train()(torch.randn(2, 3, 16, 16))[-1].sum().backward()
    changed = {key for key, value in model.state_dict().items() if not torch.equal(value, before[key])}
    assert changed
    assert not any(key.startswith(("encoder.0", "encoder.1")) for key in changed)
    assert model.encoder[0][0].convs[0].conv.weight.grad is None
    assert model.encoder[2][1].convs[0].conv.weight.grad is not None


def test_norms_that_are_not_trainable():
    model = UNet(in_channels=3, base_channels=4, num_stages=2, norm=Norm(trainable=False))
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    assert not any(parameter.requires_grad for norm in norms for parameter in norm.parameters())


# W-Net's published counts: a U-Net with a classifier of one logit (nine weights), and one that sees it besides.
@pytest.mark.parametrize(("channels", "whole"), [(3, 34_201), (4, 68_482 - 34_201)])
def test_little_unet_parameters(channels, whole):
    model = LittleUNet(in_channels=channels, base_channels=8, num_stages=3)
    assert count(model) == whole - 9
    assert (model.channels, model.strides, model.size_divisor) == ((32, 16, 8), (4, 2, 1), 4)
    assert [tuple(x.shape[1:]) for x in model(torch.zeros(1, channels, 16, 24))] == [
        (32, 4, 6),
        (16, 8, 12),
        (8, 16, 24),
    ]
