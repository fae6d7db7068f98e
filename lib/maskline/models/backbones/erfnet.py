"""ERFNet: residual blocks of 3x1 and 1x3 convolutions, and a small decoder.

Source: Romera et al., "ERFNet: Efficient Residual Factorized ConvNet for Real-time Semantic Segmentation", 2018; names
as in MMSegmentation (Apache-2.0).
"""

import dataclasses

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from maskline.models.backbones.base import BackboneBase
from maskline.models.layers import BATCH_NORM, Norm, resize, size_of

_ENCODER = (16, 64, 128)
_DECODER = (64, 16)
_FIRST_BLOCKS = 5
_DILATIONS = (2, 4, 8, 16)
_DECODER_BLOCKS = 2
_EPS = 1e-3


class ERFNet(BackboneBase):
    """One feature of stride 2; sides must be multiples of 8.

    Args:
        in_channels: Channels of the images.
        dropout: Share of activations that the encoder's blocks set to 0 while training.
        norm: Norm after each convolution; what is added to its variance is 0.001 at least.
    """

    def __init__(self, *, in_channels: int, dropout: float = 0.1, norm: Norm = BATCH_NORM) -> None:
        super().__init__()
        norm = dataclasses.replace(norm, eps=max(norm.eps, _EPS))
        first, middle, deep = _ENCODER
        self.encoder = nn.ModuleList(
            (
                _Down(in_channels, first, norm=norm),
                _Down(first, middle, norm=norm),
                *(_Block(middle, dropout=dropout, norm=norm) for _ in range(_FIRST_BLOCKS)),
                _Down(middle, deep, norm=norm),
                *(_Block(deep, dropout=dropout, dilation=dilation, norm=norm) for dilation in 2 * _DILATIONS),
            )
        )
        decoder: list[nn.Module] = []
        before = deep
        for width in _DECODER:
            blocks = (_Block(width, norm=norm) for _ in range(_DECODER_BLOCKS))
            decoder += [_Up(before, width, norm=norm), *blocks]
            before = width
        self.decoder = nn.ModuleList(decoder)
        self.channels = (before,)
        self.strides = (2,)
        self.size_divisor = 8

    def forward(self, images: Tensor) -> list[Tensor]:
        """Map images (NCHW, sides multiples of 8) to the one feature."""
        x = images
        for module in (*self.encoder, *self.decoder):
            x = module(x)
        return [x]

    def stages(self) -> list[list[nn.Module]]:
        """See ``BackboneBase``: no stem; the encoder, the decoder."""
        return [[], [self.encoder], [self.decoder]]


class _Down(nn.Module):
    """To half the resolution: a convolution beside a maximum."""

    def __init__(self, in_channels: int, out_channels: int, *, norm: Norm) -> None:
        super().__init__()
        self.conv = _conv(in_channels, out_channels - in_channels, (3, 3), stride=2)
        self.pool = nn.MaxPool2d(2, stride=2)
        self.bn = norm.build(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        pooled = resize(self.pool(x), size_of(y), align_corners=False)
        return F.relu(self.bn(torch.cat([y, pooled], dim=1)))


class _Block(nn.Module):
    """Four one-dimensional convolutions, the last two dilated, added to the input."""

    def __init__(self, channels: int, *, dropout: float = 0.0, dilation: int = 1, norm: Norm) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for spread, end in ((1, nn.ReLU()), (dilation, nn.Dropout(dropout))):
            down = _conv(channels, channels, (3, 1), dilation=spread)
            right = _conv(channels, channels, (1, 3), dilation=spread)
            layers += [down, nn.ReLU(), right, norm.build(channels), end]
        self.convs_layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.convs_layers(x))


class _Up(nn.Module):
    """To twice the resolution by a transposed convolution."""

    def __init__(self, in_channels: int, out_channels: int, *, norm: Norm) -> None:
        super().__init__()
        self.conv = nn.ConvTranspose2d(in_channels, out_channels, 3, stride=2, padding=1, output_padding=1)
        self.bn = norm.build(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)))


def _conv(
    in_channels: int, out_channels: int, kernel: tuple[int, int], *, stride: int = 1, dilation: int = 1
) -> nn.Conv2d:
    padding = (kernel[0] // 2 * dilation, kernel[1] // 2 * dilation)
    layer = nn.Conv2d(in_channels, out_channels, kernel, stride=stride, padding=padding, dilation=dilation)
    nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return layer
