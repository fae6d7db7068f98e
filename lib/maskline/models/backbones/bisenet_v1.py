"""BiSeNet: a shallow path that keeps detail beside a deep one that sees context.

Source: Yu et al., "BiSeNet: Bilateral Segmentation Network for Real-time Semantic Segmentation", 2018; names as in
MMSegmentation (Apache-2.0).
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from maskline.models.backbones.base import BackboneBase
from maskline.models.backbones.resnet import ResNet, StagePlan, Stem
from maskline.models.layers import BATCH_NORM, ConvNormAct, Norm, size_of


class BiSeNetV1(BackboneBase):
    """Features: both paths joined (stride 8), the context at stride 8, and at stride 16; any input size.

    Args:
        depth: Of the context path's ResNet: 18, 50 or 101.
        in_channels: Channels of the images.
        base_channels: Width of the ResNet's first stage.
        norm: Norm after each convolution.
    """

    def __init__(self, *, depth: int, in_channels: int, base_channels: int = 64, norm: Norm = BATCH_NORM) -> None:
        super().__init__()
        self.context_path = _ContextPath(depth, in_channels, base_channels=base_channels, norm=norm)
        context = self.context_path.channels
        fine = context // 2
        self.spatial_path = _SpatialPath(in_channels, fine, context, norm=norm)
        self.ffm = _Fusion(2 * context, 2 * context, norm=norm)
        self.channels = (2 * context, context, context)
        self.strides = (8, 8, 16)
        self.size_divisor = 1

    def forward(self, images: Tensor) -> list[Tensor]:
        """Map images (NCHW) to the three features."""
        fine, coarse = self.context_path(images)
        return [self.ffm(torch.cat([self.spatial_path(images), fine], dim=1)), fine, coarse]

    def stages(self) -> list[list[nn.Module]]:
        """See ``BackboneBase``: those of the ResNet."""
        return self.context_path.backbone.stages()


class _SpatialPath(nn.Module):
    def __init__(self, in_channels: int, width: int, out_channels: int, *, norm: Norm) -> None:
        super().__init__()
        self.layer1 = ConvNormAct(in_channels, width, kernel_size=7, stride=2, norm=norm)
        self.layer2 = ConvNormAct(width, width, kernel_size=3, stride=2, norm=norm)
        self.layer3 = ConvNormAct(width, width, kernel_size=3, stride=2, norm=norm)
        self.layer4 = ConvNormAct(width, out_channels, norm=norm)

    def forward(self, images: Tensor) -> Tensor:
        return self.layer4(self.layer3(self.layer2(self.layer1(images))))  # type: ignore[no-any-return]


class _ContextPath(nn.Module):
    """The ResNet's last two features, refined by their means, the coarse one flowing into the finer."""

    def __init__(self, depth: int, in_channels: int, *, base_channels: int, norm: Norm) -> None:
        super().__init__()
        plan = StagePlan.for_output_stride(32, multi_grid=None)
        stem = Stem(kind="7x7", channels=base_channels)
        self.backbone = ResNet(
            depth=depth, in_channels=in_channels, plan=plan, stem=stem, base_channels=base_channels, norm=norm
        )
        _, width, middle, coarse = self.backbone.channels
        self.channels = width
        self.arm16 = AttentionRefinement(middle, width, norm=norm)
        self.arm32 = AttentionRefinement(coarse, width, norm=norm)
        self.conv_head32 = ConvNormAct(width, width, kernel_size=3, norm=norm)
        self.conv_head16 = ConvNormAct(width, width, kernel_size=3, norm=norm)
        self.gap_conv = nn.Sequential(nn.Identity(), ConvNormAct(coarse, width, norm=norm))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        _, fine, middle, coarse = self.backbone(images)
        context = self.arm32(coarse) + self.gap_conv(coarse.mean(dim=(2, 3), keepdim=True))
        up32 = self.conv_head32(F.interpolate(context, size=size_of(middle)))
        up16 = self.conv_head16(F.interpolate(self.arm16(middle) + up32, size=size_of(fine)))
        return up16, up32


class AttentionRefinement(nn.Module):
    """A 3x3 convolution whose channels are scaled by their means."""

    def __init__(self, in_channels: int, out_channels: int, *, norm: Norm) -> None:
        super().__init__()
        self.conv_layer = ConvNormAct(in_channels, out_channels, kernel_size=3, norm=norm)
        gate = ConvNormAct(out_channels, out_channels, norm=norm, activation=False)
        self.atten_conv_layer = nn.Sequential(nn.Identity(), gate, nn.Sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        """Map NCHW to NCHW."""
        y = self.conv_layer(x)
        return y * self.atten_conv_layer(y.mean(dim=(2, 3), keepdim=True))  # type: ignore[no-any-return]


class _Fusion(nn.Module):
    """Both paths' features, convolved, with channels amplified by their means."""

    def __init__(self, in_channels: int, out_channels: int, *, norm: Norm) -> None:
        super().__init__()
        self.conv1 = ConvNormAct(in_channels, out_channels, norm=norm)
        self.conv_atten = nn.Sequential(ConvNormAct(out_channels, out_channels, norm=norm), nn.Sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv1(x)
        return y + y * self.conv_atten(y.mean(dim=(2, 3), keepdim=True))  # type: ignore[no-any-return]
