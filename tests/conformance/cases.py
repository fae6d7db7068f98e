"""Small networks of the kinds that MMSegmentation's zoo has, and the values that fill them.

``mmseg_numbers.json`` holds what MMSegmentation itself computed with them; ``write_numbers.py`` wrote it.
"""

import copy
import zlib

import numpy as np

BN = {"type": "BN", "requires_grad": True}
GN = {"type": "GN", "num_groups": 8, "requires_grad": True}
D8 = {"strides": (1, 2, 1, 1), "dilations": (1, 1, 2, 4)}
D16 = {"strides": (1, 2, 2, 1), "dilations": (1, 1, 1, 2)}
WIDTHS = [64, 128, 256, 512]
ALL = [0, 1, 2, 3]
MIT_WIDTHS = [32, 64, 160, 256]


def head(kind, in_channels, in_index, channels, *, classes=7, **more):
    return {
        "type": kind,
        "in_channels": in_channels,
        "in_index": in_index,
        "channels": channels,
        "num_classes": classes,
        "dropout_ratio": 0.1,
        "norm_cfg": BN,
        "align_corners": False,
        "loss_decode": {"type": "CrossEntropyLoss", "use_sigmoid": False, "loss_weight": 1.0},
        **more,
    }


def fcn(in_channels, in_index, channels=16, **more):
    return head("FCNHead", in_channels, in_index, channels, **{"num_convs": 1, "concat_input": False, **more})


def model(backbone, decode, auxiliary=None, *, size=(64, 96), **more):
    kind = "CascadeEncoderDecoder" if isinstance(decode, list) else "EncoderDecoder"
    stages = {"num_stages": len(decode)} if isinstance(decode, list) else {}
    section = {"type": kind, **stages, "backbone": backbone, "decode_head": decode, "train_cfg": {}}
    section |= {"auxiliary_head": auxiliary} if auxiliary else {}
    return {"size": size, "model": {**section, "test_cfg": {"mode": "whole"}, **more}}


def resnet(kind, depth, **more):
    usual = {"num_stages": 4, "out_indices": (0, 1, 2, 3), "style": "pytorch", "norm_eval": False}
    return {"type": kind, "depth": depth, **usual, "norm_cfg": BN, "contract_dilation": True, **more}


def unet(**more):
    usual = {"in_channels": 3, "base_channels": 8, "num_stages": 4, "strides": (1, 1, 1, 1)}
    usual |= {"enc_num_convs": (2, 2, 2, 2), "dec_num_convs": (2, 2, 2), "downsamples": (True, True, True)}
    usual |= {"enc_dilations": (1, 1, 1, 1), "dec_dilations": (1, 1, 1), "norm_eval": False}
    return {"type": "UNet", **usual, "norm_cfg": BN, "act_cfg": {"type": "ReLU"}, **more}


def mit(**more):
    usual = {"embed_dims": 32, "num_stages": 4, "num_layers": [2, 2, 2, 2], "num_heads": [1, 2, 5, 8]}
    usual |= {"patch_sizes": [7, 3, 3, 3], "sr_ratios": [8, 4, 2, 1], "out_indices": (0, 1, 2, 3), "mlp_ratio": 4}
    usual |= {"qkv_bias": True, "drop_rate": 0.0, "attn_drop_rate": 0.0, "drop_path_rate": 0.1}
    return {"type": "MixVisionTransformer", "in_channels": 3, **usual, **more}


def hrnet(width, *, blocks, modules):
    extra = {"stage1": {"num_modules": 1, "num_branches": 1, "block": "BOTTLENECK", "num_blocks": blocks[:1]}}
    extra["stage1"]["num_channels"] = (64,)
    for n in (2, 3, 4):
        extra[f"stage{n}"] = {
            "num_modules": modules[n - 1],
            "num_branches": n,
            "block": "BASIC",
            "num_blocks": blocks[:n],
            "num_channels": tuple(width * 2**k for k in range(n)),
        }
    return {"type": "HRNet", "norm_cfg": BN, "norm_eval": False, "extra": extra}


def over_all(width, kind="FCNHead", channels=None, **more):
    widths = [width * 2**k for k in range(4)]
    together = {"input_transform": "resize_concat", "dropout_ratio": -1}
    own = {"kernel_size": 1, "num_convs": 1, "concat_input": False} if kind == "FCNHead" else {}
    return head(kind, widths, (0, 1, 2, 3), channels or sum(widths), **together, **own, **more)


def pyramid(**more):
    return {"type": "FPN", "in_channels": WIDTHS, "out_channels": 16, "num_outs": 4, **more}


def fpn_head(**more):
    return head("FPNHead", [16] * 4, ALL, 16, **{"feature_strides": [4, 8, 16, 32], **more})


HR18S = hrnet(18, blocks=(2, 2, 2, 2), modules=(1, 1, 3, 2))
POINTS = {"num_fcs": 3, "coarse_pred_each_layer": True, "dropout_ratio": -1, "norm_cfg": None}
REFINING = {"mode": "whole", "subdivision_steps": 2, "subdivision_num_points": 300, "scale_factor": 2}

CASES = {
    "r18-d8 multi-grid": model(resnet("ResNetV1c", 18, **D8, multi_grid=(1, 2)), head("PSPHead", 512, 3, 32)),
    "r34b-d16": model(
        resnet("ResNet", 34, **D16), head("ASPPHead", 512, 3, 16, dilations=(1, 6, 12, 18)), fcn(256, 2, num_convs=2)
    ),
    "r34d whole dilation": model(
        resnet("ResNetV1d", 34, **D8, contract_dilation=False), fcn(512, -1, num_convs=3, dilation=6)
    ),
    "r50d-d16-mg124": model(
        resnet("ResNetV1d", 50, **D16, multi_grid=(1, 2, 4)),
        head("DepthwiseSeparableASPPHead", 2048, 3, 16, c1_in_channels=256, c1_channels=12, dilations=(1, 6, 12, 18)),
    ),
    "aligned corners, odd size": model(
        resnet("ResNetV1c", 18, **D8),
        head("ASPPHead", 512, 3, 16, dilations=(1, 12, 24, 36), align_corners=True),
        fcn(256, 2, align_corners=True),
        size=(65, 97),
    ),
    "deep stem by key, no convolution": model(resnet("ResNet", 18, deep_stem=True), fcn(512, 3, 512, num_convs=0)),
    "concatenated features": model(
        resnet("ResNet", 18),
        fcn(WIDTHS, ALL, 64, kernel_size=1, concat_input=True, input_transform="resize_concat"),
        size=(50, 75),
    ),
    "some features": model(
        resnet("ResNetV1c", 18, out_indices=(1, 3)), fcn([128, 512], [0, 1], input_transform="resize_concat")
    ),
    "two auxiliary heads": model(
        resnet("ResNetV1c", 18, **D8), head("PSPHead", 512, 3, 16), [fcn(256, 2), head("PSPHead", 128, 1, 16)]
    ),
    "group norm": model(
        resnet("ResNetV1c", 18, norm_cfg=GN), head("UPerHead", WIDTHS, ALL, 32, norm_cfg=GN), size=(70, 101)
    ),
    "four image channels": model(resnet("ResNetV1c", 18, in_channels=4), head("PSPHead", 512, 3, 16)),
    "semantic FPN": model(resnet("ResNetV1c", 18), fpn_head(), neck=pyramid(), size=(75, 101)),
    "six pyramid levels": model(
        resnet("ResNet", 18),
        fcn(16, 4),
        neck=pyramid(num_outs=6, add_extra_convs="on_lateral", relu_before_extra_convs=True, norm_cfg=BN),
        size=(128, 128),
    ),
    "pyramid from the input": model(
        resnet("ResNet", 18),
        fcn(16, 3),
        neck=pyramid(
            num_outs=5,
            add_extra_convs="on_input",
            start_level=1,
            act_cfg={"type": "ReLU"},
            upsample_cfg={"mode": "bilinear"},
        ),
        size=(128, 128),
    ),
    "PointRend": model(
        resnet("ResNetV1c", 18),
        [fpn_head(dropout_ratio=-1), head("PointHead", [16], [0], 16, **POINTS)],
        neck=pyramid(),
        test_cfg=REFINING,
    ),
    "OCRNet": model(
        resnet("ResNetV1c", 18, **D8), [fcn(256, 2), head("OCRHead", 512, 3, 32, ocr_channels=16)], size=(65, 97)
    ),
    "HRNet, odd size": model(HR18S, over_all(18), size=(70, 103)),
    "HRNet with OCR": model(HR18S, [over_all(18), over_all(18, "OCRHead", 32, ocr_channels=16)]),
    "SegFormer": model(mit(), head("SegformerHead", MIT_WIDTHS, ALL, 32), size=(65, 97)),
    "MiT-B2": model(mit(embed_dims=64, num_layers=[3, 4, 6, 3]), fcn(512, 3), fcn(320, 2)),
    "UNet by transposed convolution": model(unet(upsample_cfg={"type": "DeconvModule"}), fcn(8, 3, classes=2)),
    "UNet with strides": model(unet(strides=(1, 2, 1, 2)), fcn(8, 3, classes=2)),
    "UNet, half size": model(unet(strides=(2, 2, 1, 1), downsamples=(True, True, False)), fcn(8, 3, classes=2)),
    "UNet with other convolutions": model(
        unet(enc_num_convs=(1, 2, 3, 2), dec_num_convs=(1, 2, 3), enc_dilations=(1, 2, 1, 2), dec_dilations=(2, 1, 2)),
        fcn(8, 3, classes=2),
        [fcn(16, 2, classes=2), fcn(32, 1, classes=2)],
    ),
    "one channel": model(
        unet(),
        fcn(
            8,
            3,
            classes=2,
            out_channels=1,
            threshold=0.4,
            loss_decode={"type": "CrossEntropyLoss", "use_sigmoid": True},
        ),
    ),
}


def section(name):
    """The model section, as lists and dicts."""
    return copy.deepcopy(_plain(CASES[name]["model"]))


def _plain(value):
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    return [_plain(part) for part in value] if isinstance(value, list | tuple) else value


def fill(name, shape):
    """Values of a tensor: only its name and shape decide."""
    generator = np.random.default_rng(zlib.crc32(name.encode()))
    if name.endswith("num_batches_tracked"):
        return np.ones(shape, dtype=np.int64)
    if name.endswith("running_var") or (len(shape) == 1 and name.endswith("weight")):
        return generator.uniform(0.5, 1.5, shape).astype(np.float32)
    scale = 1 / np.sqrt(np.prod(shape[1:])) if len(shape) > 1 else 0.1
    return (scale * generator.standard_normal(shape)).astype(np.float32)


def image(name):
    """The input of a case, NCHW."""
    channels = CASES[name]["model"]["backbone"].get("in_channels", 3)
    return np.random.default_rng(0).standard_normal((1, channels, *CASES[name]["size"])).astype(np.float32)


def sample(values):
    """A few values of an output, evenly spread, and the largest magnitude."""
    flat = values.reshape(-1)
    places = np.linspace(0, len(flat) - 1, 40).astype(int)
    values_there = [float(f"{value:.6g}") for value in flat[places]]
    return {"shape": list(values.shape), "largest": float(f"{abs(flat).max():.6g}"), "values": values_there}
