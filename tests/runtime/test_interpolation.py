"""Interpolation and pooling by matrix products beside torch's own, forward and backward."""

import pytest
import torch
from torch.nn import functional as F

from maskline.runtime import gpu_forms
from maskline.runtime.patches import interpolation

OWN = F.interpolate

CASES = [
    {"size": (13, 40), "mode": "bilinear", "align_corners": False},
    {"size": (13, 40), "mode": "bilinear", "align_corners": True},
    {"size": (5, 6), "mode": "bilinear", "align_corners": False},
    {"size": 1, "mode": "bilinear", "align_corners": True},
    {"scale_factor": 2, "mode": "bilinear", "align_corners": False},
    {"scale_factor": (2.0, 0.5), "mode": "bilinear", "align_corners": True},
    {"size": (13, 40), "mode": "bicubic", "align_corners": False},
    {"size": (5, 6), "mode": "bilinear", "align_corners": False, "antialias": True},
]


def maps(layout, dtype=torch.float64):
    torch.manual_seed(0)
    return torch.randn(2, 3, 9, 12, dtype=dtype).contiguous(memory_format=layout).requires_grad_()


def both(function, x):
    """Return result and gradient, by products and by torch."""
    found = []
    for forms in (gpu_forms.everywhere, torch.enable_grad):
        with forms(), interpolation.by_products():
            y = function(x)
        (gradient,) = torch.autograd.grad((y * torch.arange(y.numel(), dtype=y.dtype).view_as(y).cos()).sum(), x)
        found.append((y, gradient))
    return found


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
@pytest.mark.parametrize("options", CASES)
def test_interpolation_is_torchs(options, layout):
    (y, gradient), (expected, other) = both(lambda x: F.interpolate(x, **options), maps(layout))
    torch.testing.assert_close(y, expected, rtol=0, atol=1e-6)
    torch.testing.assert_close(gradient, other, rtol=0, atol=1e-6)
    assert "Upsample" not in names(y)
    assert "Upsample" in names(expected)
    assert y.is_contiguous(memory_format=layout)


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
@pytest.mark.parametrize("size", [2, (3, 5), (None, 6)])
def test_pooling_is_torchs(size, layout):
    (y, gradient), (expected, other) = both(lambda x: F.adaptive_avg_pool2d(x, size), maps(layout))
    torch.testing.assert_close(y, expected, rtol=0, atol=1e-6)
    torch.testing.assert_close(gradient, other, rtol=0, atol=1e-6)
    assert "AdaptiveAvgPool" not in names(y)


@pytest.mark.parametrize(
    "options",
    [{"scale_factor": 1.3, "mode": "bilinear"}, {"size": (20, 20)}, {"scale_factor": 2, "mode": "nearest"}],
)
def test_all_else_is_torchs_to_the_last_bit(options):
    (y, gradient), (expected, other) = both(lambda x: F.interpolate(x, **options), maps(torch.channels_last))
    assert torch.equal(y, expected)
    assert torch.equal(gradient, other)


def test_a_cpu_keeps_its_own_and_so_does_what_needs_no_gradient():
    x = maps(torch.channels_last, torch.float32)
    with interpolation.by_products():
        assert "Upsample" in names(F.interpolate(x, size=(4, 4), mode="bilinear"))
        with gpu_forms.everywhere(), torch.no_grad():
            y = F.interpolate(x, size=(4, 4), mode="bilinear")
    assert torch.equal(y, F.interpolate(x, size=(4, 4), mode="bilinear"))
    assert F.interpolate is OWN


def test_autocast_rounds_nothing():
    x = maps(torch.channels_last, torch.float32)
    with gpu_forms.everywhere(), interpolation.by_products(), torch.autocast("cpu", dtype=torch.bfloat16):
        y = F.interpolate(x, size=(18, 24), mode="bilinear")
    torch.testing.assert_close(y, F.interpolate(x, size=(18, 24), mode="bilinear"), rtol=1e-5, atol=1e-6)


def names(y):
    """Return the names of the functions that made a tensor."""
    seen, todo = [], [y.grad_fn]
    while todo:
        node = todo.pop()
        if node is not None:
            seen.append(node.name())
            todo += [other for other, _ in node.next_functions]
    return " ".join(seen)
