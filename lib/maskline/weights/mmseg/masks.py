"""MMSegmentation's heads that predict masks, whose layers are MMDetection's. See ``maskline.weights.mmseg.head``."""

from collections.abc import Mapping
from typing import Any

from maskline.models.heads.mask_classification import decoder_norm
from maskline.weights.mmseg.section import Section

MASK_HEADS = {"MaskFormerHead": "maskformer"}
_RELU = {"type": "ReLU"}


def mask_head_params(section: Section) -> dict[str, Any]:
    """Return the keys of such a head, but for its name; what does not concern weights is checked too.

    Raises:
        ShapeError: A type, key or value without a counterpart.
    """
    section.ignore("init_cfg", "ignore_index", "test_cfg")
    widths, channels = section.take("in_channels"), section.take("feat_channels")
    section.expect("out_channels", channels)
    positions = list(range(len(widths)))
    section.expect("in_index", positions, tuple(positions))
    section.expect("enforce_decoder_input_project", False)
    _positions(section, channels)
    common = {
        "in_index": positions,
        "channels": channels,
        "num_queries": section.take("num_queries", 100),
        "count_ignored": True,
    }
    decoder, losses = _decoder(section, channels), _losses(section)
    return {**common, **decoder, **losses, **_maskformer(section, losses, channels)}


def _maskformer(section: Section, losses: Mapping[str, Any], channels: int) -> dict[str, Any]:
    pixels = section.section("pixel_decoder")
    pixels.check("type", pixels.type, "mmdet.PixelDecoder")
    pixels.ignore("init_cfg")
    pixels.expect("norm_cfg", {"type": "GN", "num_groups": decoder_norm(channels).num_groups})
    pixels.expect("act_cfg", _RELU)
    pixels.done()
    train = section.section("train_cfg")
    _costs(train, losses, mask_cost={"type": "mmdet.FocalLossCost", "binary_input": True})
    train.done()
    return {}


def _positions(section: Section, channels: int) -> None:
    usual = {"num_feats": channels // 2, "normalize": True}
    section.expect("positional_encoding", usual)


def _decoder(section: Section, channels: int) -> dict[str, Any]:
    decoder = section.section("transformer_decoder")
    decoder.ignore("init_cfg")
    decoder.expect("return_intermediate", True)
    layer = decoder.section("layer_cfg")
    attention = layer.section("cross_attn_cfg")
    heads, dropout = attention.take("num_heads"), float(attention.take("attn_drop", 0.0))
    own = layer.section("self_attn_cfg")
    own.expect("num_heads", heads)
    own.expect("attn_drop", dropout)
    for each in (attention, own):
        each.expect("embed_dims", channels)
        each.expect("proj_drop", dropout)
        each.expect("dropout_layer", None)
        each.expect("batch_first", True)
        each.done()
    hidden = feed_forward(layer.section("ffn_cfg"), channels, dropout)
    layer.done()
    layers = decoder.take("num_layers")
    decoder.done()
    return {"num_layers": layers, "num_heads": heads, "feedforward_channels": hidden, "dropout": dropout}


def feed_forward(section: Section, channels: int, dropout: float) -> int:
    """Return the channels inside of an ``FFN``.

    Raises:
        ShapeError: A key or value without a counterpart.
    """
    section.expect("embed_dims", channels)
    section.expect("num_fcs", 2)
    section.expect("ffn_drop", dropout)
    section.expect("dropout_layer", None)
    section.expect("add_identity", True)
    activation = section.take("act_cfg", _RELU)
    section.check("act_cfg", {key: value for key, value in activation.items() if key != "inplace"}, _RELU)
    hidden: int = section.take("feedforward_channels")
    section.done()
    return hidden


def _losses(section: Section) -> dict[str, Any]:
    classes, masks, dice = (section.section(key) for key in ("loss_cls", "loss_mask", "loss_dice"))
    classes.check("type", classes.type, "mmdet.CrossEntropyLoss")
    classes.expect("use_sigmoid", False)
    *known, void = classes.take("class_weight")
    classes.check("class_weight", known, [1.0] * len(known))
    masks.check("type", masks.type, "mmdet.FocalLoss")
    masks.expect("use_sigmoid", True)
    masks.expect("gamma", 2.0)
    masks.expect("alpha", 0.25)
    dice.check("type", dice.type, "mmdet.DiceLoss")
    dice.expect("use_sigmoid", True)
    dice.expect("activate", True)
    dice.expect("naive_dice", True)
    dice.check("eps", dice.take("eps", 1e-3), 1.0)
    weights = {}
    for key, part in (("class", classes), ("mask", masks), ("dice", dice)):
        part.expect("reduction", "mean")
        weights[f"{key}_loss_weight"] = float(part.take("loss_weight", 1.0))
        part.done()
    return {**weights, "void_weight": float(void)}


def _costs(train: Section, losses: Mapping[str, Any], *, mask_cost: Mapping[str, Any]) -> None:
    """Check that queries are matched by the losses' own weights."""
    train.expect("sampler", {"type": "mmdet.MaskPseudoSampler"})
    assigner = train.section("assigner")
    assigner.check("type", assigner.type, "mmdet.HungarianAssigner")
    expected = [
        {"type": "mmdet.ClassificationCost", "weight": losses["class_loss_weight"]},
        {**mask_cost, "weight": losses["mask_loss_weight"]},
        {"type": "mmdet.DiceCost", "weight": losses["dice_loss_weight"], "pred_act": True, "eps": 1.0},
    ]
    assigner.expect("match_costs", expected)
    assigner.done()
