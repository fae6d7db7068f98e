"""Any encoder of segmentation-models-pytorch or timm as a backbone, by name.

Source: segmentation-models-pytorch (MIT) and timm (Apache-2.0); the licence of pretrained weights is that of
each model's authors.
"""

import difflib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from maskline.core.errors import CheckpointError, ShapeError
from maskline.models.backbones import packaged
from maskline.models.backbones.base import BackboneBase
from maskline.models.backbones.timm_maps import ANY_SIZE, TimmMaps, is_plain, timm_maps
from maskline.runtime.libraries import declare_missing_operators, one_try

_SIDES = (32, 64, 128)  # px
_NO_PYRAMID = "Unsupported model downsampling pattern"  # as segmentation-models-pytorch says it


class Encoder(BackboneBase):
    """The features of an SMP encoder, fine to coarse, without the input itself and without empty features.

    Args:
        encoder: An encoder as ``segmentation_models_pytorch.encoders.get_encoder`` makes them.
        in_channels: Channels of the images.
        output_stride: Stride of the deepest feature.
        min_side: Smallest side of an image that it takes, px.
        divisor: Sides that it takes are multiples of it, px.
    """

    def __init__(
        self, encoder: nn.Module, *, in_channels: int, output_stride: int, min_side: int, divisor: int = 1
    ) -> None:
        super().__init__()
        self.encoder = encoder
        widths: list[int] = list(encoder.out_channels)  # type: ignore[arg-type]
        first_is_input = widths[0] == in_channels
        self._kept = tuple(i for i, width in enumerate(widths) if width > 0 and not (i == 0 and first_is_input))
        self.channels = tuple(widths[i] for i in self._kept)
        self.strides = tuple(min(2**i, output_stride) for i in self._kept)
        self.size_divisor = max(divisor, *self.strides)
        self.min_side = min_side

    def forward(self, images: Tensor) -> list[Tensor]:
        """Map images (NCHW, sides multiples of ``size_divisor``) to features, finest first."""
        features = self.encoder(images)
        return [features[i] for i in self._kept]

    def stages(self) -> list[list[nn.Module]]:
        """See ``BackboneBase``: the encoder's own modules in order, as one stage after an empty stem.

        Where stages end inside a foreign encoder differs from one to the next, so it is frozen as a whole or not.
        """
        return [[], [self.encoder]]


def encoder(
    name: str,
    *,
    in_channels: int,
    output_stride: int,
    pretrained: bool,
    out_indices: Sequence[int] | None = None,
    final_norm: bool = False,
    patch_size: int | None = None,
) -> Encoder | TimmMaps:
    """Return an encoder by name.

    Args:
        name: A name of SMP (``resnet18``, ``mit_b0``) or of timm (``convnext_atto``, also ``tu-convnext_atto``).
        in_channels: Channels of the images; pretrained stems are adapted.
        output_stride: 8, 16 or 32: stride of the deepest feature.
        pretrained: Start from ImageNet weights: those of an installed package (see ``maskline.models.backbones.
            packaged``), else they are downloaded unless they are cached.
        out_indices: See ``TimmMaps``; not read by a pyramid.
        final_norm: See ``TimmMaps``; not read by a pyramid.
        patch_size: See ``timm_maps``; not read by a pyramid.

    Raises:
        ShapeError: Unknown name, or an encoder that cannot have this output stride, or takes one size alone.
        CheckpointError: The weights cannot be downloaded, or the package has others.
    """
    known = resolve_encoder(name)
    # Without weights first: a wrong stride is told before anything is downloaded.
    model = None if is_plain(known) else _pyramid(known, in_channels=in_channels, output_stride=output_stride)
    if model is None:
        if output_stride != 32:
            raise _no_stride(known, output_stride, "its maps are what they are", "set output_stride: 32")
        own = {"in_channels": in_channels, "out_indices": out_indices, "final_norm": final_norm}
        maps = timm_maps(known, **own, patch_size=patch_size)  # type: ignore[arg-type]
        if not pretrained:
            return maps
        with _downloading(known):
            return timm_maps(known, **own, patch_size=patch_size, pretrained=True)  # type: ignore[arg-type]
    if pretrained and not packaged.load(known, model, in_channels=in_channels):
        with _downloading(known):
            weights = pretrained_weights(known)
            model = _create(known, in_channels=in_channels, output_stride=output_stride, weights=weights)
    min_side, divisor = _sides(known, model, in_channels=in_channels)
    return Encoder(model, in_channels=in_channels, output_stride=output_stride, min_side=min_side, divisor=divisor)


def resolve_encoder(name: str) -> str:
    """Return SMP's name of an encoder: a plain timm name gets its ``tu-``.

    Raises:
        ShapeError: Neither library knows the name; the nearest names are listed.
    """
    declare_missing_operators()
    import timm
    from segmentation_models_pytorch.encoders import encoders

    if name in encoders:
        return name
    bare = name.removeprefix("tu-")
    if timm.is_model(bare.split(".")[0]):
        return f"tu-{bare}"
    candidates = sorted({*encoders, *timm.list_models()})
    near = difflib.get_close_matches(bare, candidates, n=3, cutoff=0.5)
    remedy = f"did you mean {', '.join(near)}?" if near else "see the encoders of SMP and timm.list_models()"
    raise ShapeError(f"encoder {name}", "neither segmentation-models-pytorch nor timm has it", remedy)


def pretrained_weights(name: str) -> Any:
    """Return what SMP takes for "the default weights": its own name of them, or True for timm's."""
    from segmentation_models_pytorch.encoders import encoders

    if name.startswith("tu-"):
        return True
    choices = encoders[name]["pretrained_settings"]
    return "imagenet" if "imagenet" in choices else next(iter(choices))


def pretrained_origin(name: str) -> dict[str, str] | None:
    """Return ``name``, ``address`` and ``licence`` of the weights that timm downloads for an encoder, as timm has them.

    Args:
        name: As ``resolve_encoder`` returns it; None for one that is not timm's, or has no weights.
    """
    if not name.startswith("tu-"):
        return None
    import timm

    about = timm.get_pretrained_cfg(name.removeprefix("tu-"))
    if about is None or not about.hf_hub_id:
        return None
    licence = about.license or "not stated by timm"
    if licence == "dinov3-license":
        licence = "DINOv3 License, Meta's own terms: passed on under the same terms alone, no military use"
    address = f"https://huggingface.co/{about.hf_hub_id}"
    return {"name": about.hf_hub_id, "address": address, "licence": licence}


def no_download(name: str, error: Exception) -> CheckpointError:
    """Return the error for weights that could not be had."""
    known = packaged.PACKAGES.get(name)
    package = f"{known.install}, or " if known else ""
    return CheckpointError(
        f"encoder {name}",
        f"its pretrained weights cannot be downloaded ({type(error).__name__})",
        f"{package}connect to the network, or fill the Hugging Face cache (HF_HOME) once, or set pretrained: false",
    )


@contextmanager
def _downloading(name: str) -> Iterator[None]:
    """Build inside what was just built without weights: what fails is the download."""
    try:
        with one_try():
            yield
    except Exception as error:
        raise no_download(name, error) from error


def _pyramid(name: str, *, in_channels: int, output_stride: int) -> nn.Module | None:
    """Return an encoder without weights; None: it is no pyramid, as segmentation-models-pytorch wants one.

    Raises:
        ShapeError: It cannot have this output stride, or cannot be built.
    """
    try:
        return _create(name, in_channels=in_channels, output_stride=output_stride, weights=None)
    except (ValueError, TypeError, NotImplementedError, AssertionError, RuntimeError, IndexError) as error:
        if name.startswith("tu-") and _NO_PYRAMID in str(error):
            return None
        if output_stride != 32 and _can_be_built(name, in_channels=in_channels):
            raise _no_stride(name, output_stride, str(error), "set output_stride: 32") from error
        raise _no_stride(name, output_stride, str(error), ANY_SIZE) from error


def _can_be_built(name: str, *, in_channels: int) -> bool:
    try:
        _create(name, in_channels=in_channels, output_stride=32, weights=None)
    except (ValueError, TypeError, NotImplementedError, AssertionError, RuntimeError, IndexError) as error:
        return _NO_PYRAMID in str(error)
    return True


def _no_stride(name: str, output_stride: int, reason: str, remedy: str) -> ShapeError:
    told = f"cannot give features with output stride {output_stride} ({' '.join(reason.split())})"
    return ShapeError(f"encoder {name}", told, remedy)


def _create(name: str, *, in_channels: int, output_stride: int, weights: Any) -> nn.Module:
    import segmentation_models_pytorch as smp

    # Without it timm's Swin takes images of its training size alone.
    extra = {"strict_img_size": False} if name.startswith("tu-swin") else {}
    model = smp.encoders.get_encoder(
        name, in_channels=in_channels, depth=5, weights=weights, output_stride=output_stride, **extra
    )
    assert isinstance(model, nn.Module)
    return model.to(torch.float32)


def _sides(name: str, model: nn.Module, *, in_channels: int) -> tuple[int, int]:
    """Return the smallest side that an encoder takes, and what sides are multiples of, found by trying.

    One with windows takes multiples of the size that it was trained with.

    Raises:
        ShapeError: It takes images of one size alone.
    """
    training = model.training
    model.eval()
    reason: Exception | None = None
    for side in (*_SIDES, *_trained_sides(name)):
        try:
            with torch.no_grad():
                model(torch.zeros(1, in_channels, side, 2 * side))
        except (AssertionError, RuntimeError, ValueError, TypeError, IndexError) as error:
            reason = error
        else:
            model.train(training)
            return side, 1 if side in _SIDES else side
    told = f"does not take images of any size ({' '.join(str(reason).split())})"
    raise ShapeError(f"encoder {name}", told, ANY_SIZE) from reason


def _trained_sides(name: str) -> list[int]:
    import timm

    about = timm.get_pretrained_cfg(name.removeprefix("tu-")) if name.startswith("tu-") else None
    return [] if about is None else [about.input_size[1]]
