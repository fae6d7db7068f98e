"""MMSegmentation's model section as this project's model section.

Keys that are absent have MMSegmentation 1.2.2's defaults. What has no counterpart is an error that names it; a
loss without one is a note, since weights do not depend on it.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from maskline.core.errors import ShapeError
from maskline.models.layers import Norm
from maskline.weights.mmseg.backbone import backbone_params
from maskline.weights.mmseg.head import HeadReader
from maskline.weights.mmseg.neck import neck_params
from maskline.weights.mmseg.section import Section, norm_from_mmseg

# MMSegmentation's data preprocessor in all configurations of its zoo.
IMAGENET_MEAN = [123.675, 116.28, 103.53]
IMAGENET_STD = [58.395, 57.12, 57.375]
_NORM_KEYS = {"trainable": "requires_grad", "momentum": "momentum"}


class ModelReader:
    """Reads one model section.

    Attributes:
        notes: What was left out, one sentence each.
        num_classes: Channels of the final logits.
        binary: See ``parts`` of ``maskline.weights.adapting.two_classes``.
        threshold: Probability from which the second of two classes is predicted; None: where it is above the first's.
    """

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.num_classes = 0
        self.binary: tuple[str, ...] = ()
        self.threshold: float | None = None
        self._norms: list[tuple[str, Norm]] = []

    def read(self, model: Mapping[str, Any], *, preprocessor: Mapping[str, Any] | None) -> dict[str, Any]:
        """Return the whole model section as plain values.

        Args:
            model: MMSegmentation's ``model``.
            preprocessor: Its ``data_preprocessor``, or ``img_norm_cfg`` of 0.x; None: that of its zoo.

        Raises:
            ShapeError: A type or key without a counterpart.
        """
        section = Section(model, place="model")
        if section.type not in ("EncoderDecoder", "CascadeEncoderDecoder"):
            raise section.unknown_type(("EncoderDecoder", "CascadeEncoderDecoder"))
        own_preprocessor = section.take("data_preprocessor", None)
        section.ignore("pretrained", "init_cfg", "num_stages")
        train_cfg, test_cfg = section.take("train_cfg", None) or {}, section.take("test_cfg", None) or {}
        heads = HeadReader(notes=self.notes, norm=self._norm, train_cfg=train_cfg, test_cfg=test_cfg)
        decode = [heads.read(part, place="model.decode_head") for part in _listed(section.take("decode_head"))]
        if heads.binary and len(decode) > 1:  # the later head computes with the probabilities of all classes
            raise ShapeError("model.decode_head", "out_channels 1 has no counterpart in a cascade", "use two classes")
        self.num_classes, self.threshold, corners = heads.num_classes, heads.threshold, heads.align_corners
        auxiliary = [
            heads.read(part, place="model.auxiliary_head") for part in _listed(section.take("auxiliary_head", None))
        ]
        self.binary = tuple(place.removeprefix("model.") for place in heads.binary)
        if self.threshold is not None:
            self.notes.append(f"MMSegmentation predicts class 1 from {self.threshold}: see evaluate.threshold")
        backbone, in_channels, chosen = backbone_params(section.section("backbone"), norm=self._norm)
        neck = neck_params(section.take("neck", None), chosen=chosen, norm=self._norm, align_corners=corners)
        for head in (*decode, *auxiliary):
            if head.get("align_corners") == corners:
                head["align_corners"] = None
        section.done()
        return {
            "type": "encoder_decoder",
            "in_channels": in_channels,
            **self._preprocessing(preprocessor or own_preprocessor, in_channels),
            "align_corners": corners,
            "weights": None,
            "norm": self._common_norm(),
            "backbone": backbone,
            "neck": neck,
            "cascade_heads": decode[:-1],
            "decode_head": decode[-1],
            "auxiliary_heads": auxiliary,
            "smp": {  # not used by this type, yet a section has all its keys
                "architecture": "Unet",
                "encoder": "resnet18",
                "pretrained": False,
                "losses": [{"name": "cross_entropy", "weight": 1.0, "class_weights": None, "label_smoothing": 0.0}],
                "auxiliary_heads": [],
            },
        }

    def _norm(self, value: Mapping[str, Any] | None, place: str) -> bool:
        """Note a norm_cfg, and return whether there is one."""
        norm = norm_from_mmseg(value, place=place)
        if norm is not None:
            self._norms.append((place, norm))
        return norm is not None

    def _common_norm(self) -> dict[str, Any]:
        """Return the one norm of all parts; BN and SyncBN are the same in a file of weights."""
        norms = self._norms or [("model", Norm())]
        _, first = norms[0]
        for place, other in norms:
            if (other.key, other.eps, other.num_groups) != (first.key, first.eps, first.num_groups):
                raise ShapeError(place, f"norm {other} beside {first}", "use one norm_cfg in all parts")
        if first.kind == "in":
            raise ShapeError(norms[0][0], "norm_cfg IN has no counterpart", "use BN, SyncBN or GN")
        for key in ("trainable", "momentum"):
            values = {getattr(norm, key): place for place, norm in norms}
            if len(values) > 1:
                told = ", ".join(f"{value} of {place}" for value, place in values.items())
                used = all(values) if key == "trainable" else getattr(first, key)
                self.notes.append(f"norm_cfg: {_NORM_KEYS[key]} {told} differ: {used} of all parts here")
        synced = any(norm.kind == "syncbn" for _, norm in norms)
        return {
            "name": "syncbn" if synced else first.kind,
            "num_groups": first.num_groups,
            "eps": first.eps,
            "momentum": first.momentum,
            "trainable": all(norm.trainable for _, norm in norms),
        }

    def _preprocessing(self, value: Mapping[str, Any] | None, in_channels: int) -> dict[str, Any]:
        if value is None:
            self.notes.append("the configuration has no data preprocessor: mean and std are those of its zoo")
            value = {"mean": IMAGENET_MEAN, "std": IMAGENET_STD} if in_channels == 3 else {}
        mean, std = value.get("mean") or [0.0] * in_channels, value.get("std") or [1.0] * in_channels
        mean, std = [float(x) for x in mean], [float(x) for x in std]
        # A data preprocessor, which has a type, keeps OpenCV's order if not told otherwise; img_norm_cfg does not.
        told = [value[key] for key in ("bgr_to_rgb", "rgb_to_bgr", "to_rgb") if key in value] or ["type" not in value]
        if in_channels != 3 or any(told):
            return {"channel_order": "rgb", "mean": mean, "std": std}
        return {"channel_order": "bgr", "mean": mean[::-1], "std": std[::-1]}


def _listed(value: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None) -> list[Mapping[str, Any]]:
    if value is None:
        return []
    return [value] if isinstance(value, Mapping) else list(value)
