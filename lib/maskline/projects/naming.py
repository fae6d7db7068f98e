"""The name of an experiment, made from its settings by MMSegmentation's convention.

``{algorithm}_{components}_{devices}xb{batch of each}-{extras}-{thousands of iterations}k_{data set}-{height}x{width}``:
parts joined by ``_``, words inside of a part by ``-``; a length in epochs is ``100e``. As the name is computed, it
cannot say what the settings do not.
"""

import re
from collections.abc import Sequence

from maskline.params.network.heads import FCNHeadParams, FCNSkipHeadParams, HeadParams, MaskHeadParams
from maskline.params.network.losses import LossParams
from maskline.params.network.model import BackboneParams, ModelParams
from maskline.params.whole import Params

_ALGORITHMS = {
    "fcn": "fcn",
    "psp": "pspnet",
    "aspp": "deeplabv3",
    "separable_aspp": "deeplabv3plus",
    "large_fov": "deeplabv1",
    "summed_aspp": "deeplabv2",
    "uper": "upernet",
    "fpn": "fpn",
    "segformer": "segformer",
    "ocr": "ocrnet",
    "point": "pointrend",
    "non_local": "nonlocal",
    "dnl": "dnl",
    "gc": "gcnet",
    "cc": "ccnet",
    "da": "danet",
    "isa": "isanet",
    "ann": "ann",
    "psa": "psanet",
    "enc": "encnet",
    "apc": "apcnet",
    "dm": "dmnet",
    "ema": "emanet",
    "knet": "knet",
    "maskformer": "maskformer",
    "separable_fcn": "sepfcn",
    "lraspp": "lraspp",
    "light_ham": "segnext",
    "stdc": "stdc",
    "ddr": "ddrnet",
    "pid": "pidnet",
    "mask2former": "mask2former",
    "setr_up": "setr",
    "setr_mla": "setr-mla",
    "segmenter": "segmenter",
    "dpt": "dpt",
}
_LOSSES = {"cross_entropy": "ce", "cross_entropy_mmseg": "ce", "dice_mmseg": "dice", "dice": "softdice"}
_FAMILIES = {"v1b": "b", "v1c": "", "v1d": "d"}


def name(params: Params) -> str:
    """Return the name of an experiment with these settings."""
    height, width = params.augment.crop_size
    train = params.train
    batch = f"{train.devices}xb{train.batch_size // train.devices}"
    length = f"{train.iterations / 1000:g}k" if train.epochs is None else f"{train.epochs:g}e"
    schedule = "-".join([batch, *_extras(params), length])
    return f"{_model(params.model)}_{schedule}_{_word(params.data.name)}-{height}x{width}"


def _model(model: ModelParams) -> str:
    """Return the network's words; those of networks in a row are joined, and said once where all are alike."""
    words = [_network(network) for network in model.networks()]
    beside = f"-{model.members}members" if model.members > 1 else ""
    if len(words) > 1 and len(set(words)) == 1:
        return f"{words[0]}-x{len(words)}{beside}"
    return "-then-".join([words[0], *(word.replace("_", "-") for word in words[1:])]) + beside


def _network(model: ModelParams) -> str:
    if model.type == "smp":
        return f"smp-{_word(model.smp.architecture)}_{_word(model.smp.encoder)}"
    algorithm, backbone = _algorithm(model.decode_head), _backbone(model.backbone)
    if model.backbone.name in ("unet", "little_unet"):
        return f"{backbone}_{algorithm}"
    return f"{algorithm}_{backbone}"


def _algorithm(head: HeadParams) -> str:
    match head:
        case FCNSkipHeadParams():
            count = len(head.in_index) if isinstance(head.in_index, tuple) else 1
            return f"fcn{32 // 2 ** (count - 1)}s"
        case FCNHeadParams() if head.dilation > 1:
            return f"fcn-d{head.dilation}"
        case _:
            return _ALGORITHMS.get(head.name, _bare(head.name))


def _backbone(backbone: BackboneParams) -> str:
    if backbone.name == "unet":
        steps = backbone.strides or (1,) * backbone.num_stages
        halved = backbone.downsamples or (True,) * (backbone.num_stages - 1)
        stride = steps[0]
        for step, pools in zip(steps[1:], halved, strict=True):
            stride *= 2 if pools and step == 1 else step
        width = "" if backbone.base_channels == 64 else f"-w{backbone.base_channels}"
        return f"unet-s{backbone.num_stages}-d{stride}{width}"
    if match := re.fullmatch(r"resnet(\d+)_(v1[bcd])", backbone.name):
        grid = "-mg" + "".join(map(str, backbone.multi_grid)) if backbone.multi_grid else ""
        return f"r{match[1]}{_FAMILIES[match[2]]}{_stride(backbone)}{grid}"
    if match := re.fullmatch(r"mixvit_(b\d)", backbone.name):
        return f"mit-{match[1]}"
    if match := re.fullmatch(r"hrnet(\d+s?)", backbone.name):
        return f"hr{match[1]}"
    return f"{_bare(backbone.name)}{_stride(backbone)}"


def _stride(backbone: BackboneParams) -> str:
    return "" if backbone.output_stride == 32 else f"-d{backbone.output_stride}"


def _extras(params: Params) -> list[str]:
    model = params.model
    head = model.decode_head
    losses = model.smp.losses if model.type == "smp" else () if isinstance(head, MaskHeadParams) else head.losses
    amp = ["amp"] if params.train.precision in ("bf16", "fp16") else []
    return [*amp, *_loss_words(losses)]


def _loss_words(losses: Sequence[LossParams]) -> list[str]:
    if not losses or (len(losses) == 1 and _LOSSES.get(losses[0].name) == "ce" and losses[0].weight == 1.0):
        return []
    return [f"{_bare(_LOSSES.get(loss.name, loss.name))}-{loss.weight}" for loss in losses]


def _bare(name: str) -> str:
    """Return a name as a word, without the file of one's own code."""
    return _word(name.rpartition(".py:")[2])


def _word(text: str) -> str:
    return re.sub(r"[^a-z0-9.]+", "-", text.lower()).strip("-")
