"""Joint pyramid upsampling: a fine feature that has seen the coarse ones, in place of a dilated backbone.

Source: Wu et al., "FastFCN: Rethinking Dilated Convolution in the Backbone", 2019; names as in
MMSegmentation (Apache-2.0).
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from maskline.models.layers import BATCH_NORM, ConvNormAct, Norm, SeparableConv, resize, size_of


class JPU(nn.Module):
    """The features at the first one's size, joined, and convolved with several dilations.

    Args:
        in_channels: Channels of each chosen feature.
        indices: Positions of the chosen features, two or more, finest first (negative: from the end).
        mid_channels: Channels of each convolution's output.
        dilations: Dilation of each branch.
        align_corners: How features are resized.
        norm: Norm after each convolution.
    """

    def __init__(
        self,
        *,
        in_channels: Sequence[int],
        indices: Sequence[int],
        mid_channels: int = 512,
        dilations: Sequence[int] = (1, 2, 4, 8),
        align_corners: bool = False,
        norm: Norm | None = BATCH_NORM,
    ) -> None:
        super().__init__()
        self.indices, self.align_corners = tuple(indices), align_corners
        self.conv_layers = nn.ModuleList(
            nn.Sequential(ConvNormAct(width, mid_channels, kernel_size=3, norm=norm)) for width in in_channels
        )
        joined = len(in_channels) * mid_channels
        self.dilation_layers = nn.ModuleList(
            nn.Sequential(SeparableConv(joined, mid_channels, dilation=dilation, norm=norm, depthwise_activation=False))
            for dilation in dilations
        )
        self.channels = (*in_channels[:2], len(dilations) * mid_channels)

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Return the first two chosen features as they are, and the new one at the first one's resolution."""
        chosen = [features[i] for i in self.indices]
        first, *others = (step(x) for step, x in zip(self.conv_layers, chosen, strict=True))
        same = [first, *(resize(x, size_of(first), align_corners=self.align_corners) for x in others)]
        joined = torch.cat(same, dim=1)
        return [*chosen[:2], torch.cat([branch(joined) for branch in self.dilation_layers], dim=1)]
