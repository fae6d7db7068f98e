"""Heads from MMSegmentation configurations. See ``maskline.models.mmseg``."""

from collections.abc import Callable, Mapping
from typing import Any

from maskline.models.heads.aspp import ASPPHead
from maskline.models.heads.base import Head, HeadOptions
from maskline.models.heads.fcn import FCNHead
from maskline.models.heads.fpn import FPNHead
from maskline.models.heads.ocr import OCRHead
from maskline.models.heads.point import PointHead, PointSampling
from maskline.models.heads.psp import PSPHead
from maskline.models.heads.segformer import SegformerHead
from maskline.models.heads.separable_aspp import SeparableASPPHead
from maskline.models.heads.uper import UPerHead
from maskline.models.mmseg_section import Section, norm_from_mmseg


def head_from_mmseg(section: Section, *, train_cfg: Mapping[str, Any], test_cfg: Mapping[str, Any]) -> Head:
    """Return the head that a section describes.

    Args:
        section: The head's section.
        train_cfg: The model's ``train_cfg``: which points a point head trains on.
        test_cfg: The model's ``test_cfg``: how often a point head refines.

    Raises:
        ShapeError: A type or key without a counterpart.
    """
    section.ignore("loss_decode", "ignore_index", "init_cfg", "sampler", "threshold")
    if section.type == "PointHead":
        section.expect("conv_cfg", {"type": "Conv1d"})
        section.expect("norm_cfg", None)
        section.expect("act_cfg", {"type": "ReLU", "inplace": False}, {"type": "ReLU"})
        section.expect("input_transform", "multiple_select")
        head = _point(section, _options(section), train_cfg=train_cfg, test_cfg=test_cfg)
    else:
        builder = _BUILDERS.get(section.type)
        if builder is None:
            raise section.unknown_type([*_BUILDERS, "PointHead"])
        section.expect("conv_cfg", None)
        section.expect("act_cfg", {"type": "ReLU"})
        head = builder(section, _options(section))
    section.done()
    return head


def _options(section: Section) -> HeadOptions:
    num_classes = section.take("num_classes")
    return HeadOptions(
        in_channels=section.take("in_channels"),
        in_index=section.take("in_index", -1),
        channels=section.take("channels"),
        num_classes=section.take("out_channels", None) or num_classes,
        dropout=max(0.0, section.take("dropout_ratio", 0.1)),
        align_corners=section.take("align_corners", False),
        norm=norm_from_mmseg(section.take("norm_cfg", None), place=section.place),
    )


def _fcn(section: Section, options: HeadOptions) -> Head:
    return FCNHead(
        num_convs=section.take("num_convs", 2),
        concat_input=section.take("concat_input", True),
        kernel_size=section.take("kernel_size", 3),
        dilation=section.take("dilation", 1),
        input_transform=section.take("input_transform", None),
        **options,
    )


def _psp(section: Section, options: HeadOptions) -> Head:
    return PSPHead(
        bins=section.take("pool_scales", (1, 2, 3, 6)),
        input_transform=section.take("input_transform", None),
        **options,
    )


def _aspp(section: Section, options: HeadOptions) -> Head:
    return ASPPHead(
        dilations=section.take("dilations", (1, 6, 12, 18)),
        input_transform=section.take("input_transform", None),
        **options,
    )


def _separable_aspp(section: Section, options: HeadOptions) -> Head:
    return SeparableASPPHead(
        c1_in_channels=section.take("c1_in_channels"),
        c1_channels=section.take("c1_channels"),
        dilations=section.take("dilations", (1, 6, 12, 18)),
        input_transform=section.take("input_transform", None),
        **options,
    )


def _uper(section: Section, options: HeadOptions) -> Head:
    section.expect("input_transform", "multiple_select")
    return UPerHead(bins=section.take("pool_scales", (1, 2, 3, 6)), **options)


def _fpn(section: Section, options: HeadOptions) -> Head:
    section.expect("input_transform", "multiple_select")
    return FPNHead(strides=section.take("feature_strides"), **options)


def _segformer(section: Section, options: HeadOptions) -> Head:
    section.expect("input_transform", "multiple_select")
    return SegformerHead(interpolation=section.take("interpolate_mode", "bilinear"), **options)


def _ocr(section: Section, options: HeadOptions) -> Head:
    section.expect("scale", 1)  # another scale fails in MMSegmentation itself
    return OCRHead(
        ocr_channels=section.take("ocr_channels"), input_transform=section.take("input_transform", None), **options
    )


def _point(
    section: Section, options: HeadOptions, *, train_cfg: Mapping[str, Any], test_cfg: Mapping[str, Any]
) -> Head:
    usual = PointSampling()
    sampling = PointSampling(
        train_points=train_cfg.get("num_points", usual.train_points),
        oversample=train_cfg.get("oversample_ratio", usual.oversample),
        uncertain_share=train_cfg.get("importance_sample_ratio", usual.uncertain_share),
        steps=test_cfg.get("subdivision_steps", usual.steps),
        step_points=test_cfg.get("subdivision_num_points", usual.step_points),
        scale_factor=test_cfg.get("scale_factor", usual.scale_factor),
    )
    return PointHead(
        num_fcs=section.take("num_fcs", 3),
        coarse_each_layer=section.take("coarse_pred_each_layer", True),
        sampling=sampling,
        **options,
    )


_BUILDERS: dict[str, Callable[[Section, HeadOptions], Head]] = {
    "FCNHead": _fcn,
    "PSPHead": _psp,
    "ASPPHead": _aspp,
    "DepthwiseSeparableASPPHead": _separable_aspp,
    "UPerHead": _uper,
    "FPNHead": _fpn,
    "SegformerHead": _segformer,
    "OCRHead": _ocr,
}
