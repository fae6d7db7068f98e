"""Expectation-maximization attention head.

Source: Li et al., "Expectation-Maximization Attention Networks for Semantic Segmentation", 2019; names as in
MMSegmentation (Apache-2.0).
"""

import math
from typing import Unpack

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from maskline.models.heads.base import Features, Head, HeadOptions, InputTransform
from maskline.models.layers import ConvNormAct
from maskline.runtime.processes import distributed


class EMAHead(Head):
    """The feature beside its image in the space of a few bases, which are fitted to each input in a few steps.

    Args:
        ema_channels: Channels of the bases.
        num_bases: Number of bases.
        num_stages: Steps of the fit.
        momentum: Share of a batch's bases in those that the fit starts from.
        concat_input: Concatenate the input to the last convolution's output and convolve once more.
        input_transform: See ``Head``.
        options: See ``HeadOptions``.
    """

    def __init__(
        self,
        *,
        ema_channels: int = 512,
        num_bases: int = 64,
        num_stages: int = 3,
        momentum: float = 0.1,
        concat_input: bool = True,
        input_transform: InputTransform | None = None,
        **options: Unpack[HeadOptions],
    ) -> None:
        super().__init__(options, input_transform=input_transform)
        width, norm = ema_channels, self.norm
        self.ema_module = _Bases(width, num_bases, num_stages=num_stages, momentum=momentum)
        self.ema_in_conv = ConvNormAct(self.in_channels, width, kernel_size=3, norm=norm)
        self.ema_mid_conv = ConvNormAct(width, width, norm=None, activation=False)
        self.ema_mid_conv.requires_grad_(False)  # the fit has no gradient
        self.ema_out_conv = ConvNormAct(width, width, norm=norm, activation=False)
        self.bottleneck = ConvNormAct(width, self.channels, kernel_size=3, norm=norm)
        self.conv_cat = (
            ConvNormAct(self.in_channels + self.channels, self.channels, kernel_size=3, norm=norm)
            if concat_input
            else None
        )

    def forward(self, features: Features, previous: Tensor | None = None) -> Tensor:
        """Map features to logits at the feature's resolution."""
        del previous
        x = self.select(features)
        feature = self.ema_in_conv(x)
        seen = F.relu(self.ema_module(self.ema_mid_conv(feature)))
        y = self.bottleneck(F.relu(feature + self.ema_out_conv(seen)))
        if self.conv_cat is not None:
            y = self.conv_cat(torch.cat([x, y], dim=1))
        return self.classify(y)


class _Bases(nn.Module):
    """A feature as a mixture of bases; neither the fit nor the mixture has a gradient."""

    bases: Tensor

    def __init__(self, channels: int, num_bases: int, *, num_stages: int, momentum: float) -> None:
        super().__init__()
        self.num_stages, self.momentum = num_stages, momentum
        self.register_buffer(
            "bases", F.normalize(torch.randn(1, channels, num_bases) * math.sqrt(2 / num_bases), dim=1)
        )

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        flat = x.flatten(2)
        bases = self.bases.expand(x.shape[0], -1, -1)
        for _ in range(self.num_stages):
            share = torch.softmax(flat.transpose(1, 2) @ bases, dim=2)  # N, pixels, bases
            bases = F.normalize(flat @ F.normalize(share, p=1, dim=1), dim=1)
        if self.training:
            self._follow(bases)
        return (bases @ share.transpose(1, 2)).reshape(x.shape)

    def _follow(self, bases: Tensor) -> None:
        """Move the start of the next fit towards the bases of this batch, of all processes."""
        mean = bases.float().mean(dim=0, keepdim=True)
        if distributed.size() > 1:
            distributed.add_up([mean], share=1 / distributed.size())
        self.bases.lerp_(F.normalize(mean, dim=1), self.momentum)
