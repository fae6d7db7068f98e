"""The segmentor contract, on a small UNet."""

import pytest
import torch

from maskline.core.errors import ShapeError
from maskline.models.backbones.unet import UNet
from maskline.models.heads.fcn import FCNHead
from maskline.models.segmentor import Segmentor


def head(*, in_channels, in_index):
    return FCNHead(
        in_channels=in_channels,
        in_index=in_index,
        channels=4,
        num_classes=3,
        num_convs=1,
        dropout=0.1,
        align_corners=False,
    )


def unet_segmentor(*, auxiliary=1):
    torch.manual_seed(0)
    return Segmentor(
        backbone=UNet(in_channels=3, base_channels=4, num_stages=4),
        decode_heads=[head(in_channels=4, in_index=-1)],
        auxiliary_heads=[head(in_channels=8, in_index=-2)] * auxiliary,
        neck=None,
        num_classes=3,
        align_corners=False,
    )


@pytest.mark.parametrize("size", [(16, 16), (17, 31), (40, 24), (33, 64)])
def test_logits_have_the_input_size(size):
    model = unet_segmentor().eval()
    assert model(torch.randn(2, 3, *size)).shape == (2, 3, *size)


def test_heads_keep_their_own_resolution_where_nothing_was_padded():
    outputs = unet_segmentor().eval().head_logits(torch.randn(1, 3, 32, 48))
    assert {name: tuple(x.shape[2:]) for name, x in outputs.items()} == {
        "auxiliary_head.0": (16, 24),
        "decode_head": (32, 48),
    }


def test_channels_from_last_to_first():
    model = unet_segmentor().eval()
    images, target = torch.randn(1, 3, 30, 41), torch.zeros(1, 30, 41, dtype=torch.int64)
    expected, pairs = model(images), model.training_pairs(images, target)
    model._reverse_channels = True
    assert not torch.allclose(model(images), expected)
    torch.testing.assert_close(model(images.flip(1)), expected)
    torch.testing.assert_close(model.training_pairs(images.flip(1), target), pairs)


def test_padded_logits_do_not_shift():
    # Resizing every head's logits to the label's size must not stretch the padded border into the image.
    model = unet_segmentor().eval()
    images = torch.randn(1, 3, 30, 41)
    padded = torch.nn.functional.pad(images, (0, 7, 0, 2))
    expected = model.head_logits(padded)
    found = model.head_logits(images)
    for name in expected:
        full = torch.nn.functional.interpolate(expected[name], size=(32, 48), mode="bilinear", align_corners=False)
        torch.testing.assert_close(found[name], full[:, :, :30, :41])


def test_training_pairs_have_the_labels_size():
    pairs = unet_segmentor().training_pairs(torch.randn(2, 3, 30, 41), torch.zeros(2, 30, 41, dtype=torch.int64))
    for logits, target in pairs.values():
        assert logits.shape == (2, 3, 30, 41)
        assert target.shape == (2, 30, 41)


def test_one_auxiliary_head_is_named_as_in_mmsegmentation():
    assert "auxiliary_head.conv_seg.weight" in unet_segmentor(auxiliary=1).state_dict()
    assert "auxiliary_head.1.conv_seg.weight" in unet_segmentor(auxiliary=2).state_dict()
    assert not any(key.startswith("auxiliary_head") for key in unet_segmentor(auxiliary=0).state_dict())


def test_too_small_an_input_is_told():
    with pytest.raises(ShapeError, match="15x20 px is too small; give at least 16 px"):
        unet_segmentor()(torch.randn(1, 3, 15, 20))


def test_a_single_value_a_channel_is_told():
    model = Segmentor(
        backbone=UNet(in_channels=3, base_channels=4, num_stages=5),
        decode_heads=[head(in_channels=4, in_index=-1)],
        auxiliary_heads=[],
        neck=None,
        num_classes=3,
        align_corners=False,
    )
    with pytest.raises(ShapeError, match="batch norm cannot train on a single value"):
        model.train()(torch.randn(1, 3, 16, 16))
    assert model.eval()(torch.randn(1, 3, 16, 16)).isfinite().all()


def row(*, sees=3 + 2):
    """A U-Net, and another of a coarser stride behind it."""
    model = unet_segmentor()
    behind = Segmentor(
        backbone=UNet(in_channels=sees, base_channels=4, num_stages=5),
        decode_heads=[head(in_channels=4, in_index=-1)],
        auxiliary_heads=[],
        neck=None,
        num_classes=3,
        align_corners=False,
    )
    model.follow_by([behind])
    return model, behind


def test_a_network_behind_another_sees_the_image_and_all_probabilities_but_the_first():
    model, behind = row()
    images = torch.randn(2, 3, 30, 41)
    model.eval()
    assert (model.stride, behind.stride) == (16, 16)
    with torch.no_grad():
        padded = torch.nn.functional.pad(images, (0, 7, 0, 2))  # once, for both
        first = unet_segmentor().eval()(padded)
        assert first.shape == (2, 3, 32, 48)
        expected = behind(torch.cat([padded, first.softmax(1)[:, 1:]], dim=1))[:, :, :30, :41]
        assert torch.equal(model(images), expected)
        outputs = model.head_logits(images)
    assert list(outputs) == ["auxiliary_head.0", "decode_head", "refiners.0.decode_head"]
    torch.testing.assert_close(outputs["refiners.0.decode_head"], expected)


def test_each_network_of_a_row_is_trained_on_the_labels_and_the_last_loss_reaches_the_first():
    model, _ = row()
    pairs = model.training_pairs(torch.randn(2, 3, 30, 41), torch.zeros(2, 30, 41, dtype=torch.int64))
    assert list(pairs) == ["auxiliary_head.0", "decode_head", "refiners.0.decode_head"]
    assert all(logits.shape == (2, 3, 30, 41) for logits, _ in pairs.values())
    pairs["refiners.0.decode_head"][0].square().sum().backward()
    assert model.backbone.encoder[0][0].convs[0].conv.weight.grad.abs().sum() > 0
