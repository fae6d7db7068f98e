"""Models looked at over images without labels: how unsure they are of each, and what their encoder sees in it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from maskline.analysis.audit.members import member_probabilities
from maskline.analysis.next_images.acquisition import uncertainty
from maskline.inference.pipeline import Inference
from maskline.models.ensemble import Ensemble


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What is known of an image without labels.

    Args:
        uncertainty: Method -> value, 0..1.
        features: Mean of the encoder's deepest features over the image, of the first model.
    """

    uncertainty: dict[str, float]
    features: NDArray[np.float32]


def measure(inferences: Sequence[Inference], image: NDArray[np.uint8]) -> Measured:
    """Look at an image (h, w, channels) that has been read as the models' training data was."""
    with _encoder_means(inferences[0].predictor.model) as means:
        fields = member_probabilities(inferences, image)
    return Measured(uncertainty=uncertainty(fields), features=np.mean(means, axis=0))


@contextmanager
def _encoder_means(network: nn.Module) -> Iterator[list[NDArray[np.float32]]]:
    """Fill a list with the mean of the deepest features over each window or view that goes through the encoder."""
    means: list[NDArray[np.float32]] = []

    def keep(module: nn.Module, inputs: Any, output: Any) -> None:
        del module, inputs
        levels = output[0] if isinstance(output, tuple) else output  # DPT's encoder gives its tokens beside them
        deepest: Tensor = levels if isinstance(levels, Tensor) else levels[-1]
        means.extend(deepest.flatten(2).mean(2).float().cpu().numpy())

    handle = _encoder(network).register_forward_hook(keep)
    try:
        with torch.inference_mode():
            yield means
    finally:
        handle.remove()


def _encoder(network: nn.Module) -> nn.Module:
    """Return the backbone: of the first member, or the encoder of an SMP architecture."""
    if isinstance(network, Ensemble):
        return _encoder(network.members[0])
    smp: Any = getattr(network, "model", None)
    inner = getattr(network, "backbone", None) or smp.encoder
    assert isinstance(inner, nn.Module)
    return inner
