"""What of a network training compiles."""

import torch

from maskline.models.segmentor import SegmentorBase


def compile_training(model: SegmentorBase) -> None:
    """Compile what training runs of a segmentor; its state dict and its use stay as they are."""
    torch.use_deterministic_algorithms(torch.are_deterministic_algorithms_enabled())  # the compiler's own choices too
    for network in model.modules():  # also those in a row, or side by side
        if isinstance(network, SegmentorBase):
            network.supervise_heads = torch.compile(network.supervise_heads)  # type: ignore[method-assign]
