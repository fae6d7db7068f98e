"""Whole architectures of segmentation-models-pytorch behind the segmentor contract.

Source: segmentation-models-pytorch (MIT).
"""

import difflib
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from maskline.core.errors import ShapeError
from maskline.models.backbones import packaged
from maskline.models.backbones.encoder import no_download, pretrained_weights, resolve_encoder
from maskline.models.heads.base import Head, Pair
from maskline.models.layers import resize, size_of
from maskline.models.segmentor import SegmentorBase
from maskline.runtime.libraries import declare_missing_operators, one_try

# Sides must be multiples of the deepest feature's stride; PAN pools that feature three times more.
_STRIDE = 32
_STRIDES = {"pan": 128}


class SmpSegmentor(SegmentorBase):
    """An SMP model; its decoder's logits are those of ``decode_head``.

    Args:
        model: A model as ``segmentation_models_pytorch.create_model`` makes them.
        stride: Multiple that the sides are padded to.
        auxiliary_heads: Heads on the encoder's features that only training uses.
        num_classes: Channels of the logits.
        align_corners: How auxiliary logits are resized; the model's own upsampling is SMP's.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        stride: int,
        auxiliary_heads: Sequence[Head],
        num_classes: int,
        align_corners: bool,
    ) -> None:
        super().__init__(num_classes=num_classes, stride=stride, align_corners=align_corners)
        self.model = model
        self.auxiliary_head = nn.ModuleList(auxiliary_heads)

    def run_heads(self, images: Tensor, *, auxiliary: bool) -> dict[str, Tensor]:
        """See ``SegmentorBase``."""
        parts: Any = self.model
        features = parts.encoder(images)
        # DPT's encoder gives the tokens before the patches too, and its decoder takes them.
        inputs = features if isinstance(features, tuple) else (features,)
        outputs = {name: head(inputs[0]) for name, head in self.heads().items()} if auxiliary else {}
        outputs["decode_head"] = parts.segmentation_head(parts.decoder(*inputs))
        return outputs

    def supervise_heads(self, images: Tensor, target: Tensor) -> dict[str, Pair]:
        """See ``SegmentorBase``."""
        parts: Any = self.model
        features = parts.encoder(images)
        inputs = features if isinstance(features, tuple) else (features,)
        padded = size_of(images)
        pairs = {
            name + output: pair
            for name, head in self.heads().items()
            for output, pair in head.supervise_outputs(inputs[0], None, target, padded=padded)[1].items()
        }
        logits = parts.segmentation_head(parts.decoder(*inputs))
        full = resize(logits, padded, align_corners=self.align_corners)
        pairs["decode_head"] = (full[:, :, : target.shape[1], : target.shape[2]], target)
        return pairs

    def heads(self) -> dict[str, Head]:
        """Return the auxiliary heads by name."""
        heads: dict[str, Head] = {}
        for i, head in enumerate(self.auxiliary_head):
            assert isinstance(head, Head)
            heads[f"auxiliary_head.{i}"] = head
        return heads


def smp_segmentor(
    architecture: str,
    *,
    encoder: str,
    in_channels: int,
    num_classes: int,
    pretrained: bool,
    align_corners: bool,
    auxiliary_heads: Sequence[Head] = (),
) -> SmpSegmentor:
    """Return a whole SMP architecture by name.

    Args:
        architecture: ``Unet``, ``UnetPlusPlus``, ``MAnet``, ``Linknet``, ``FPN``, ``PSPNet``, ``DeepLabV3``,
            ``DeepLabV3Plus``, ``PAN``, ``UPerNet``, ``Segformer`` or ``DPT``, in any case.
        encoder: A name of SMP or timm.
        in_channels: Channels of the images.
        num_classes: Channels of the logits.
        pretrained: Start the encoder from ImageNet weights, as ``maskline.models.backbones.encoder.encoder`` does.
        align_corners: How auxiliary logits are resized.
        auxiliary_heads: Heads on the encoder's features (``in_index`` counts SMP's list, the input first).

    Raises:
        ShapeError: Unknown architecture or encoder, or two that do not fit together.
        CheckpointError: The weights cannot be downloaded, or the package has others.
    """
    key, name = _resolve_architecture(architecture), resolve_encoder(encoder)
    model = _create(key, name, in_channels=in_channels, num_classes=num_classes, weights=None)
    _check_patches(key, name, model)
    parts: Any = model
    if pretrained and not packaged.load(name, parts.encoder, in_channels=in_channels):
        try:
            with one_try():
                weights = pretrained_weights(name)
                model = _create(key, name, in_channels=in_channels, num_classes=num_classes, weights=weights)
        except Exception as error:  # the same model was just built without weights
            raise no_download(name, error) from error
    return SmpSegmentor(
        model,
        stride=_STRIDES.get(key, _STRIDE),
        auxiliary_heads=auxiliary_heads,
        num_classes=num_classes,
        align_corners=align_corners,
    )


def _check_patches(architecture: str, name: str, model: Any) -> None:
    """Refuse what SMP's DPT builds, and cannot run: its steps of two do not meet for a patch of 14 px."""
    if architecture != "dpt":
        return
    patch = int(model.encoder.output_stride)
    if patch & (patch - 1):
        remedy = (
            f"set model.type: encoder_decoder, model.backbone.name: {name.removeprefix('tu-')} and "
            "model.decode_head.name: dpt"
        )
        raise ShapeError("architecture DPT", f"of this library cannot use patches of {patch} px", remedy)


def _resolve_architecture(name: str) -> str:
    declare_missing_operators()
    from segmentation_models_pytorch import MODEL_ARCHITECTURES_MAPPING as KNOWN

    key = name.lower()
    if key in KNOWN:
        return key
    names = [model.__name__ for model in KNOWN.values()]
    near = difflib.get_close_matches(key, list(KNOWN), n=1, cutoff=0.5)
    remedy = f"did you mean {KNOWN[near[0]].__name__}?" if near else f"valid: {', '.join(names)}"
    raise ShapeError(f"architecture {name}", "segmentation-models-pytorch does not have it", remedy)


def _create(architecture: str, encoder: str, *, in_channels: int, num_classes: int, weights: Any) -> nn.Module:
    import segmentation_models_pytorch as smp

    extra = {"dynamic_img_size": True} if architecture == "dpt" else {}
    try:
        model = smp.create_model(
            architecture,
            encoder_name=encoder,
            encoder_weights=weights,
            in_channels=in_channels,
            classes=num_classes,
            **extra,
        )
    except (ValueError, TypeError, NotImplementedError, AssertionError) as error:
        if weights is not None:
            raise
        raise ShapeError(
            f"architecture {architecture}",
            f"does not fit encoder {encoder} ({error})",
            "choose another encoder, such as resnet18",
        ) from error
    assert isinstance(model, nn.Module)
    return model
