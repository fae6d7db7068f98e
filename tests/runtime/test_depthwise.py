"""Depthwise convolutions in bf16 beside torch's own in float64."""

import copy

import pytest
import torch
from torch import nn

from maskline.runtime.libraries import declare_missing_operators
from maskline.runtime.patches import depthwise
from maskline.runtime.patches.depthwise import DepthwiseConv2d, quicken


def _pair(channels=16, side=5, *, kind=nn.Conv2d, **options):
    torch.manual_seed(0)
    options = {"padding": side // 2, "bias": False} | options
    plain = kind(channels, channels, side, groups=channels, **options)
    layer = copy.deepcopy(plain)
    quicken(nn.Sequential(layer))
    return layer, plain


def _gradients(layer, x, gradient, *, autocast):
    x = x.clone(memory_format=torch.preserve_format).requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
        made = layer(x)
    made.backward(gradient.to(made.dtype))
    return made.detach(), x.grad, *(each.grad for each in layer.parameters())


@pytest.mark.parametrize(
    ("side", "options"),
    [(5, {}), (3, {"stride": 2}), (5, {"stride": 2}), (7, {"bias": True}), (5, {"dilation": 2, "padding": 4})],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_like_torch_within_bf16(side, options, dtype):
    """Values and gradients; those of the weight of a large kernel are better than torch's."""
    layer, plain = _pair(side=side, **options)
    assert type(layer) is DepthwiseConv2d
    exact = copy.deepcopy(plain).double()
    x = torch.randn(2, 16, 20, 24).to(dtype).contiguous(memory_format=torch.channels_last)
    gradient = torch.randn_like(plain(x.float())).contiguous(memory_format=torch.channels_last)
    mine = _gradients(layer, x, gradient, autocast=True)
    theirs = _gradients(plain, x, gradient, autocast=True)
    wanted = _gradients(exact, x.double(), gradient.double(), autocast=False)
    for one, other, true in zip(mine, theirs, wanted, strict=True):
        assert one.dtype == other.dtype
        assert one.shape == other.shape
        assert (one.double() - true).norm() <= 1.05 * (other.double() - true).norm() + 1e-6 * true.norm()


def test_only_slow_ones_are_taken():
    others = nn.Sequential(
        nn.Conv2d(8, 8, 3, padding=1, groups=8),  # fast as it is
        nn.Conv2d(8, 8, 5, padding=2),
        nn.Conv2d(8, 16, 5, groups=8),
        nn.Conv2d(8, 8, 5, groups=8, padding="same"),
        nn.Conv2d(8, 8, 5, groups=8, padding=2, padding_mode="reflect"),
    )
    quicken(others)
    assert {type(layer) for layer in others} == {nn.Conv2d}


def test_padding_as_tensorflow_does():
    declare_missing_operators()
    from timm.layers import Conv2dSame

    layer, plain = _pair(side=3, kind=Conv2dSame, stride=2, padding=0)
    assert type(layer) is DepthwiseConv2d
    for size in (20, 21):
        x, gradient = torch.randn(2, 16, size, 24), torch.randn(2, 16, (size + 1) // 2, 12)
        torch.testing.assert_close(layer(x), plain(x), rtol=0, atol=0)
        mine = _gradients(layer, x, gradient, autocast=True)
        for one, other in zip(mine, _gradients(plain, x, gradient, autocast=True), strict=True):
            assert (one - other).norm() <= 0.01 * other.norm()
            layer.zero_grad()
            plain.zero_grad()


@pytest.mark.parametrize("mode", ["eval", "float32"])
def test_torch_alone_elsewhere(monkeypatch, mode):
    """In evaluation and in float32 the numbers are torch's, bit by bit."""
    layer, plain = _pair()
    monkeypatch.setattr(depthwise, "_Depthwise", None)
    layer.train(mode != "eval")
    x = torch.randn(1, 16, 20, 24)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=mode == "eval"):
        assert torch.equal(layer(x), plain(x))


def test_first_layer():
    """The first layer's input needs no gradient."""
    layer, _ = _pair()
    x = torch.randn(1, 16, 20, 24)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        layer(x).sum().backward()
    assert layer.weight.grad is not None


def test_names_and_weights_stay():
    model = nn.Sequential(nn.Conv2d(8, 8, 5, groups=8))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    quicken(model)
    assert list(model.state_dict()) == list(before)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
