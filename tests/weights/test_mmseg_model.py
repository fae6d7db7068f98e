"""Translated model sections are the networks that the configuration itself describes."""

import copy

import pytest
import torch

from maskline import build
from maskline.errors import ShapeError
from maskline.models.mmseg import segmentor_from_mmseg
from maskline.params import validate_model
from maskline.weights.mmseg_model import ModelReader

BN = {"type": "SyncBN", "requires_grad": True}
CE = {"type": "CrossEntropyLoss", "use_sigmoid": False, "loss_weight": 1.0}


def head(kind, width, index, channels, classes=19, **extra):
    common = {"type": kind, "in_channels": width, "in_index": index, "channels": channels, "num_classes": classes}
    return {**common, "dropout_ratio": 0.1, "norm_cfg": BN, "align_corners": False, "loss_decode": CE, **extra}


def model(backbone, decode, auxiliary=None, **extra):
    section = {"type": "EncoderDecoder", "backbone": backbone, "decode_head": decode, "train_cfg": {}, **extra}
    return {**section, "auxiliary_head": auxiliary} if auxiliary else section


def resnet(kind, depth, **extra):
    usual = {"num_stages": 4, "out_indices": (0, 1, 2, 3), "style": "pytorch", "norm_eval": False}
    return {"type": kind, "depth": depth, **usual, "norm_cfg": BN, "contract_dilation": True, **extra}


D8 = {"strides": (1, 2, 1, 1), "dilations": (1, 1, 2, 4)}
D16 = {"strides": (1, 2, 2, 1), "dilations": (1, 1, 1, 2)}


def hrnet(width, blocks=(4, 4, 4, 4), modules=(1, 1, 4, 3)):
    widths = [width * 2**k for k in range(4)]
    extra = {"stage1": {"num_modules": 1, "num_branches": 1, "block": "BOTTLENECK", "num_blocks": blocks[:1]}}
    extra["stage1"]["num_channels"] = (64,)
    for n in (2, 3, 4):
        extra[f"stage{n}"] = {
            "num_modules": modules[n - 1],
            "num_branches": n,
            "block": "BASIC",
            "num_blocks": blocks[:n],
            "num_channels": tuple(widths[:n]),
        }
    return {"type": "HRNet", "norm_cfg": BN, "norm_eval": False, "extra": extra}


def over_all(width, channels):
    widths = [width * 2**k for k in range(4)]
    together = {"input_transform": "resize_concat", "kernel_size": 1, "num_convs": 1, "concat_input": False}
    return head("FCNHead", widths, (0, 1, 2, 3), channels, **together, dropout_ratio=-1)


def mit(dims, layers):
    usual = {"num_stages": 4, "num_heads": [1, 2, 5, 8], "patch_sizes": [7, 3, 3, 3], "sr_ratios": [8, 4, 2, 1]}
    return {"type": "MixVisionTransformer", "embed_dims": dims, "num_layers": layers, **usual, "drop_path_rate": 0.1}


def segformer(dims, layers):
    widths = [dims * heads for heads in (1, 2, 5, 8)]
    return model(mit(dims, layers), head("SegformerHead", widths, [0, 1, 2, 3], 256, 150))


FOUR = [256, 512, 1024, 2048]
SECTIONS = {
    "r18-d8": model(resnet("ResNetV1c", 18, **D8), head("PSPHead", 512, 3, 128), head("FCNHead", 256, 2, 64)),
    "r34 plain": model(resnet("ResNet", 34), head("FCNHead", 512, -1, 64, num_convs=3), None),
    "r101b-d16-mg124": model(
        resnet("ResNet", 101, **D16, multi_grid=(1, 2, 4)), head("ASPPHead", 2048, 3, 512, dilations=(1, 6, 12, 18))
    ),
    "r50d": model(resnet("ResNetV1d", 50, **D8, multi_grid=[1, 2, 4]), head("PSPHead", 2048, 3, 512, 150)),
    "deep stem by key": model(resnet("ResNet", 50, deep_stem=True, avg_down=True), head("FCNHead", 2048, 3, 16)),
    "r152": model(resnet("ResNetV1c", 152, **D8, contract_dilation=False), head("FCNHead", 2048, 3, 512)),
    "other strides": model(
        resnet("ResNetV1c", 50, strides=(1, 1, 2, 1), dilations=(1, 1, 1, 3)), head("FCNHead", 2048, 3, 64)
    ),
    "one feature": model(resnet("ResNetV1c", 18, out_indices=(3,)), head("FCNHead", 512, 0, 16)),
    "uper-r18": model(resnet("ResNetV1c", 18), head("UPerHead", [64, 128, 256, 512], [0, 1, 2, 3], 512, 150)),
    "v3plus-d16": model(
        resnet("ResNetV1c", 50, **D16),
        head("DepthwiseSeparableASPPHead", 2048, 3, 512, c1_in_channels=256, c1_channels=48, dilations=(1, 6, 12, 18)),
    ),
    "v3plus alone": model(
        resnet("ResNetV1c", 50, **D16),
        head("DepthwiseSeparableASPPHead", 2048, 3, 512, c1_in_channels=0, c1_channels=48),
    ),
    "pyramid": model(
        resnet("ResNet", 50),
        head("FPNHead", [256] * 4, [0, 1, 2, 3], 128, feature_strides=[4, 8, 16, 32]),
        neck={"type": "FPN", "in_channels": FOUR, "out_channels": 256, "num_outs": 5, "add_extra_convs": "on_lateral"},
    ),
    "hr18": model(hrnet(18), over_all(18, 270)),
    "hr18s": model(hrnet(18, (2, 2, 2, 2), (1, 1, 3, 2)), over_all(18, 270)),
    "hr48-ocr": {
        **model(
            hrnet(48),
            [
                over_all(48, 720),
                head(
                    "OCRHead", [48, 96, 192, 384], (0, 1, 2, 3), 512, ocr_channels=256, input_transform="resize_concat"
                ),
            ],
        ),
        "type": "CascadeEncoderDecoder",
        "num_stages": 2,
    },
    "mit-b2": segformer(64, [3, 4, 6, 3]),
    "mit-b5": segformer(64, [3, 6, 40, 3]),
    "unet deconv": model(
        {
            "type": "UNet",
            "base_channels": 8,
            "num_stages": 4,
            "strides": (1, 2, 1, 1),
            "enc_num_convs": (1, 2, 3, 2),
            "dec_num_convs": (1, 2, 3),
            "downsamples": (True, True, False),
            "enc_dilations": (1, 1, 2, 1),
            "dec_dilations": (1, 2, 1),
            "norm_cfg": {"type": "GN", "num_groups": 4},
            "upsample_cfg": {"type": "DeconvModule"},
        },
        head("FCNHead", 8, 3, 8, 4, norm_cfg={"type": "GN", "num_groups": 4}),
        [head("FCNHead", 16, 2, 8, 4, norm_cfg=None), head("FCNHead", 32, 1, 8, 4, norm_cfg=None)],
    ),
}


def translated(section):
    reader = ModelReader()
    params = validate_model(reader.read(section, preprocessor=None), place="test")
    return build.segmentor(params, num_classes=reader.num_classes)


@pytest.mark.parametrize("name", SECTIONS)
def test_both_ways_give_the_same_network(name):
    with torch.device("meta"):
        direct, ours = segmentor_from_mmseg(SECTIONS[name]), translated(SECTIONS[name])
    expected = {key: value.shape for key, value in direct.state_dict().items()}
    assert {key: value.shape for key, value in ours.state_dict().items()} == expected
    # Strides, dilations, groups and rates leave no trace in shapes, but in the description of the layers.
    assert [repr(m) for m in leaves(ours)] == [repr(m) for m in leaves(direct)]


def leaves(module):
    kinds = (torch.nn.Conv2d, torch.nn.ConvTranspose2d, torch.nn.MaxPool2d, torch.nn.Dropout2d, torch.nn.GroupNorm)
    return [part for part in module.modules() if isinstance(part, kinds)]


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("backbone.stem_channels", 32, "stem_channels 32 has no counterpart"),
        ("backbone.avg_down", True, "avg_down without deep_stem|stem"),
        ("backbone.norm_cfg", {"type": "BN", "eps": 1e-3}, "norm .* beside"),
        ("decode_head.out_channels", 1, "out_channels 1 has no counterpart"),
        ("neck", {"type": "JPU"}, "type JPU has no counterpart"),
        ("data_preprocessor", {"bgr_to_rgb": False}, "bgr_to_rgb False has no counterpart"),
    ],
)
def test_what_has_no_counterpart_is_named(path, value, message):
    section = copy.deepcopy(SECTIONS["r34 plain"])
    *parents, last = path.split(".")
    place = section
    for key in parents:
        place = place[key]
    place[last] = value
    with torch.device("meta"), pytest.raises(ShapeError, match=message):
        translated(section)
