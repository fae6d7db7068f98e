"""Fast-SCNN: a shared shallow start, a deep branch at low resolution, both joined.

Source: Poudel, Liwicki, Cipolla, "Fast-SCNN: Fast Semantic Segmentation Network", 2019; names as in MMSegmentation
(Apache-2.0).
"""

import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from maskline.models.backbones.base import BackboneBase
from maskline.models.backbones.mobilenet_v2 import InvertedResidual
from maskline.models.heads.pyramid_pooling import PyramidPooling
from maskline.models.layers import BATCH_NORM, ConvNormAct, Norm, SeparableConv, resize, size_of

_START = (32, 48, 64)
_DEEP = (64, 96, 128)
_STEPS = (2, 2, 1)
_OUT = 128
_BINS = (1, 2, 3, 6)
_EXPANSION = 6


class FastSCNN(BackboneBase):
    """Features: the shallow start's (stride 8), the deep branch's (stride 32), both joined (stride 8); any input size.

    Args:
        in_channels: Channels of the images.
        align_corners: How features are resized.
        norm: Norm after each convolution.
    """

    def __init__(self, *, in_channels: int, align_corners: bool = False, norm: Norm = BATCH_NORM) -> None:
        super().__init__()
        self.learning_to_downsample = _Start(in_channels, norm=norm)
        self.global_feature_extractor = _Deep(align_corners=align_corners, norm=norm)
        self.feature_fusion = _Fusion(align_corners=align_corners, norm=norm)
        self.channels = (_START[-1], _OUT, _OUT)
        self.strides = (8, 32, 8)
        self.size_divisor = 1

    def forward(self, images: Tensor) -> list[Tensor]:
        """Map images (NCHW) to the three features."""
        fine = self.learning_to_downsample(images)
        coarse = self.global_feature_extractor(fine)
        return [fine, coarse, self.feature_fusion(fine, coarse)]

    def stages(self) -> list[list[nn.Module]]:
        """See ``BackboneBase``: the start, the deep branch, what joins them."""
        return [[self.learning_to_downsample], [self.global_feature_extractor], [self.feature_fusion]]


class _Start(nn.Module):
    def __init__(self, in_channels: int, *, norm: Norm) -> None:
        super().__init__()
        first, middle, last = _START
        self.conv = ConvNormAct(in_channels, first, kernel_size=3, stride=2, norm=norm)
        self.dsconv1 = SeparableConv(first, middle, stride=2, norm=norm, depthwise_activation=False)
        self.dsconv2 = SeparableConv(middle, last, stride=2, norm=norm, depthwise_activation=False)

    def forward(self, images: Tensor) -> Tensor:
        return self.dsconv2(self.dsconv1(self.conv(images)))  # type: ignore[no-any-return]


class _Deep(nn.Module):
    """Nine inverted residuals, then a pooling pyramid."""

    def __init__(self, *, align_corners: bool, norm: Norm) -> None:
        super().__init__()
        widths = itertools.pairwise((_START[-1], *_DEEP))
        for number, ((before, width), step) in enumerate(zip(widths, _STEPS, strict=True), start=1):
            shapes = ((before, step), (width, 1), (width, 1))
            blocks = [
                InvertedResidual(given, width, _EXPANSION, stride=stride, norm=norm, block=ConvNormAct)
                for given, stride in shapes
            ]
            self.add_module(f"bottleneck{number}", nn.Sequential(*blocks))
        width = _DEEP[-1]
        branch = width // len(_BINS)
        self.ppm = PyramidPooling(_BINS, in_channels=width, channels=branch, align_corners=align_corners, norm=norm)
        self.out = ConvNormAct(2 * width, _OUT, kernel_size=3, norm=norm)

    def forward(self, x: Tensor) -> Tensor:
        for number in range(1, len(_DEEP) + 1):
            x = self.get_submodule(f"bottleneck{number}")(x)
        return self.out(torch.cat([x, *self.ppm(x)], dim=1))  # type: ignore[no-any-return]


class _Fusion(nn.Module):
    def __init__(self, *, align_corners: bool, norm: Norm) -> None:
        super().__init__()
        self.align_corners = align_corners
        self.dwconv = ConvNormAct(_OUT, _OUT, kernel_size=3, groups=_OUT, norm=norm)
        self.conv_lower_res = ConvNormAct(_OUT, _OUT, norm=norm, activation=False)
        self.conv_higher_res = ConvNormAct(_START[-1], _OUT, norm=norm, activation=False)

    def forward(self, fine: Tensor, coarse: Tensor) -> Tensor:
        coarse = self.dwconv(resize(coarse, size_of(fine), align_corners=self.align_corners))
        return F.relu(self.conv_higher_res(fine) + self.conv_lower_res(coarse))
