"""Batch norm of few channels beside torch's own in float64."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from maskline.models.sync_norm import SyncBatchNorm
from maskline.runtime.patches import batch_norm
from maskline.runtime.patches.batch_norm import BatchNorm2d, quicken


def _layers(kind, channels):
    torch.manual_seed(0)
    layer = kind(channels, momentum=0.3)
    nn.init.uniform_(layer.weight, 0.5, 2)
    nn.init.uniform_(layer.bias, -1, 1)
    plain = nn.BatchNorm2d(channels, momentum=0.3)
    plain.load_state_dict(layer.state_dict())
    return layer, plain.double()


def _step(layer, x, gradient):
    """ReLU in place follows, as in the networks."""
    x = x.clone(memory_format=torch.preserve_format).requires_grad_()
    out = F.relu(layer(x * 1), inplace=True)
    return out.detach(), *torch.autograd.grad(out, [x, layer.weight, layer.bias], gradient)


@pytest.mark.parametrize("kind", [BatchNorm2d, SyncBatchNorm])
@pytest.mark.parametrize(
    ("channels", "dtype"), [(2, torch.float32), (8, torch.float32), (8, torch.bfloat16), (24, torch.bfloat16)]
)
def test_like_torch(monkeypatch, kind, channels, dtype):
    """Values, gradients and running statistics; the mean is far from 0."""
    layer, plain = _layers(kind, channels)
    x = (3 * torch.randn(2, channels, 64, 72) + 5).to(dtype).contiguous(memory_format=torch.channels_last)
    gradient = torch.randn(2, channels, 64, 72).to(dtype).contiguous(memory_format=torch.channels_last)
    monkeypatch.setattr(nn.functional, "batch_norm", None)  # torch's is not reached
    mine = _step(layer, x, gradient)
    monkeypatch.undo()
    assert mine[0].is_contiguous(memory_format=torch.channels_last)
    tolerance = 2e-5 if dtype == torch.float32 else 1e-2
    for one, other in zip(mine, _step(plain, x.double(), gradient.double()), strict=True):
        assert one.dtype in {dtype, torch.float32}
        assert (one.double() - other).norm() <= tolerance * other.norm()
    for name, value in plain.state_dict().items():
        torch.testing.assert_close(layer.state_dict()[name].to(value.dtype), value, rtol=1e-5, atol=1e-6)


def test_gradient_arrives_in_any_layout():
    layer, plain = _layers(BatchNorm2d, 8)
    x = torch.randn(2, 8, 64, 64).contiguous(memory_format=torch.channels_last)
    gradient = torch.ones(1, 1, 1, 1).expand(2, 8, 64, 64) * torch.randn(64)
    for one, other in zip(_step(layer, x, gradient), _step(plain, x.double(), gradient.double()), strict=True):
        assert (one.double() - other).norm() <= 2e-5 * other.norm()


@pytest.mark.parametrize(
    ("shape", "layout"),
    [
        ((2, 32, 64, 64), torch.channels_last),  # whole registers
        ((2, 8, 64, 64), torch.contiguous_format),
        ((2, 8, 8, 8), torch.channels_last),  # too little
        ((2, 8, 63, 65), torch.channels_last),  # no even number of pixels
    ],
)
def test_torch_does_the_rest(monkeypatch, shape, layout):
    monkeypatch.setattr(batch_norm, "_Folded", None)
    layer, plain = _layers(BatchNorm2d, shape[1])
    x = torch.randn(shape).contiguous(memory_format=layout)
    assert torch.equal(layer(x), plain.float()(x))


def test_inference_is_torchs(monkeypatch):
    monkeypatch.setattr(batch_norm, "_Folded", None)
    layer, plain = _layers(BatchNorm2d, 8)
    x = torch.randn(2, 8, 64, 64).contiguous(memory_format=torch.channels_last)
    assert torch.equal(layer.eval()(x), plain.float().eval()(x))


def test_a_batch_of_one_pixel_is_refused():
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        BatchNorm2d(8)(torch.zeros(1, 8, 1, 1))


def test_quicken_keeps_everything_but_the_class():
    model = nn.Sequential(nn.BatchNorm2d(8), nn.Sequential(SyncBatchNorm(8), nn.BatchNorm2d(3)))
    state = copy.deepcopy(model.state_dict())
    quicken(model)
    assert [type(layer) for layer in model.modules() if not isinstance(layer, nn.Sequential)] == [
        BatchNorm2d,
        SyncBatchNorm,
        BatchNorm2d,
    ]
    assert all(torch.equal(state[name], value) for name, value in model.state_dict().items())
