"""MMSegmentation's head sections as this project's. See ``maskline.weights.mmseg.model``."""

from collections.abc import Callable, Mapping
from typing import Any

from maskline.core.errors import ShapeError
from maskline.weights.mmseg.attention import ATTENTION, attention_params
from maskline.weights.mmseg.kernels import kernel_update_params
from maskline.weights.mmseg.loss import loss_params, plain_cross_entropy
from maskline.weights.mmseg.masks import MASK_HEADS, mask_head_params
from maskline.weights.mmseg.section import Section

_TYPES = {
    "FCNHead": "fcn",
    "PSPHead": "psp",
    "ASPPHead": "aspp",
    "DepthwiseSeparableASPPHead": "separable_aspp",
    "UPerHead": "uper",
    "FPNHead": "fpn",
    "SegformerHead": "segformer",
    "OCRHead": "ocr",
    "PointHead": "point",
    "NLHead": "non_local",
    "DNLHead": "dnl",
    "GCHead": "gc",
    "CCHead": "cc",
    "DAHead": "da",
    "ISAHead": "isa",
    "ANNHead": "ann",
    "PSAHead": "psa",
    "EncHead": "enc",
    "APCHead": "apc",
    "DMHead": "dm",
    "EMAHead": "ema",
    "IterativeDecodeHead": "knet",
    **MASK_HEADS,
}
_BINARY_THRESHOLD = 0.3  # MMSegmentation's own
_SEVERAL = ("uper", "fpn", "segformer", "point", "ann", "enc")


class HeadReader:
    """Reads the heads of one model.

    Args:
        notes: Gets a sentence on each loss without a counterpart.
        norm: Notes a norm_cfg and tells whether there is one.
        train_cfg: The model's ``train_cfg``.
        test_cfg: Its ``test_cfg``.

    Attributes:
        num_classes: Classes of the head that was read last.
        binary: Places of the heads whose one channel is the logit of the second of two classes.
        threshold: Probability from which MMSegmentation predicts that class, of the last such head.
        align_corners: That of all heads.
    """

    def __init__(
        self,
        *,
        notes: list[str],
        norm: Callable[[Mapping[str, Any] | None, str], bool],
        train_cfg: Mapping[str, Any],
        test_cfg: Mapping[str, Any],
    ) -> None:
        self._notes, self._norm, self._train_cfg, self._test_cfg = notes, norm, train_cfg, test_cfg
        self._corners: bool | None = None
        self.num_classes = 0
        self.binary: list[str] = []
        self.threshold: float | None = None

    @property
    def align_corners(self) -> bool:
        """See the class."""
        return bool(self._corners)

    def read(self, value: Mapping[str, Any], *, place: str) -> dict[str, Any]:
        """Return one head's section.

        Raises:
            ShapeError: A type or key without a counterpart.
        """
        section = Section(value, place=place)
        name = _TYPES.get(section.type)
        if name is None:
            raise section.unknown_type(_TYPES)
        if name == "knet":
            return self._knet(section, place)
        if section.type in MASK_HEADS:
            return self._mask_head(section)
        section.ignore("ignore_index", "init_cfg", "in_channels")
        binary = self._classes(section, name, place)
        self._check_corners(section)
        common = {
            "name": name,
            "in_index": section.take("in_index", -1),
            "channels": section.take("channels"),
            "dropout": max(0.0, float(section.take("dropout_ratio", 0.1))),
            "with_norm": self._norm(section.take("norm_cfg", None), place),
            "losses": self._losses(section, place, binary=binary),
        }
        self._check_rest(section, name)
        if name not in _SEVERAL:
            common["input_transform"] = section.take("input_transform", None)
        own = attention_params(section, name) if name in ATTENTION else self._own(section, name)
        section.done()
        return {**common, **own}

    def _knet(self, section: Section, place: str) -> dict[str, Any]:
        """Return K-Net's section: the keys that all heads have are those of its generator."""
        first = self.read(section.take("kernel_generate_head"), place=place)
        stages = section.take("kernel_update_head")
        section.expect("num_stages", len(stages))
        section.done()
        if self.binary:
            raise ShapeError(section.place, "out_channels 1 has no counterpart", "use two classes")
        common = {key: first.pop(key) for key in ("in_index", "channels", "dropout", "with_norm", "losses")}
        section.check("input_transform", first.pop("input_transform", None), None)
        section.check("kernel_generate_head", first["name"], "fcn", "psp", "aspp", "uper")
        if first["name"] == "fcn":
            section.check("kernel_size", first.pop("kernel_size"), 3)
            section.check("dilation", first.pop("dilation"), 1)
        own = [
            kernel_update_params(stage, channels=common["channels"], num_classes=self.num_classes, place=place)
            for stage in stages
        ]
        section.check("kernel_update_head", own, [own[0]] * len(own))
        return {"name": "knet", **common, "generator": first, "num_stages": len(stages), **own[0]}

    def _mask_head(self, section: Section) -> dict[str, Any]:
        self.num_classes = section.take("num_classes")
        self._check_corners(section)
        params = mask_head_params(section)
        section.done()
        return {"name": _TYPES[section.type], **params}

    def _classes(self, section: Section, name: str, place: str) -> bool:
        """Note the number of classes; return whether one channel stands for two."""
        self.num_classes, channels = section.take("num_classes"), section.take("out_channels", None)
        threshold = section.take("threshold", None)
        if (channels or self.num_classes) != 1:
            section.check("out_channels", channels, None, self.num_classes)
            return False
        self.num_classes, self.threshold = 2, _BINARY_THRESHOLD if threshold is None else float(threshold)
        self.binary.append(place)
        return True

    def _check_rest(self, section: Section, name: str) -> None:
        if name == "point":
            section.expect("conv_cfg", {"type": "Conv1d"})
            section.expect("act_cfg", {"type": "ReLU", "inplace": False}, {"type": "ReLU"})
        else:
            section.expect("conv_cfg", None)
            section.expect("act_cfg", {"type": "ReLU"})
        if name in _SEVERAL:
            section.expect("input_transform", "multiple_select")

    def _check_corners(self, section: Section) -> None:
        corners = section.take("align_corners", False)
        if self._corners is not None and corners != self._corners:
            raise ShapeError(section.place, f"align_corners {corners} differs from the other heads'", "use one value")
        self._corners = corners

    def _own(self, section: Section, name: str) -> dict[str, Any]:
        match name:
            case "fcn":
                return {
                    "num_convs": section.take("num_convs", 2),
                    "concat_input": section.take("concat_input", True),
                    "kernel_size": section.take("kernel_size", 3),
                    "dilation": section.take("dilation", 1),
                }
            case "psp" | "uper":
                return {"bins": list(section.take("pool_scales", (1, 2, 3, 6)))}
            case "aspp":
                return {"dilations": list(section.take("dilations", (1, 6, 12, 18)))}
            case "separable_aspp":
                joined = section.take("c1_in_channels")
                channels = section.take("c1_channels")
                return {
                    "dilations": list(section.take("dilations", (1, 6, 12, 18))),
                    "c1_channels": channels if joined else 0,
                }
            case "fpn":
                return {"strides": list(section.take("feature_strides"))}
            case "segformer":
                return {"interpolation": section.take("interpolate_mode", "bilinear")}
            case "ocr":
                section.expect("scale", 1)  # another one fails in MMSegmentation itself
                return {"ocr_channels": section.take("ocr_channels")}
            case _:
                return self._point(section)

    def _point(self, section: Section) -> dict[str, Any]:
        train, test = self._train_cfg, self._test_cfg
        return {
            "num_fcs": section.take("num_fcs", 3),
            "coarse_each_layer": section.take("coarse_pred_each_layer", True),
            "train_points": train.get("num_points", 2048),
            "oversample": float(train.get("oversample_ratio", 3)),
            "uncertain_share": float(train.get("importance_sample_ratio", 0.75)),
            "steps": test.get("subdivision_steps", 2),
            "step_points": test.get("subdivision_num_points", 8196),
            "scale_factor": test.get("scale_factor", 2),
        }

    def _losses(self, section: Section, place: str, *, binary: bool) -> list[dict[str, Any]]:
        value = section.take("loss_decode", {"type": "CrossEntropyLoss"})
        sampler = section.take("sampler", None)
        if sampler is not None and sampler.get("type") != "OHEMPixelSampler":
            self._notes.append(f"{place}: sampler {sampler.get('type')} is not taken over")
            sampler = None
        losses: list[dict[str, Any]] = []
        for loss in [value] if isinstance(value, Mapping) else list(value):
            known = loss_params(loss, binary=binary, sampler=sampler)
            if known is None:
                self._notes.append(f"{place}: loss {loss.get('type')} is not taken over; set losses before you train")
            else:
                losses.append(known)
        return losses or [plain_cross_entropy(1.0)]
