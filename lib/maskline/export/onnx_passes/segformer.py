"""SMP's SegFormer decoder with its linear steps joined: the same function in a fraction of the multiplications.

Each feature goes through a linear layer, is resized, and a 1x1 convolution joins them all. Nothing between the two is
nonlinear, and resizing commutes with both: so each feature needs one narrow product at its own, coarse size.
"""

import copy
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from maskline.models.ensemble import Ensemble
from maskline.models.segmentor import SegmentorBase
from maskline.models.smp import SmpSegmentor


class JoinedDecoder(nn.Module):
    """A decoder for inference; it takes what SMP's takes.

    Args:
        decoder: SMP's ``SegformerDecoder``, in eval mode.
    """

    bias: Tensor

    def __init__(self, decoder: nn.Module) -> None:
        super().__init__()
        join, norm = _join_and_norm(decoder)
        scale = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()  # type: ignore[union-attr]
        weights = (join.weight.double().flatten(1) * scale[:, None]).chunk(len(decoder.mlp_stage), dim=1)  # type: ignore[arg-type]
        bias = norm.bias.double() - norm.running_mean.double() * scale  # type: ignore[union-attr]
        self.steps = nn.ModuleList()
        for weight, stage in zip(weights, decoder.mlp_stage, strict=True):  # type: ignore[arg-type]
            linear: nn.Linear = stage.linear
            step = nn.Conv2d(linear.in_features, join.out_channels, 1, bias=False)
            step.weight.data = (weight @ linear.weight.double())[:, :, None, None].float()
            bias = bias + weight @ linear.bias.double()
            self.steps.append(step)
        self.register_buffer("bias", bias.float().view(1, -1, 1, 1))

    def forward(self, features: list[Tensor]) -> Tensor:
        """Map the encoder's features (the input first, then finest to coarsest) to the joined one, stride 4."""
        size = [side // 4 for side in features[0].shape[2:]]
        used = [feature for feature in features[1:] if feature.shape[1]][::-1]
        joined = self.bias
        for step, feature in zip(self.steps, used, strict=True):
            joined = joined + F.interpolate(step(feature), size=size, mode="bilinear", align_corners=False)
        return F.relu(joined)


def joined(network: SegmentorBase) -> SegmentorBase:
    """Return the network with a ``JoinedDecoder`` where it has SMP's SegFormer decoder; else the network itself."""
    if isinstance(network, Ensemble):
        return Ensemble([joined(cast("SegmentorBase", member)) for member in network.members]).eval()
    if not isinstance(network, SmpSegmentor):
        return network
    from segmentation_models_pytorch.decoders.segformer.decoder import SegformerDecoder

    if not isinstance(network.model.decoder, SegformerDecoder):
        return network
    result = copy.deepcopy(network)
    with torch.no_grad():
        result.model.decoder = JoinedDecoder(network.model.decoder)
    return result.eval()


def _join_and_norm(decoder: nn.Module) -> tuple[nn.Conv2d, nn.BatchNorm2d]:
    join, norm = (
        next(module for module in decoder.fuse_stage.modules() if isinstance(module, kind))  # type: ignore[union-attr]
        for kind in (nn.Conv2d, nn.BatchNorm2d)
    )
    assert isinstance(join, nn.Conv2d)
    assert isinstance(norm, nn.BatchNorm2d)
    return join, norm
