"""Model sections of the recipes; see ``tools.recipes``."""

import copy
from typing import Any

Network = dict[str, Any]


def _head(name: str, index: int | list[int], channels: int, *, weight: float = 1.0, **own: Any) -> Network:
    losses = [{"name": "cross_entropy", "weight": weight}]
    return {"name": name, "in_index": index, "channels": channels, "losses": losses, **own}


def _fcn(index: int | list[int], channels: int, *, convs: int = 1, concat: bool = False, **own: Any) -> Network:
    return _head("fcn", index, channels, num_convs=convs, concat_input=concat, **own)


_BINS = [1, 2, 3, 6]
_DILATIONS = [1, 12, 24, 36]
_ALL = [0, 1, 2, 3]


def _network(backbone: Network, decode: Network, **own: Any) -> Network:
    return {"norm": {"name": "syncbn"}, "backbone": backbone, "decode_head": decode, **own}


def _resnet(depth: int, stride: int, decode: Network, **own: Any) -> Network:
    return _network({"name": f"resnet{depth}_v1c", "output_stride": stride}, decode, **own)


def _pyramid(depth: int) -> Network:
    head = _head("fpn", _ALL, 128, strides=[4, 8, 16, 32])
    return _resnet(depth, 32, head, neck={"name": "fpn", "num_outs": 4})


def _points(depth: int) -> Network:
    network = _pyramid(depth)
    coarse = {**network["decode_head"], "dropout": 0.0}
    point = _head("point", [0], 256, dropout=0.0, with_norm=False)
    return {**network, "cascade_heads": [coarse], "decode_head": point}


def _unet(decode: Network) -> Network:
    backbone = {"name": "unet", "base_channels": 64, "num_stages": 5}
    return _network(backbone, decode, auxiliary_heads=[_fcn(3, 64, weight=0.4)])


def _little_unets() -> Network:
    """Return W-Net's: two in a row, each with its loss; no dropout, and a classifier on the finest feature alone."""
    plain = {"losses": [{"name": "cross_entropy"}], "dropout": 0.0, "num_convs": 0, "concat_input": False}
    head = {"name": "fcn", "in_index": -1, "channels": 8, **plain}
    little = {
        "backbone": {"name": "little_unet", "base_channels": 8, "num_stages": 3},
        "decode_head": head,
        "auxiliary_heads": [],
    }
    return {**little, "refiners": [copy.deepcopy(little)]}


def _segformer(size: str) -> Network:
    return _network({"name": f"mixvit_{size}"}, _head("segformer", _ALL, 256))


def _ocr_hrnet(width: str, joined: int) -> Network:
    together: dict[str, Any] = {"dropout": 0.0, "input_transform": "resize_concat"}
    coarse = _fcn(_ALL, joined, kernel_size=1, weight=0.4, **together)
    decode = _head("ocr", _ALL, 512, ocr_channels=256, **together)
    return _network({"name": f"hrnet{width}"}, decode, cascade_heads=[coarse])


def _heads_of(depth: int) -> dict[str, Network]:
    """Return the networks on a dilated ResNet; on ResNet-18, whose features are narrow, heads are a quarter as wide."""
    wide, aux, c1 = (128, 64, 12) if depth == 18 else (512, 256, 48)
    decode = {
        "fcn": _fcn(3, wide, convs=2, concat=True),
        "pspnet": _head("psp", 3, wide, bins=_BINS),
        "deeplabv3": _head("aspp", 3, wide, dilations=_DILATIONS),
        "deeplabv3plus": _head("separable_aspp", 3, wide, dilations=_DILATIONS, c1_channels=c1),
    }
    return {
        f"{name}_r{depth}-d8": _resnet(depth, 8, head, auxiliary_heads=[_fcn(2, aux, weight=0.4)])
        for name, head in decode.items()
    }


NETWORKS: dict[str, Network] = {
    **{name: network for depth in (18, 50, 101) for name, network in _heads_of(depth).items()},
    **{
        f"upernet_r{depth}": _resnet(
            depth, 32, _head("uper", _ALL, 512, bins=_BINS), auxiliary_heads=[_fcn(2, 256, weight=0.4)]
        )
        for depth in (50, 101)
    },
    **{f"fpn_r{depth}": _pyramid(depth) for depth in (50, 101)},
    **{f"pointrend_r{depth}": _points(depth) for depth in (50, 101)},
    "ocrnet_r101-d8": _resnet(101, 8, _head("ocr", 3, 512, ocr_channels=256), cascade_heads=[_fcn(2, 256, weight=0.4)]),
    "ocrnet_hr18s": _ocr_hrnet("18s", 270),
    "ocrnet_hr18": _ocr_hrnet("18", 270),
    "ocrnet_hr48": _ocr_hrnet("48", 720),
    "little-unet_fcn-x2": _little_unets(),
    **{f"segformer_mit-{size}": _segformer(size) for size in ("b0", "b1", "b2", "b3", "b4", "b5")},
    "unet-s5-d16_fcn": _unet(_fcn(4, 64)),
    "unet-s5-d16_pspnet": _unet(_head("psp", 4, 16, bins=_BINS)),
    "unet-s5-d16_deeplabv3": _unet(_head("aspp", 4, 16, dilations=_DILATIONS)),
}
