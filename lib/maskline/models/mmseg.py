"""A segmentor from the model section of an MMSegmentation configuration.

The section's own defaults are MMSegmentation 1.2.2's. What has no counterpart here is an error that names it; no
key is dropped silently.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from maskline.errors import ShapeError
from maskline.models.heads.base import Head
from maskline.models.mmseg_backbones import backbone_from_mmseg
from maskline.models.mmseg_heads import head_from_mmseg
from maskline.models.mmseg_section import Section, norm_from_mmseg
from maskline.models.necks.fpn import FPN, Pyramid
from maskline.models.segmentor import Segmentor


def segmentor_from_mmseg(model: Mapping[str, Any]) -> Segmentor:
    """Return the segmentor that a resolved model section describes, with new weights.

    Args:
        model: The ``model`` of an ``EncoderDecoder`` or ``CascadeEncoderDecoder`` configuration, as plain values.

    Raises:
        ShapeError: A type or key without a counterpart, named with its place.
    """
    section = Section(model, place="model")
    if section.type not in ("EncoderDecoder", "CascadeEncoderDecoder"):
        raise section.unknown_type(("EncoderDecoder", "CascadeEncoderDecoder"))
    section.ignore("data_preprocessor", "pretrained", "init_cfg", "train_cfg", "num_stages")
    test_cfg = section.take("test_cfg", None) or {}
    train_cfg = model.get("train_cfg") or {}
    decode = _heads(section, "decode_head", train_cfg=train_cfg, test_cfg=test_cfg)
    auxiliary = _heads(section, "auxiliary_head", train_cfg=train_cfg, test_cfg=test_cfg)
    backbone = backbone_from_mmseg(section.section("backbone"))
    neck = section.take("neck", None)
    segmentor = Segmentor(
        backbone=backbone,
        decode_heads=decode,
        auxiliary_heads=auxiliary,
        neck=None if neck is None else _fpn(Section(neck, place="model.neck")),
        num_classes=decode[-1].num_classes,
        align_corners=decode[-1].align_corners,
    )
    section.done()
    return segmentor


def _heads(section: Section, key: str, *, train_cfg: Mapping[str, Any], test_cfg: Mapping[str, Any]) -> list[Head]:
    value = section.take(key, None)
    if value is None:
        return []
    listed: Sequence[Mapping[str, Any]] = [value] if isinstance(value, Mapping) else value
    return [
        head_from_mmseg(Section(head, place=f"model.{key}"), train_cfg=train_cfg, test_cfg=test_cfg) for head in listed
    ]


def _fpn(section: Section) -> FPN:
    if section.type != "FPN":
        raise section.unknown_type(("FPN",))
    section.ignore("init_cfg")
    extra = section.take("add_extra_convs", False)
    on_inputs = section.take("extra_convs_on_inputs", False)
    if extra is True:
        extra = "on_input" if on_inputs else "on_output"
    end = section.take("end_level", -1)
    upsample = section.take("upsample_cfg", {"mode": "nearest"})
    if set(upsample) - {"mode"}:
        raise ShapeError(section.place, f"upsample_cfg {dict(upsample)} has no counterpart", "use mode alone")
    activation = section.take("act_cfg", None)
    neck = FPN(
        in_channels=section.take("in_channels"),
        out_channels=section.take("out_channels"),
        num_outs=section.take("num_outs"),
        plan=Pyramid(
            start_level=section.take("start_level", 0),
            end_level=None if end == -1 else end,
            extra_convs=extra or None,
            relu_before_extra_convs=section.take("relu_before_extra_convs", False),
            upsample=upsample.get("mode", "nearest"),
        ),
        norm=norm_from_mmseg(section.take("norm_cfg", None), place=section.place),
        norm_on_lateral=not section.take("no_norm_on_lateral", False),
        activation=activation is not None,
    )
    section.done()
    return neck
