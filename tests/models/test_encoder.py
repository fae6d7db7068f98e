"""Encoders by name, and whole architectures of segmentation-models-pytorch."""

import pytest
import torch

from maskline.core.errors import CheckpointError, ExportError, MasklineError, ShapeError
from maskline.export.trace import Deployable, trace
from maskline.models.backbones import encoder as encoder_module
from maskline.models.backbones.encoder import encoder
from maskline.models.heads.dpt import DPTHead
from maskline.models.heads.fcn import FCNHead
from maskline.models.segmentor import Segmentor
from maskline.models.smp import smp_segmentor


@pytest.mark.parametrize(
    ("name", "output_stride", "channels", "strides"),
    [
        ("resnet18", 32, (64, 64, 128, 256, 512), (2, 4, 8, 16, 32)),
        ("resnet18", 8, (64, 64, 128, 256, 512), (2, 4, 8, 8, 8)),
        ("mit_b0", 32, (32, 64, 160, 256), (4, 8, 16, 32)),
        ("tu-convnext_atto", 16, (40, 80, 160, 320), (4, 8, 16, 16)),
        ("mobilenetv3_small_050", 32, (16, 8, 16, 24, 288), (2, 4, 8, 16, 32)),
    ],
)
def test_features_are_what_the_attributes_say(name, output_stride, channels, strides):
    model = encoder(name, in_channels=3, output_stride=output_stride, pretrained=False).eval()
    features = model(torch.randn(1, 3, 64, 96))
    assert model.channels == channels == tuple(x.shape[1] for x in features)
    assert model.strides == strides == tuple(64 // x.shape[2] for x in features)


def test_a_window_transformer_takes_any_size():
    model = encoder("swin_tiny_patch4_window7_224", in_channels=3, output_stride=32, pretrained=False).eval()
    assert [tuple(x.shape[2:]) for x in model(torch.randn(1, 3, 64, 96))] == [(16, 24), (8, 12), (4, 6), (2, 3)]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("tu-hiera_tiny_224", "encoder tu-hiera_tiny_224: "),
        ("tu-coat_lite_tiny", "encoder tu-coat_lite_tiny: "),
        ("tu-resnet18.no_such_weights", "encoder tu-resnet18.no_such_weights: "),
    ],
)
def test_encoders_that_do_not_fit_say_so_in_one_line(name, message):
    with pytest.raises(MasklineError) as caught:
        encoder(name, in_channels=3, output_stride=32, pretrained=False)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_an_encoder_for_large_images_gets_padded_ones():
    assert encoder("inception_v4", in_channels=3, output_stride=32, pretrained=False).min_side == 128


def test_other_input_channels():
    model = encoder("resnet18", in_channels=5, output_stride=32, pretrained=False).eval()
    assert len(model(torch.randn(1, 5, 32, 32))) == 5


def test_unknown_name_gets_the_nearest():
    with pytest.raises(ShapeError, match=r"encoder resnet19: .*did you mean resnet18"):
        encoder("resnet19", in_channels=3, output_stride=32, pretrained=False)


def test_impossible_stride_is_told():
    with pytest.raises(ShapeError, match="encoder vgg11: cannot give features with output stride 8"):
        encoder("vgg11", in_channels=3, output_stride=8, pretrained=False)


def test_weights_that_cannot_be_had_are_told(monkeypatch):
    create = encoder_module._create

    def offline(name, **kwargs):
        if kwargs["weights"] is not None:
            raise ConnectionError("no route to host")
        return create(name, **kwargs)

    monkeypatch.setattr(encoder_module, "_create", offline)
    with pytest.raises(CheckpointError, match="encoder resnet18: its pretrained weights cannot be downloaded"):
        encoder("resnet18", in_channels=3, output_stride=32, pretrained=True)


def smp_model(architecture, *, name="resnet18"):
    return smp_segmentor(
        architecture, encoder=name, in_channels=3, num_classes=3, pretrained=False, align_corners=False
    ).eval()


ARCHITECTURES = [
    "Unet",
    "UnetPlusPlus",
    "MAnet",
    "Linknet",
    "FPN",
    "PSPNet",
    "DeepLabV3",
    "deeplabv3plus",
    "PAN",
    "UPerNet",
    "Segformer",
]


@pytest.mark.parametrize("architecture", [*ARCHITECTURES, "DPT"])
def test_whole_architectures_take_any_size(architecture):
    model = smp_model(architecture, name="tu-test_vit" if architecture == "DPT" else "tu-mobilenetv3_small_050")
    with torch.inference_mode():
        assert model(torch.randn(1, 3, 17, 50)).shape == (1, 3, 17, 50)
        assert {name: x.shape for name, x in model.head_logits(torch.randn(1, 3, 17, 50)).items()} == {
            "decode_head": (1, 3, 17, 50)
        }


def test_every_architecture_of_smp_is_listed():
    from segmentation_models_pytorch import MODEL_ARCHITECTURES_MAPPING

    assert sorted(name.lower() for name in ARCHITECTURES) == sorted(set(MODEL_ARCHITECTURES_MAPPING) - {"dpt"})


def test_whole_architectures_compute_what_smp_computes():
    model = smp_model("FPN")
    images = torch.randn(1, 3, 32, 64)
    torch.testing.assert_close(model(images), model.model(images), atol=0, rtol=0)


def test_an_architecture_that_pools_further_needs_a_larger_example():
    model = smp_model("PAN", name="tu-mobilenetv3_small_050")
    whole = Deployable(model, num_classes=3, stride=model.stride, mean=(0, 0, 0), std=(1, 1, 1)).eval()
    with pytest.raises(ExportError, match=r"export.example_size: 128x160 px; give at least 129 px a side"):
        trace(whole, example_size=(128, 160))


def test_encoders_that_dpt_cannot_use_are_told():
    with pytest.raises(ShapeError, match="architecture dpt: does not fit encoder resnet18") as caught:
        smp_model("DPT")
    assert "\n" not in str(caught.value)


def test_dpt_with_patches_of_14_px_is_our_own_head():
    with pytest.raises(ShapeError, match=r"model\.backbone\.name: eva02_tiny_patch14_224 and .*decode_head\.name: dpt"):
        smp_model("DPT", name="tu-eva02_tiny_patch14_224")
    backbone = encoder("eva02_tiny_patch14_224", in_channels=3, output_stride=32, pretrained=False)
    head = DPTHead(
        in_channels=backbone.channels,
        in_index=[0, 1, 2, 3],
        channels=8,
        widths=(4, 4, 8, 8),
        num_classes=3,
        dropout=0.0,
        align_corners=False,
    )
    model = Segmentor(
        backbone=backbone, decode_heads=[head], auxiliary_heads=[], neck=None, num_classes=3, align_corners=False
    ).eval()
    with torch.inference_mode():
        assert model(torch.randn(1, 3, 50, 71)).shape == (1, 3, 50, 71)


def test_unknown_architecture_gets_the_nearest():
    with pytest.raises(ShapeError, match="did you mean PSPNet"):
        smp_model("PSPNett")


def test_auxiliary_heads_on_an_smp_encoder():
    head = FCNHead(
        in_channels=128,
        in_index=3,
        channels=8,
        num_classes=3,
        num_convs=1,
        dropout=0.1,
        align_corners=False,
    )
    model = smp_segmentor(
        "Unet",
        encoder="resnet18",
        in_channels=4,
        num_classes=3,
        pretrained=False,
        align_corners=False,
        auxiliary_heads=[head],
    )
    images, target = torch.randn(2, 4, 50, 64), torch.zeros(2, 50, 64, dtype=torch.int64)
    pairs = model.training_pairs(images, target)
    assert {name: tuple(logits.shape) for name, (logits, _) in pairs.items()} == {
        "auxiliary_head.0": (2, 3, 50, 64),
        "decode_head": (2, 3, 50, 64),
    }
    outputs = model.eval().head_logits(torch.randn(1, 4, 64, 64))
    assert outputs["auxiliary_head.0"].shape == (1, 3, 8, 8)
