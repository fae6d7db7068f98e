"""Model sections of the recipes; see ``tools.recipes``."""

from typing import Any

Network = dict[str, Any]


def _head(name: str, index: int | list[int], channels: int, *, weight: float = 1.0, **own: Any) -> Network:
    return {
        "name": name,
        "in_index": index,
        "channels": channels,
        "dropout": 0.1,
        "with_norm": True,
        "losses": [{"name": "cross_entropy", "weight": weight, "class_weights": None, "label_smoothing": 0.0}],
        **own,
    }


def _fcn(index: int | list[int], channels: int, *, convs: int = 1, concat: bool = False, **own: Any) -> Network:
    knobs: dict[str, Any] = {
        "num_convs": convs,
        "concat_input": concat,
        "kernel_size": 3,
        "dilation": 1,
        "input_transform": None,
    }
    return _head("fcn", index, channels, **{**knobs, **own})


_BINS = [1, 2, 3, 6]
_DILATIONS = [1, 12, 24, 36]
_ALL = [0, 1, 2, 3]
_ONE: dict[str, Any] = {"input_transform": None}


def _resnet(depth: int, stride: int, decode: Network, *, auxiliary: int | None) -> Network:
    return {
        "norm": {"name": "syncbn"},
        "backbone": {"name": f"resnet{depth}_v1c", "output_stride": stride, "contract_dilation": True},
        "neck": {"name": "none"},
        "cascade_heads": [],
        "decode_head": decode,
        "auxiliary_heads": [] if auxiliary is None else [_fcn(2, auxiliary, weight=0.4)],
    }


def _pyramid(depth: int) -> Network:
    head = _head("fpn", _ALL, 128, strides=[4, 8, 16, 32])
    neck = {
        "name": "fpn",
        "out_channels": 256,
        "num_outs": 4,
        "start_level": 0,
        "end_level": None,
        "extra_convs": None,
        "relu_before_extra_convs": False,
        "with_norm": False,
        "norm_on_lateral": True,
        "activation": False,
        "upsample": "nearest",
    }
    return {**_resnet(depth, 32, head, auxiliary=None), "neck": neck}


def _points(depth: int) -> Network:
    network = _pyramid(depth)
    point = _head(
        "point",
        [0],
        256,
        num_fcs=3,
        coarse_each_layer=True,
        train_points=2048,
        oversample=3.0,
        uncertain_share=0.75,
        steps=2,
        step_points=8196,
        scale_factor=2,
    )
    coarse = {**network["decode_head"], "dropout": 0.0}
    return {**network, "cascade_heads": [coarse], "decode_head": {**point, "dropout": 0.0, "with_norm": False}}


def _unet(decode: Network) -> Network:
    return {
        "norm": {"name": "syncbn"},
        "backbone": {"name": "unet", "base_channels": 64, "num_stages": 5},
        "neck": {"name": "none"},
        "cascade_heads": [],
        "decode_head": decode,
        "auxiliary_heads": [_fcn(3, 64, weight=0.4)],
    }


def _segformer(size: str) -> Network:
    return {
        "norm": {"name": "syncbn"},
        "backbone": {"name": f"mixvit_{size}", "drop_path": 0.1},
        "neck": {"name": "none"},
        "cascade_heads": [],
        "decode_head": _head("segformer", _ALL, 256, interpolation="bilinear"),
        "auxiliary_heads": [],
    }


def _ocr_hrnet(width: str, joined: int) -> Network:
    together: dict[str, Any] = {"input_transform": "resize_concat", "dropout": 0.0}
    coarse = _fcn(_ALL, joined, kernel_size=1, weight=0.4, **together)
    return {
        "norm": {"name": "syncbn"},
        "backbone": {"name": f"hrnet{width}"},
        "neck": {"name": "none"},
        "cascade_heads": [coarse],
        "decode_head": _head("ocr", _ALL, 512, ocr_channels=256, **together),
        "auxiliary_heads": [],
    }


def _heads_of(depth: int) -> dict[str, Network]:
    """Return the networks on a dilated ResNet; on ResNet-18, whose features are narrow, heads are a quarter as wide."""
    wide, aux, c1 = (128, 64, 12) if depth == 18 else (512, 256, 48)
    decode = {
        "fcn": _fcn(3, wide, convs=2, concat=True),
        "pspnet": _head("psp", 3, wide, bins=_BINS, **_ONE),
        "deeplabv3": _head("aspp", 3, wide, dilations=_DILATIONS, **_ONE),
        "deeplabv3plus": _head("separable_aspp", 3, wide, dilations=_DILATIONS, c1_channels=c1, **_ONE),
    }
    return {f"{name}_r{depth}-d8": _resnet(depth, 8, head, auxiliary=aux) for name, head in decode.items()}


NETWORKS: dict[str, Network] = {
    **{name: network for depth in (18, 50, 101) for name, network in _heads_of(depth).items()},
    **{
        f"upernet_r{depth}": _resnet(depth, 32, _head("uper", _ALL, 512, bins=_BINS), auxiliary=256)
        for depth in (50, 101)
    },
    **{f"fpn_r{depth}": _pyramid(depth) for depth in (50, 101)},
    **{f"pointrend_r{depth}": _points(depth) for depth in (50, 101)},
    "ocrnet_r101-d8": {
        **_resnet(101, 8, _head("ocr", 3, 512, ocr_channels=256, **_ONE), auxiliary=None),
        "cascade_heads": [_fcn(2, 256, weight=0.4)],
    },
    "ocrnet_hr18s": _ocr_hrnet("18s", 270),
    "ocrnet_hr18": _ocr_hrnet("18", 270),
    "ocrnet_hr48": _ocr_hrnet("48", 720),
    **{f"segformer_mit-{size}": _segformer(size) for size in ("b0", "b1", "b2", "b3", "b4", "b5")},
    "unet-s5-d16_fcn": _unet(_fcn(4, 64)),
    "unet-s5-d16_pspnet": _unet(_head("psp", 4, 16, bins=_BINS, **_ONE)),
    "unet-s5-d16_deeplabv3": _unet(_head("aspp", 4, 16, dilations=_DILATIONS, **_ONE)),
}
