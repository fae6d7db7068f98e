"""Networks of timm that are no pyramid."""

import re

import pytest
import torch

from maskline.core.errors import ShapeError
from maskline.models.backbones.encoder import encoder
from maskline.models.backbones.timm_maps import BeitMaps, TimmMaps, is_plain, timm_maps
from maskline.params.base.variants import reads
from maskline.params.network.model import BackboneParams
from maskline.runtime.libraries import declare_missing_operators

declare_missing_operators()

OTHERS = {  # by name: channels and strides
    "tu-shvit_s1": ((128, 224, 320), (16, 32, 64)),
    "tu-xcit_nano_12_p8_224": ((128,) * 4, (8,) * 4),
    "tu-vit_small_patch14_dinov2": ((384,) * 4, (14,) * 4),
    "tu-vit_small_patch16_dinov3": ((384,) * 4, (16,) * 4),
    "tu-vit_base_patch16_siglip_gap_224": ((768,) * 4, (16,) * 4),
    "tu-samvit_base_patch16": ((768,) * 4, (16,) * 4),
    "tu-beit_base_patch16_224": ((768,) * 4, (16,) * 4),
}
FIXED = ["hiera_tiny_224", "crossvit_9_240", "test_vit_relpos", "nest_tiny"]


def tiny(name, *, size=64, patch=16, depth=4, **options):
    import timm

    return timm.create_model(name, embed_dim=16, depth=depth, num_heads=2, img_size=size, patch_size=patch, **options)


@pytest.mark.parametrize("name", OTHERS)
def test_families_by_name(name):
    with torch.device("meta"):  # shapes alone
        network = encoder(name, in_channels=3, output_stride=32, pretrained=False).eval()
        side = 2 * network.size_divisor
        features = network(torch.zeros(1, 3, side, 2 * side))
    channels, strides = OTHERS[name]
    assert network.channels == channels == tuple(x.shape[1] for x in features)
    assert network.strides == strides == tuple(side // x.shape[2] for x in features)


@pytest.mark.parametrize("name", FIXED)
def test_what_takes_one_size_alone_is_told_with_a_remedy_that_helps(name):
    with torch.device("meta"), pytest.raises(ShapeError) as caught:
        encoder(name, in_channels=3, output_stride=32, pretrained=False)
    message = str(caught.value)
    assert "\n" not in message
    named = re.search(r"such as (\w+) or (\w+)$", message)
    with torch.device("meta"):
        for other in named.groups():
            assert encoder(other, in_channels=3, output_stride=32, pretrained=False).channels


def test_windows_take_multiples_of_the_size_they_were_trained_with():
    network = encoder("test_maxvit", in_channels=3, output_stride=32, pretrained=False)
    assert network.size_divisor == network.min_side == 160


def test_positions_are_those_of_timm_at_any_size():
    model = tiny("vit_small_patch14_reg4_dinov2", patch=14, size=56, dynamic_img_size=True).eval()
    images = torch.randn(1, 3, 42, 84)
    expected = model.forward_intermediates(images, indices=[1, 3], norm=True, intermediates_only=True)
    found = TimmMaps(model, out_indices=(1, 3), final_norm=True).eval()(images)
    torch.testing.assert_close(found, expected, atol=0, rtol=0)


@pytest.mark.parametrize("name", ["beit_base_patch16_224", "beitv2_base_patch16_224"])
def test_beit_is_timms_at_its_own_size(name):
    model = tiny(name).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    images = torch.randn(2, 3, 64, 64)
    expected = model.forward_intermediates(images, indices=[0, 3], intermediates_only=True)
    found = BeitMaps(model, out_indices=(0, 3), final_norm=False).eval()(images)
    torch.testing.assert_close(found, expected)
    other = BeitMaps(model, out_indices=(0, 3), final_norm=False).eval()(torch.cat([images, images], dim=3))
    assert not torch.equal(other[0][..., :4], found[0])  # offsets that the table has no row for count


def test_a_classifiers_norm_is_the_last_one():
    network = timm_maps("tu-vit_tiny_patch16_224", in_channels=1, final_norm=True)
    assert isinstance(network.model.norm, torch.nn.LayerNorm)
    gap = TimmMaps(tiny("vit_base_patch16_siglip_gap_224", dynamic_img_size=True), out_indices=None, final_norm=True)
    assert isinstance(gap.model.norm, torch.nn.LayerNorm)


def test_blocks_after_the_last_feature_are_gone():
    network = TimmMaps(tiny("vit_tiny_patch16_224", dynamic_img_size=True), out_indices=(0, 1), final_norm=False)
    assert len(network.model.blocks) == 2
    with pytest.raises(ShapeError, match=r"out_indices \[4\] of 4 blocks; choose from 0 to 3"):
        TimmMaps(tiny("vit_tiny_patch16_224"), out_indices=(4,), final_norm=False)


def test_another_patch_size():
    assert timm_maps("tu-test_vit", in_channels=3, patch_size=8).strides == (8,) * 4
    with pytest.raises(ShapeError, match=r"set model\.backbone\.patch_size to null"):
        timm_maps("tu-shvit_s1", in_channels=3, patch_size=8)


def test_an_output_stride_is_not_a_plain_transformers():
    with pytest.raises(ShapeError, match=r"output stride 8 .*; set output_stride: 32"):
        encoder("test_vit", in_channels=3, output_stride=8, pretrained=False)


def test_params_know_which_names_are_plain_transformers():
    import timm

    plain = [name for name in timm.list_models() if is_plain(name)]
    assert len(plain) > 100
    assert [name for name in plain if not reads(BackboneParams, "out_indices", name)] == []
    assert not reads(BackboneParams, "out_indices", "resnet18")
