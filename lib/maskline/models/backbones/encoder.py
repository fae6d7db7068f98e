"""Any encoder of segmentation-models-pytorch or timm as a backbone, by name.

Source: segmentation-models-pytorch (MIT) and timm (Apache-2.0); the licence of pretrained weights is that of
each model's authors.
"""

import difflib
from typing import Any

import torch
from torch import Tensor, nn

from maskline.core.errors import CheckpointError, ShapeError
from maskline.models.backbones import packaged
from maskline.models.backbones.base import BackboneBase
from maskline.models.torchvision_ops import declare_missing_operators
from maskline.runtime.patches import hub

_SIDES = (32, 64, 128)  # px


class Encoder(BackboneBase):
    """The features of an SMP encoder, fine to coarse, without the input itself and without empty features.

    Args:
        encoder: An encoder as ``segmentation_models_pytorch.encoders.get_encoder`` makes them.
        in_channels: Channels of the images.
        output_stride: Stride of the deepest feature.
        min_side: Smallest side of an image that it takes, px.
    """

    def __init__(self, encoder: nn.Module, *, in_channels: int, output_stride: int, min_side: int) -> None:
        super().__init__()
        self.encoder = encoder
        widths: list[int] = list(encoder.out_channels)  # type: ignore[arg-type]
        first_is_input = widths[0] == in_channels
        self._kept = tuple(i for i, width in enumerate(widths) if width > 0 and not (i == 0 and first_is_input))
        self.channels = tuple(widths[i] for i in self._kept)
        self.strides = tuple(min(2**i, output_stride) for i in self._kept)
        self.size_divisor = max(self.strides)
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


def encoder(name: str, *, in_channels: int, output_stride: int, pretrained: bool) -> Encoder:
    """Return an encoder by name.

    Args:
        name: A name of SMP (``resnet18``, ``mit_b0``) or of timm (``convnext_atto``, also ``tu-convnext_atto``).
        in_channels: Channels of the images; pretrained stems are adapted.
        output_stride: 8, 16 or 32: stride of the deepest feature.
        pretrained: Start from ImageNet weights: those of an installed package (see ``maskline.models.backbones.
            packaged``), else they are downloaded unless they are cached.

    Raises:
        ShapeError: Unknown name, or an encoder that cannot have this output stride.
        CheckpointError: The weights cannot be downloaded, or the package has others.
    """
    known = resolve_encoder(name)
    # Without weights first: a wrong stride is told before anything is downloaded.
    model = _create(known, in_channels=in_channels, output_stride=output_stride, weights=None)
    if pretrained and not packaged.load(known, model, in_channels=in_channels):
        model = _download(known, in_channels=in_channels, output_stride=output_stride)
    min_side = _min_side(known, model, in_channels=in_channels)
    return Encoder(model, in_channels=in_channels, output_stride=output_stride, min_side=min_side)


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


def no_download(name: str, error: Exception) -> CheckpointError:
    """Return the error for weights that could not be had."""
    known = packaged.PACKAGES.get(name)
    package = f"{known.install}, or " if known else ""
    return CheckpointError(
        f"encoder {name}",
        f"its pretrained weights cannot be downloaded ({type(error).__name__})",
        f"{package}connect to the network, or fill the Hugging Face cache (HF_HOME) once, or set pretrained: false",
    )


def _download(name: str, *, in_channels: int, output_stride: int) -> nn.Module:
    try:
        with hub.one_try():
            return _create(name, in_channels=in_channels, output_stride=output_stride, weights=pretrained_weights(name))
    except Exception as error:  # the same encoder was just built without weights: what fails now is the download
        raise no_download(name, error) from error


def _create(name: str, *, in_channels: int, output_stride: int, weights: Any) -> nn.Module:
    import segmentation_models_pytorch as smp

    # Without it timm's Swin takes images of its training size alone.
    extra = {"strict_img_size": False} if name.startswith("tu-swin") else {}
    try:
        model = smp.encoders.get_encoder(
            name, in_channels=in_channels, depth=5, weights=weights, output_stride=output_stride, **extra
        )
    except (ValueError, TypeError, NotImplementedError, AssertionError, RuntimeError) as error:
        if weights is not None:
            raise
        raise ShapeError(
            f"encoder {name}",
            f"cannot give features with output stride {output_stride} ({error})",
            "set output_stride: 32, or choose a convolutional encoder",
        ) from error
    assert isinstance(model, nn.Module)
    return model.to(torch.float32)


def _min_side(name: str, model: nn.Module, *, in_channels: int) -> int:
    """Return the smallest side that an encoder takes, found by trying; some take only images of one size.

    Raises:
        ShapeError: It takes none of the sizes.
    """
    training = model.training
    model.eval()
    reason: Exception | None = None
    for side in _SIDES:
        try:
            with torch.no_grad():
                model(torch.zeros(1, in_channels, side, 2 * side))
        except (AssertionError, RuntimeError, ValueError) as error:
            reason = error
        else:
            model.train(training)
            return side
    raise ShapeError(
        f"encoder {name}", f"does not take images of any size ({reason})", "choose another, such as resnet18"
    ) from reason
