"""UNet as MMSegmentation builds it (UNet-S5-D16 at five stages), with its names of submodules.

Source: Ronneberger, Fischer, Brox, "U-Net: Convolutional Networks for Biomedical Image Segmentation", 2015;
the variant with interpolation, 1x1 convolution and batch norm follows MMSegmentation (Apache-2.0).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from maskline.models.backbones.base import BackboneBase
from maskline.models.layers import BATCH_NORM, ConvNormAct, Norm

Upsample = Literal["interp", "deconv"]


@dataclass(frozen=True, kw_only=True)
class UNetStage:
    """One resolution: the encoder's stage, and the decoder's block that leads from it to the finer one.

    Args:
        stride: Step of the stage's first convolution.
        pool: Whether the stage starts with max pooling by 2; not in the first stage, nor beside a stride.
        convs: 3x3 convolutions of the stage.
        dilation: Dilation of these but the first.
        up_convs: 3x3 convolutions of the decoder's block.
        up_dilation: Dilation of these but the first.
    """

    stride: int = 1
    pool: bool = True
    convs: int = 2
    dilation: int = 1
    up_convs: int = 2
    up_dilation: int = 1

    @property
    def pools(self) -> bool:
        """Whether max pooling takes place (in any stage but the first)."""
        return self.pool and self.stride == 1

    @property
    def step(self) -> int:
        """How much coarser the stage is than the one before."""
        return 2 if self.pools else self.stride


class UNet(BackboneBase):
    """Encoder with skip connections and decoder; gives one feature a resolution, deep to shallow.

    Stage k has ``base_channels * 2**k`` channels. ``channels`` and ``strides`` list the outputs, deepest first.

    Args:
        in_channels: Channels of the images.
        base_channels: Channels of the finest feature.
        num_stages: Resolutions, the finest counted.
        plan: Each stage, finest first; None: UNet-S5-D16's, for any number of stages.
        upsample: ``interp``: bilinear, then 1x1 convolution; ``deconv``: 4x4 transposed convolution.
        norm: Norm after each convolution.
    """

    def __init__(
        self,
        *,
        in_channels: int,
        base_channels: int,
        num_stages: int,
        plan: Sequence[UNetStage] | None = None,
        upsample: Upsample = "interp",
        norm: Norm = BATCH_NORM,
    ) -> None:
        super().__init__()
        plan = plan or [UNetStage()] * num_stages
        assert len(plan) == num_stages, "one entry a stage"
        self.encoder, self.decoder = nn.ModuleList(), nn.ModuleList()
        widths = [base_channels * 2**k for k in range(num_stages)]
        strides: list[int] = []
        for k, (stage, width) in enumerate(zip(plan, widths, strict=True)):
            before = widths[k - 1] if k else in_channels
            block = _ConvBlock(
                before, width, num_convs=stage.convs, stride=stage.stride, dilation=stage.dilation, norm=norm
            )
            pooled = k > 0 and stage.pools
            self.encoder.append(nn.Sequential(nn.MaxPool2d(2), block) if pooled else nn.Sequential(block))
            strides.append(strides[-1] * stage.step if k else stage.stride)
            if k:
                self.decoder.append(_UpBlock(width, before, stage=stage, upsample=upsample, norm=norm))
        self.channels = tuple(reversed(widths))
        self.strides = tuple(reversed(strides))
        self.size_divisor = strides[-1]

    def forward(self, images: Tensor) -> list[Tensor]:
        """Map images (NCHW, sides multiples of ``size_divisor``) to features, deepest first."""
        skips = []
        x = images
        for stage in self.encoder:
            x = stage(x)
            skips.append(x)
        features = [x]
        for block, skip in zip(reversed(self.decoder), reversed(skips[:-1]), strict=True):
            features.append(block(skip, features[-1]))
        return features

    def stages(self) -> list[list[nn.Module]]:
        """See ``BackboneBase``: stage k is the encoder's; there is no stem."""
        return [[], *([stage] for stage in self.encoder)]


class _ConvBlock(nn.Module):
    """3x3 convolutions in a row; the first one strides, the others are dilated."""

    def __init__(
        self, in_channels: int, channels: int, *, num_convs: int, stride: int, dilation: int, norm: Norm
    ) -> None:
        super().__init__()
        first = ConvNormAct(in_channels, channels, kernel_size=3, stride=stride, norm=norm)
        others = (
            ConvNormAct(channels, channels, kernel_size=3, dilation=dilation, norm=norm) for _ in range(num_convs - 1)
        )
        self.convs = nn.Sequential(first, *others)

    def forward(self, x: Tensor) -> Tensor:
        return self.convs(x)  # type: ignore[no-any-return]


class _UpBlock(nn.Module):
    """Brings the deeper feature to the skip's size and width, joins them (skip first), and convolves."""

    def __init__(self, in_channels: int, channels: int, *, stage: UNetStage, upsample: Upsample, norm: Norm) -> None:
        super().__init__()
        self.conv_block = _ConvBlock(
            2 * channels, channels, num_convs=stage.up_convs, stride=1, dilation=stage.up_dilation, norm=norm
        )
        self.upsample: nn.Module
        if stage.step == 1:
            self.upsample = ConvNormAct(in_channels, channels, norm=norm)
        elif upsample == "interp":
            self.upsample = _InterpolatedUpsample(in_channels, channels, norm=norm)
        else:
            self.upsample = _TransposedUpsample(in_channels, channels, norm=norm)

    def forward(self, skip: Tensor, deeper: Tensor) -> Tensor:
        return self.conv_block(torch.cat([skip, self.upsample(deeper)], dim=1))  # type: ignore[no-any-return]


class _InterpolatedUpsample(nn.Module):
    def __init__(self, in_channels: int, channels: int, *, norm: Norm) -> None:
        super().__init__()
        self.interp_upsample = nn.Sequential(
            nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False),
            ConvNormAct(in_channels, channels, norm=norm),
        )

    def forward(self, x: Tensor) -> Tensor:
        doubled, joined = self.interp_upsample
        assert isinstance(joined, ConvNormAct)
        # A 1x1 convolution mixes channels and interpolation mixes pixels, so their order is free; before it, the
        # convolution has a quarter of the pixels, and after it the interpolation has half of the channels.
        return joined.finish(doubled(joined.conv(x)))


class _TransposedUpsample(nn.Module):
    def __init__(self, in_channels: int, channels: int, *, norm: Norm) -> None:
        super().__init__()
        self.deconv_upsamping = nn.Sequential(  # sic: the name in the checkpoints
            nn.ConvTranspose2d(in_channels, channels, kernel_size=4, stride=2, padding=1),
            norm.build(channels),
            nn.ReLU(),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.deconv_upsamping(x)  # type: ignore[no-any-return]
