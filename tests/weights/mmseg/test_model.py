"""Model sections of MMSegmentation configurations: parameter counts, and errors that name what has no counterpart."""

import copy
import re

import pytest
import torch

from maskline.builders.losses import criteria
from maskline.builders.model import segmentor
from maskline.core.errors import ShapeError
from maskline.params.network.model import validate_model
from maskline.weights.mmseg.model import ModelReader

BN = {"type": "SyncBN", "requires_grad": True}
CE = {"type": "CrossEntropyLoss", "use_sigmoid": False, "loss_weight": 1.0}


def head(kind, width, index, channels, classes, **extra):
    return {
        "type": kind,
        "in_channels": width,
        "in_index": index,
        "channels": channels,
        "dropout_ratio": 0.1,
        "num_classes": classes,
        "norm_cfg": BN,
        "align_corners": False,
        "loss_decode": CE,
        **extra,
    }


def encoder_decoder(backbone, decode, auxiliary=None):
    return {
        "type": "EncoderDecoder",
        "data_preprocessor": {"type": "SegDataPreProcessor"},
        "pretrained": None,
        "backbone": backbone,
        "decode_head": decode,
        **({"auxiliary_head": auxiliary} if auxiliary else {}),
        "train_cfg": {},
        "test_cfg": {"mode": "whole"},
    }


def unet(kind, channels, **extra):
    auxiliary = head("FCNHead", 128, 3, 64, 2, num_convs=1, concat_input=False)
    return encoder_decoder({"type": "UNet", "norm_cfg": BN}, head(kind, 64, 4, channels, 2, **extra), auxiliary)


def resnet50(kind, width=2048, index=3, *, stride=8, **extra):
    strides, dilations = {8: ((1, 2, 1, 1), (1, 1, 2, 4)), 32: ((1, 2, 2, 2), (1, 1, 1, 1))}[stride]
    backbone = {
        "type": "ResNetV1c",
        "depth": 50,
        "strides": strides,
        "dilations": dilations,
        "norm_cfg": BN,
        "contract_dilation": True,
    }
    auxiliary = head("FCNHead", 1024, 2, 256, 19, num_convs=1, concat_input=False)
    return encoder_decoder(backbone, head(kind, width, index, 512, 19, **extra), auxiliary)


def segformer():
    backbone = {
        "type": "MixVisionTransformer",
        "embed_dims": 32,
        "num_layers": [2, 2, 2, 2],
        "num_heads": [1, 2, 5, 8],
        "drop_path_rate": 0.1,
    }
    return encoder_decoder(backbone, head("SegformerHead", [32, 64, 160, 256], [0, 1, 2, 3], 256, 19))


def read(section, reader=None):
    return (reader or ModelReader()).read(section, preprocessor=None)


def translated(section):
    reader = ModelReader()
    return segmentor(validate_model(read(section, reader), place="test"), num_classes=reader.num_classes)


# With the auxiliary head, and without; to the digits that were published or counted in MMSegmentation.
COUNTS = {
    "unet-fcn": (unet("FCNHead", 64, num_convs=1, concat_input=False), 29_060_676, 28_986_690, 1),
    "unet-psp": (unet("PSPHead", 16), 29_046_276, 28_972_290, 1),
    "unet-aspp": (unet("ASPPHead", 16, dilations=(1, 12, 24, 36)), 29_064_996, 28_991_010, 1),
    "fcn": (resnet50("FCNHead"), 4950, 4713, 10_000),
    "psp": (resnet50("PSPHead"), 4898, 4661, 10_000),
    "deeplabv3": (resnet50("ASPPHead", dilations=(1, 12, 24, 36)), 6811, 6575, 10_000),
    "deeplabv3plus": (
        resnet50("DepthwiseSeparableASPPHead", dilations=(1, 12, 24, 36), c1_in_channels=256, c1_channels=48),
        4359,
        4123,
        10_000,
    ),
    "upernet": (resnet50("UPerHead", [256, 512, 1024, 2048], [0, 1, 2, 3], stride=32), 6642, 6405, 10_000),
    "segformer-b0": (segformer(), 372, 372, 10_000),
}


@pytest.mark.parametrize("name", COUNTS)
def test_parameter_counts(name):
    section, whole, without_auxiliary, unit = COUNTS[name]
    with torch.device("meta"):
        model = translated(section)
    count = sum(parameter.numel() for parameter in model.parameters())
    auxiliary = sum(p.numel() for key, p in model.named_parameters() if key.startswith("auxiliary_head"))
    assert round(count / unit) == whole
    assert round((count - auxiliary) / unit) == without_auxiliary


def test_numbers_of_tensors():
    for name, expected in (("unet-fcn", 148), ("unet-psp", 172), ("unet-aspp", 178)):
        with torch.device("meta"):
            assert len(translated(COUNTS[name][0]).state_dict()) == expected


def edited(path, value):
    section = copy.deepcopy(unet("FCNHead", 64, num_convs=1, concat_input=False))
    *parents, last = path.split(".")
    place = section
    for key in parents:
        place = place[key]
    place[last] = value
    return section


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (
            "type",
            "Mask2Former",
            r"model \(Mask2Former\): type Mask2Former has no counterpart; there are EncoderDecoder",
        ),
        ("backbone.type", "Swin", r"model.backbone \(Swin\): type Swin has no counterpart; there are ResNet"),
        ("decode_head.type", "XHead", r"model.decode_head \(XHead\): type XHead has no counterpart"),
        ("neck", {"type": "XNeck"}, r"model.neck \(XNeck\): type XNeck has no counterpart; there are FPN"),
        ("backbone.dcn", {"type": "DCN"}, r"model.backbone \(UNet\): dcn .* has no counterpart"),
        ("backbone.norm_cfg", {"type": "LN2d"}, r"model.backbone.norm_cfg \(LN2d\): type LN2d has no counterpart"),
        ("decode_head.surprise", 1, r"model.decode_head \(FCNHead\): surprise 1 has no counterpart"),
        ("extra_key", 1, r"model \(EncoderDecoder\): extra_key 1 has no counterpart"),
        ("decode_head", {"type": "FCNHead"}, r"model.decode_head \(FCNHead\): num_classes is missing"),
        ("decode_head.out_channels", 3, r"model.decode_head \(FCNHead\): out_channels 3 has no counterpart"),
        ("auxiliary_head.norm_cfg", {"type": "GN"}, "norm .* beside .*; use one norm_cfg in all parts"),
        ("backbone.norm_cfg", {"type": "BN", "eps": 1e-3}, "norm .* beside .*; use one norm_cfg in all parts"),
        ("backbone", {"type": "ResNet", "depth": 50, "stem_channels": 32}, "stem_channels 32 has no counterpart"),
        ("backbone", {"type": "MSCAN", "embed_dims": [8], "depths": [1]}, "none of T, S, B, L"),
        ("backbone", {"type": "PIDNet", "channels": 48}, r"num_stem_blocks.* \(48, 2, 3, 96\) has no counterpart"),
        ("backbone", {"type": "ResNet", "depth": 50, "style": "caffe"}, "style 'caffe' has no counterpart"),
        ("backbone", {"type": "ResNet", "depth": 50, "avg_down": True}, "avg_down without deep_stem"),
        ("backbone", {"type": "ResNet", "depth": 50, "num_stages": 3}, "num_stages 3 has no counterpart"),
        ("backbone", {"type": "MixVisionTransformer", "embed_dims": 48}, "embed_dims 48.* is none of B0 to B5"),
        ("backbone.upsample_cfg", {"type": "DeconvModule", "kernel_size": 2}, "kernel_size 2 has no counterpart"),
    ],
)
def test_what_has_no_counterpart_is_named(path, value, message):
    with torch.device("meta"), pytest.raises(ShapeError, match=message) as caught:
        translated(edited(path, value))
    assert "\n" not in str(caught.value)


def test_a_list_of_auxiliary_heads():
    heads = [head("FCNHead", 128, 3, 4, 2, num_convs=1), head("FCNHead", 256, 2, 4, 2, num_convs=1)]
    with torch.device("meta"):
        model = translated(edited("auxiliary_head", heads))
    assert list(model.heads()) == ["auxiliary_head.0", "auxiliary_head.1", "decode_head"]


def test_frozen_stages_and_norms_in_eval_mode():
    section = resnet50("FCNHead")
    section["backbone"] |= {"frozen_stages": 1, "norm_eval": True}
    with torch.device("meta"):
        model = translated(section)
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert not any(name.startswith(("backbone.stem", "backbone.layer1")) for name in trained)
    assert any(name.startswith("backbone.layer2") for name in trained)
    norms = [module for module in model.train().backbone.modules() if "BatchNorm" in type(module).__name__]
    assert norms
    assert not any(norm.training for norm in norms)
    assert model.decode_head.training


@pytest.mark.parametrize("kind", ["mmseg.FCNHead", "mmseg.models.decode_heads.fcn_head.FCNHead"])
def test_whole_names_of_types(kind):
    section = edited("decode_head.type", kind)
    section["backbone"]["_scope_"] = "mmseg"
    assert read(section)["decode_head"]["name"] == "fcn"


def test_a_type_of_another_package_keeps_its_name():
    with pytest.raises(ShapeError, match=r"type mmpretrain.EfficientFormer has no counterpart"):
        read(edited("backbone.type", "mmpretrain.EfficientFormer"))


def test_a_head_that_is_resized_in_another_way():
    found = read(edited("auxiliary_head.align_corners", True))
    assert (found["align_corners"], found["decode_head"]["align_corners"]) == (False, None)
    assert found["auxiliary_heads"][0]["align_corners"] is True
    model = translated(edited("auxiliary_head.align_corners", True))
    assert (model.align_corners, model.decode_head.align_corners, model.auxiliary_head.align_corners) == (0, 0, 1)


def test_a_stem_of_other_width():
    section = resnet50("FCNHead")
    section["backbone"]["stem_channels"] = 128
    with torch.device("meta"):
        assert translated(section).backbone.layer1[0].conv1.in_channels == 128


def test_losses_of_a_heads_further_outputs():
    hard = {"type": "OhemCrossEntropy", "thres": 0.9, "min_kept": 7, "loss_weight": 0.5}
    borders = {"type": "BoundaryLoss", "loss_weight": 20.0}
    backbone = {"type": "PIDNet", "channels": 32}
    reader = ModelReader()
    found = read(
        encoder_decoder(backbone, head("PIDHead", 128, -1, 8, 3, loss_decode=[CE, hard, borders, hard])), reader
    )
    assert reader.notes == []
    decode = found["decode_head"]
    assert (decode["boundary_weight"], decode["detail_losses"][0]["name"]) == (20.0, "cross_entropy_mmseg")
    assert decode["losses"] == decode["at_boundary_losses"]
    assert decode["losses"][0] == {
        "name": "ohem_batch",
        "weight": 0.5,
        "class_weights": None,
        "threshold": 0.9,
        "min_kept": 7,
    }
    outputs = criteria(validate_model(found, place="test"))
    names = ["detail", "boundary", "at_boundary"]
    assert list(outputs) == [*(f"decode_head.{name}" for name in names), "decode_head"]


def test_a_cross_entropy_of_each_class_by_itself():
    section = edited("decode_head.loss_decode", {"type": "CrossEntropyLoss", "use_sigmoid": True})
    (loss,) = read(section)["decode_head"]["losses"]
    assert (loss["name"], loss["activation"]) == ("cross_entropy_mmseg", "sigmoid")
    section["decode_head"]["loss_decode"]["avg_non_ignore"] = True
    (loss,) = read(section)["decode_head"]["losses"]
    assert (loss["name"], loss["gamma"], loss["activation"]) == ("focal", 0.0, "sigmoid")


@pytest.mark.parametrize(
    ("path", "value", "note"),
    [
        ("decode_head.loss_decode", {"type": "LovaszLoss", "loss_type": "binary"}, "loss LovaszLoss is not taken over"),
        ("decode_head.loss_decode", {"type": "DiceLoss", "reduction": "sum"}, "reduction sum of DiceLoss has no"),
        ("decode_head.loss_decode", CE | {"use_mask": True}, "use_mask True of CrossEntropyLoss has no counterpart"),
        ("decode_head.ignore_index", 0, "model.decode_head: ignore_index 0 has no counterpart: see data.ignore_index"),
        ("decode_head.sampler", {"type": "OHEMPixelSampler", "weight": 2}, "model.decode_head: sampler weight has no"),
        (
            "decode_head.norm_cfg",
            BN | {"requires_grad": False},
            "requires_grad False of .*, True of .* differ: False of all parts",
        ),
        (
            "decode_head.norm_cfg",
            BN | {"momentum": 0.01},
            "momentum 0.01 of model.decode_head, 0.1 of .* differ: 0.01 of all parts",
        ),
    ],
)
def test_what_training_loses_is_a_note(path, value, note):
    section = edited(path, value)
    reader = ModelReader()
    reader.read(section, preprocessor={"mean": [0.0] * 3})
    assert len(reader.notes) == 1
    assert re.search(note, reader.notes[0])


def test_what_changes_nothing_is_no_note():
    loss = {"type": "LovaszLoss", "reduction": "none", "per_image": False, "loss_name": "loss_lovasz"}
    reader = ModelReader()
    reader.read(edited("decode_head.loss_decode", loss), preprocessor={"mean": [0.0] * 3})
    assert reader.notes == []


def test_hard_pixels():
    section = edited("decode_head.sampler", {"type": "OHEMPixelSampler", "thresh": 0.7, "min_kept": 10})
    (loss,) = read(section)["decode_head"]["losses"]
    assert (loss["name"], loss["threshold"], loss["min_kept"]) == ("ohem_mmseg", 0.7, 10)


def test_one_channel_stands_for_two_classes():
    section = edited("decode_head.out_channels", 1)
    section["decode_head"]["loss_decode"] = [{**CE, "use_sigmoid": True}, {"type": "DiceLoss"}]
    reader = ModelReader()
    found = read(section, reader)
    assert (reader.num_classes, reader.binary, reader.threshold) == (2, ("decode_head",), 0.3)
    assert [loss["name"] for loss in found["decode_head"]["losses"]] == ["cross_entropy_mmseg"]
    assert "model.decode_head: loss DiceLoss is not taken over; set losses before you train" in reader.notes
    assert "MMSegmentation predicts class 1 from 0.3: see evaluate.threshold" in reader.notes


@pytest.mark.parametrize("which", [0, 1])
def test_one_channel_in_a_cascade_is_told(which):
    section = resnet50("FCNHead")
    section["type"] = "CascadeEncoderDecoder"
    heads = [head("FCNHead", 1024, 2, 8, 2), head("OCRHead", 2048, 3, 8, 2, ocr_channels=8)]
    heads[which]["out_channels"] = 1
    with pytest.raises(ShapeError, match=r"model.decode_head: out_channels 1 has no counterpart in a cascade"):
        read({**section, "decode_head": heads})


@pytest.mark.parametrize(
    ("preprocessor", "order"),
    [
        ({"type": "SegDataPreProcessor", "bgr_to_rgb": True}, "rgb"),
        ({"type": "SegDataPreProcessor", "rgb_to_bgr": True}, "rgb"),  # both turn what OpenCV has read
        ({"type": "SegDataPreProcessor", "bgr_to_rgb": False}, "bgr"),
        ({"type": "SegDataPreProcessor"}, "bgr"),
        ({}, "rgb"),  # img_norm_cfg of 0.x
        ({"to_rgb": False}, "bgr"),
    ],
)
def test_images_as_opencv_reads_them(preprocessor, order):
    numbers = {"mean": [1, 2, 3], "std": [4, 5, 6]}
    found = ModelReader().read(resnet50("FCNHead"), preprocessor=preprocessor | numbers)
    step = 1 if order == "rgb" else -1
    assert (found["mean"], found["std"]) == ([1.0, 2.0, 3.0][::step], [4.0, 5.0, 6.0][::step])
    with torch.device("meta"):
        assert segmentor(validate_model(found, place="test"), num_classes=2)._reverse_channels == (order == "bgr")
