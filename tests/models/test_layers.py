"""Shared layers against torch's own operators."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from maskline.models.heads.fcn_skip import FCNSkipHead
from maskline.models.layers import ConvNormAct, DropPath, Norm, resize
from maskline.models.pooling import AdaptiveAvgPool


@pytest.mark.parametrize("bins", [1, 2, 3, 6])
@pytest.mark.parametrize("size", [(6, 6), (7, 13), (64, 96), (1, 2)])
def test_adaptive_pooling_is_torchs(bins, size):
    x = torch.randn(2, 3, *size)
    torch.testing.assert_close(AdaptiveAvgPool(bins)(x), nn.AdaptiveAvgPool2d(bins)(x), atol=1e-6, rtol=1e-5)


def test_adaptive_pooling_in_bfloat16():
    x = torch.rand(2, 3, 40, 56).bfloat16()
    expected = nn.AdaptiveAvgPool2d(6)(x.float())
    torch.testing.assert_close(AdaptiveAvgPool(6)(x).float(), expected, atol=5e-3, rtol=1e-2)


@pytest.mark.parametrize(
    ("norm", "key", "kind"),
    [
        (Norm(kind="bn"), "bn", nn.BatchNorm2d),
        (Norm(kind="syncbn"), "bn", nn.SyncBatchNorm),
        (Norm(kind="gn", num_groups=2), "gn", nn.GroupNorm),
        (Norm(kind="in"), "in", nn.InstanceNorm2d),
    ],
)
def test_norms_have_mmsegmentations_names(norm, key, kind):
    block = ConvNormAct(3, 4, norm=norm)
    assert isinstance(block.get_submodule(key), kind)
    assert block.conv.bias is None


def test_a_convolution_without_norm_has_a_bias():
    assert list(ConvNormAct(3, 4, norm=None).state_dict()) == ["conv.weight", "conv.bias"]


def test_drop_path_keeps_the_mean_and_drops_whole_samples():
    torch.manual_seed(0)
    out = DropPath(0.25).train()(torch.ones(4000, 2, 3))
    assert out.unique().tolist() == pytest.approx([0, 4 / 3])
    assert out.mean().item() == pytest.approx(1, abs=0.05)
    assert (out.flatten(1).std(dim=1) == 0).all()
    assert torch.equal(DropPath(0.25).eval()(out), out)


def test_a_new_deconvolution_is_bilinear():
    head = FCNSkipHead(
        in_channels=[4, 8],
        in_index=[0, 1],
        channels=4,
        num_classes=3,
        dropout=0.0,
        align_corners=False,
        kernel_size=3,
        upsample="deconv",
    )
    x = torch.randn(1, 3, 6, 7)
    expected = nn.functional.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
    # The border differs: a transposed convolution sees zeros beyond it, interpolation the nearest pixel.
    torch.testing.assert_close(head.upsample[0](x)[:, :, 1:-1, 1:-1], expected[:, :, 1:-1, 1:-1])


def test_a_resize_to_the_same_size_costs_nothing_and_does_not_bind_a_traced_graph():
    x = torch.randn(1, 2, 8, 8)
    assert resize(x, (8, 8), align_corners=False) is x
    assert torch.equal(F.interpolate(x, size=(8, 8), mode="bilinear", align_corners=False), x)

    class Resized(nn.Module):
        def forward(self, first, second):
            return resize(first, (second.shape[2], second.shape[3]), align_corners=False)

    sides = {2: torch.export.Dim("height"), 3: torch.export.Dim("width")}
    traced = torch.export.export(Resized(), (x, x.clone()), dynamic_shapes=({}, sides)).module()
    other = torch.zeros(1, 2, 5, 7)
    assert torch.equal(traced(x, other), resize(x, (5, 7), align_corners=False))
