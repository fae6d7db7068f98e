"""ICNet: the image at full, half and quarter resolution, the deeper the network the coarser its image.

Source: Zhao et al., "ICNet for Real-Time Semantic Segmentation on High-Resolution Images", 2018; names as in
MMSegmentation (Apache-2.0). Its features are joined by the neck ``ic``.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from maskline.models.backbones.base import BackboneBase
from maskline.models.backbones.resnet import ResNet, StagePlan, Stem
from maskline.models.heads.pyramid_pooling import PyramidPooling
from maskline.models.layers import BATCH_NORM, ConvNormAct, Norm

_BINS = (1, 2, 3, 6)
_OUT = (64, 256, 256)
_LIGHT = 32


class ICNet(BackboneBase):
    """Features of strides 8, 16 and 32; sides from 32 px. The latter two may be a pixel larger than their stride says.

    Args:
        depth: Of the ResNet: 18, 50 or 101.
        in_channels: Channels of the images.
        base_channels: Width of the ResNet's first stage.
        psp_channels: Channels of each branch of the pooling pyramid.
        align_corners: How images and features are resized.
        norm: Norm after each convolution.
    """

    def __init__(
        self,
        *,
        depth: int,
        in_channels: int,
        base_channels: int = 64,
        psp_channels: int = 512,
        align_corners: bool = False,
        norm: Norm = BATCH_NORM,
    ) -> None:
        super().__init__()
        self.align_corners = align_corners
        self.backbone = ResNet(
            depth=depth,
            in_channels=in_channels,
            plan=StagePlan.for_output_stride(8, multi_grid=None),
            stem=Stem(kind="deep", channels=base_channels),
            base_channels=base_channels,
            norm=norm,
        )
        self.backbone.maxpool.ceil_mode = True  # the last row and column count, in a pixel of their own
        _, middle, _, deep = self.backbone.channels
        self.psp_modules = PyramidPooling(
            _BINS, in_channels=deep, channels=psp_channels, align_corners=align_corners, norm=norm
        )
        self.psp_bottleneck = ConvNormAct(deep + len(_BINS) * psp_channels, psp_channels, kernel_size=3, norm=norm)
        widths = ((in_channels, _LIGHT), (_LIGHT, _LIGHT), (_LIGHT, _OUT[0]))
        self.conv_sub1 = nn.Sequential(
            *(ConvNormAct(before, after, kernel_size=3, stride=2, norm=norm) for before, after in widths)
        )
        self.conv_sub2 = ConvNormAct(middle, _OUT[1], norm=norm)
        self.conv_sub4 = ConvNormAct(psp_channels, _OUT[2], norm=norm)
        self.channels = _OUT
        self.strides = (8, 16, 32)
        self.size_divisor = 1
        self.min_side = 32

    def forward(self, images: Tensor) -> list[Tensor]:
        """Map images (NCHW) to the three features."""
        stem, *layers = self.backbone.stages()
        x = self._half(images)
        for module in (*stem, *layers[0], *layers[1]):
            x = module(x)
        middle = self.conv_sub2(x)
        x = self._half(x)
        for module in (*layers[2], *layers[3]):
            x = module(x)
        deep = self.psp_bottleneck(torch.cat([*self.psp_modules(x), x], dim=1))
        return [self.conv_sub1(images), middle, self.conv_sub4(deep)]

    def _half(self, x: Tensor) -> Tensor:
        return F.interpolate(x, scale_factor=0.5, mode="bilinear", align_corners=self.align_corners)

    def stages(self) -> list[list[nn.Module]]:
        """See ``BackboneBase``: those of the ResNet."""
        return self.backbone.stages()
