"""MMSegmentation's neck sections as this project's. See ``maskline.weights.mmseg.model``."""

from collections.abc import Callable, Mapping
from typing import Any

from maskline.core.errors import ShapeError
from maskline.weights.mmseg.section import Section

NormReader = Callable[[Mapping[str, Any] | None, str], bool]


def neck_params(
    value: Mapping[str, Any] | None, *, chosen: list[int] | None, norm: NormReader, align_corners: bool
) -> dict[str, Any]:
    """Return the neck section.

    Args:
        value: MMSegmentation's; None: there is none.
        chosen: The backbone's features that it gets; None: all.
        norm: Notes a norm_cfg and tells whether there is one.
        align_corners: That of the heads.

    Raises:
        ShapeError: A type or key without a counterpart.
    """
    if value is None:
        return {"name": "none"} if chosen is None else {"name": "select", "indices": chosen}
    section = Section(value, place="model.neck")
    if section.type not in _READERS:
        raise section.unknown_type(_READERS)
    section.ignore("init_cfg")
    neck = _READERS[section.type](section, chosen, norm, align_corners)
    section.done()
    return neck


def _fpn(section: Section, chosen: list[int] | None, norm: NormReader, _align_corners: bool) -> dict[str, Any]:
    _check_all(section, chosen)
    section.ignore("in_channels")
    section.expect("conv_cfg", None)
    extra, on_inputs = section.take("add_extra_convs", False), section.take("extra_convs_on_inputs", False)
    if extra is True:
        extra = "on_input" if on_inputs else "on_output"
    end = section.take("end_level", -1)
    upsample = section.take("upsample_cfg", {"mode": "nearest"})
    if set(upsample) - {"mode"}:
        raise ShapeError(section.place, f"upsample_cfg {dict(upsample)} has no counterpart", "use mode alone")
    return {
        "name": "fpn",
        "out_channels": section.take("out_channels"),
        "num_outs": section.take("num_outs"),
        "start_level": section.take("start_level", 0),
        "end_level": None if end == -1 else end,
        "extra_convs": extra or None,
        "relu_before_extra_convs": section.take("relu_before_extra_convs", False),
        "with_norm": norm(section.take("norm_cfg", None), "model.neck"),
        "norm_on_lateral": not section.take("no_norm_on_lateral", False),
        "activation": section.take("act_cfg", None) is not None,
        "upsample": upsample.get("mode", "nearest"),
    }


def _jpu(section: Section, chosen: list[int] | None, norm: NormReader, align_corners: bool) -> dict[str, Any]:
    section.expect("act_cfg", {"type": "ReLU"})
    section.expect("align_corners", align_corners)
    if not norm(section.take("norm_cfg", None), "model.neck"):
        raise ShapeError(section.place, "norm_cfg None has no counterpart", "use BN, SyncBN or GN")
    given = section.take("in_channels")
    positions = chosen or list(range(len(given)))
    end = section.take("end_level", -1)
    return {
        "name": "jpu",
        "indices": positions[section.take("start_level", 0) : None if end == -1 else end],
        "mid_channels": section.take("mid_channels", 512),
        "dilations": list(section.take("dilations", (1, 2, 4, 8))),
    }


def _ic(section: Section, chosen: list[int] | None, norm: NormReader, align_corners: bool) -> dict[str, Any]:
    section.ignore("in_channels")
    section.expect("conv_cfg", None)
    section.expect("act_cfg", {"type": "ReLU"})
    section.expect("align_corners", align_corners)
    norm(section.take("norm_cfg", {"type": "BN"}), "model.neck")
    return {"name": "ic", "indices": chosen, "out_channels": section.take("out_channels", 128)}


def _multi_level(section: Section, chosen: list[int] | None, _norm: NormReader, _align_corners: bool) -> dict[str, Any]:
    _check_all(section, chosen)
    section.ignore("in_channels")
    section.expect("norm_cfg", None)
    section.expect("act_cfg", None)
    scales = [float(scale) for scale in section.take("scales", (0.5, 1, 2, 4))]
    return {"name": "multi_level", "out_channels": section.take("out_channels"), "scales": scales}


def _feature2pyramid(
    section: Section, chosen: list[int] | None, norm: NormReader, _align_corners: bool
) -> dict[str, Any]:
    _check_all(section, chosen)
    section.ignore("embed_dim")
    section.expect("rescales", [4, 2, 1, 0.5], (4, 2, 1, 0.5))
    norm(section.take("norm_cfg", {"type": "SyncBN"}), "model.neck")
    return {"name": "feature2pyramid"}


def _mla(section: Section, chosen: list[int] | None, norm: NormReader, _align_corners: bool) -> dict[str, Any]:
    _check_all(section, chosen)
    section.ignore("in_channels")
    section.expect("norm_layer", {"type": "LN", "eps": 1e-6, "requires_grad": True}, {"type": "LN", "eps": 1e-6})
    return {
        "name": "mla",
        "out_channels": section.take("out_channels"),
        "with_norm": norm(section.take("norm_cfg", None), "model.neck"),
        "activation": section.take("act_cfg", None) is not None,
    }


def _check_all(section: Section, chosen: list[int] | None) -> None:
    if chosen is not None:
        raise ShapeError(section.place, f"backbone out_indices {chosen} before it", "give it all features")


_READERS = {
    "FPN": _fpn,
    "JPU": _jpu,
    "ICNeck": _ic,
    "MultiLevelNeck": _multi_level,
    "Feature2Pyramid": _feature2pyramid,
    "MLANeck": _mla,
}
