"""Lite R-ASPP head.

Source: Howard et al., "Searching for MobileNetV3", 2019; names as in MMSegmentation (Apache-2.0), with several fine
features in place of one.
"""

from collections.abc import Sequence
from typing import Unpack

import torch
from torch import Tensor, nn

from maskline.models.heads.base import Features, Head, HeadOptions
from maskline.models.layers import ConvNormAct, resize, size_of
from maskline.models.pooling import window_means

_WINDOW = 49
_STEPS = (16, 20)


class LRASPPHead(Head):
    """The coarsest feature scaled by means over large windows, then joined with the finer ones.

    Args:
        branch_channels: Channels that each finer feature is reduced to, finest first; further ones have the last.
        options: See ``HeadOptions``; the last feature is the coarsest.
    """

    def __init__(self, *, branch_channels: Sequence[int] = (32, 64), **options: Unpack[HeadOptions]) -> None:
        super().__init__(options, input_transform="multiple_select")
        *fine, coarse = self.in_widths
        channels, norm = self.channels, self.norm
        self.convs, self.conv_ups = nn.Sequential(), nn.Sequential()
        for i, width in enumerate(fine):
            branch = branch_channels[min(i, len(branch_channels) - 1)]
            self.convs.add_module(f"conv{i}", nn.Conv2d(width, branch, 1, bias=False))
            self.conv_ups.add_module(f"conv_up{i}", ConvNormAct(channels + branch, channels, norm=norm, bias=False))
        self.conv_up_input = nn.Conv2d(channels, channels, 1)
        self.aspp_conv = ConvNormAct(coarse, channels, norm=norm, bias=False)
        gate = ConvNormAct(coarse, channels, norm=None, activation=False, bias=False)
        self.image_pool = nn.Sequential(nn.Identity(), gate, nn.Sigmoid())

    def forward(self, features: Features, previous: Tensor | None = None) -> Tensor:
        """Map features to logits at the finest feature's resolution."""
        del previous
        *fine, coarse = self.select_all(features)
        gate = self.image_pool(window_means(coarse, window=_WINDOW, steps=_STEPS))
        x = self.aspp_conv(coarse) * resize(gate, size_of(coarse), align_corners=self.align_corners)
        x = self.conv_up_input(x)
        for conv, join, feature in reversed(list(zip(self.convs, self.conv_ups, fine, strict=True))):
            x = resize(x, size_of(feature), align_corners=self.align_corners)
            x = join(torch.cat([x, conv(feature)], dim=1))
        return self.classify(x)
