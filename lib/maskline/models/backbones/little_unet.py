"""The little U-Net of W-Net: convolutions around shortcuts, a convolution on each skip.

Source: Galdran et al., "The Little W-Net That Could: State-of-the-Art Retinal Vessel Segmentation with Minimalistic
Models", 2020; its layout, not its code (agaldran/lwnet, MIT). With 8 channels, three resolutions and a classifier of
one logit it has the published 34,201 weights; the one behind it, which sees a channel more, has 34,281.
"""

import torch
from torch import Tensor, nn

from maskline.models.backbones.base import BackboneBase
from maskline.models.layers import BATCH_NORM, Norm


class LittleUNet(BackboneBase):
    """Encoder, convolved skips, decoder; gives one feature a resolution, deep to shallow.

    Stage k has ``base_channels * 2**k`` channels. ``channels`` and ``strides`` list the outputs, deepest first.

    Args:
        in_channels: Channels of the images.
        base_channels: Channels of the finest feature.
        num_stages: Resolutions, the finest counted.
        norm: Norm after each activation.
    """

    def __init__(self, *, in_channels: int, base_channels: int, num_stages: int, norm: Norm = BATCH_NORM) -> None:
        super().__init__()
        widths = [base_channels * 2**k for k in range(num_stages)]
        self.encoder = nn.ModuleList(
            _Block(before, width, norm=norm) for before, width in zip([in_channels, *widths], widths, strict=False)
        )
        self.bridges = nn.ModuleList(nn.Sequential(*_layers(width, width, norm=norm)) for width in widths[:-1])
        self.upsamples = nn.ModuleList(
            nn.ConvTranspose2d(2 * width, width, kernel_size=2, stride=2) for width in widths[:-1]
        )
        self.decoder = nn.ModuleList(_Block(2 * width, width, norm=norm) for width in widths[:-1])
        self.channels = tuple(reversed(widths))
        self.strides = tuple(2**k for k in reversed(range(num_stages)))
        self.size_divisor = self.strides[0]
        self.pool = nn.MaxPool2d(2)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Map images (NCHW, sides multiples of ``size_divisor``) to features, deepest first."""
        skips: list[Tensor] = []
        x = images
        for k, stage in enumerate(self.encoder):
            x = stage(self.pool(x) if k else x)
            skips.append(x)
        features = [skips.pop()]
        for bridge, upsample, block in zip(*map(reversed, (self.bridges, self.upsamples, self.decoder)), strict=True):
            features.append(block(torch.cat([upsample(features[-1]), bridge(skips.pop())], dim=1)))
        return features

    def stages(self) -> list[list[nn.Module]]:
        """See ``BackboneBase``: stage k is the encoder's; there is no stem."""
        return [[], *([stage] for stage in self.encoder)]


class _Block(nn.Module):
    """Two 3x3 convolutions, each with ReLU and norm in that order, and a 1x1 shortcut around both."""

    def __init__(self, in_channels: int, channels: int, *, norm: Norm) -> None:
        super().__init__()
        self.convs = nn.Sequential(*_layers(in_channels, channels, norm=norm), *_layers(channels, channels, norm=norm))
        self.shortcut = nn.Sequential(nn.Conv2d(in_channels, channels, kernel_size=1, bias=False), norm.build(channels))

    def forward(self, x: Tensor) -> Tensor:
        return self.convs(x) + self.shortcut(x)  # type: ignore[no-any-return]


def _layers(in_channels: int, channels: int, *, norm: Norm) -> list[nn.Module]:
    return [nn.Conv2d(in_channels, channels, kernel_size=3, padding=1), nn.ReLU(), norm.build(channels)]
