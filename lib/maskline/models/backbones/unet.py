"""UNet as MMSegmentation builds it (UNet-S5-D16 at five stages), with its names of submodules.

Source: Ronneberger, Fischer, Brox, "U-Net: Convolutional Networks for Biomedical Image Segmentation", 2015;
the variant with interpolation, 1x1 convolution and batch norm follows MMSegmentation (Apache-2.0).
"""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from maskline.models.backbones.base import BackboneBase
from maskline.models.layers import BATCH_NORM, ConvNormAct, Norm


class UNet(BackboneBase):
    """Encoder with skip connections and decoder; gives one feature a resolution, deep to shallow.

    Stage k has ``base_channels * 2**k`` channels. ``channels`` and ``strides`` list the outputs, deepest first.

    Args:
        in_channels: Channels of the images.
        base_channels: Channels of the finest feature.
        num_stages: Resolutions, the finest counted.
        strides: Stride of each stage's first convolution; a stage with stride 1 may start with max pooling instead.
        downsamples: Whether each stage but the first halves the size by max pooling.
        encoder_convs: 3x3 convolutions of each encoder stage.
        decoder_convs: 3x3 convolutions of each decoder block, shallow to deep.
        encoder_dilations: Dilation of each encoder stage's convolutions but the first.
        decoder_dilations: Dilation of each decoder block's convolutions but the first, shallow to deep.
        upsample: ``interp``: bilinear, then 1x1 convolution; ``deconv``: 4x4 transposed convolution.
        norm: Norm after each convolution.
    """

    def __init__(
        self,
        *,
        in_channels: int,
        base_channels: int,
        num_stages: int,
        strides: Sequence[int] | None = None,
        downsamples: Sequence[bool] | None = None,
        encoder_convs: Sequence[int] | None = None,
        decoder_convs: Sequence[int] | None = None,
        encoder_dilations: Sequence[int] | None = None,
        decoder_dilations: Sequence[int] | None = None,
        upsample: Literal["interp", "deconv"] = "interp",
        norm: Norm = BATCH_NORM,
    ) -> None:
        super().__init__()
        strides = strides or [1] * num_stages
        halved = [True] * (num_stages - 1) if downsamples is None else downsamples[: num_stages - 1]
        encoder_convs = encoder_convs or [2] * num_stages
        decoder_convs = decoder_convs or [2] * (num_stages - 1)
        encoder_dilations = encoder_dilations or [1] * num_stages
        decoder_dilations = decoder_dilations or [1] * (num_stages - 1)
        self.encoder, self.decoder = nn.ModuleList(), nn.ModuleList()
        widths = [base_channels * 2**stage for stage in range(num_stages)]
        steps = [strides[0]]
        for stage, width in enumerate(widths):
            block = _ConvBlock(
                in_channels if stage == 0 else widths[stage - 1],
                width,
                num_convs=encoder_convs[stage],
                stride=strides[stage],
                dilation=encoder_dilations[stage],
                norm=norm,
            )
            pooled = stage > 0 and strides[stage] == 1 and halved[stage - 1]
            self.encoder.append(nn.Sequential(nn.MaxPool2d(2), block) if pooled else nn.Sequential(block))
            if stage > 0:
                steps.append(2 if pooled else strides[stage])
                self.decoder.append(
                    _UpBlock(
                        width,
                        widths[stage - 1],
                        num_convs=decoder_convs[stage - 1],
                        dilation=decoder_dilations[stage - 1],
                        upsample=upsample if strides[stage] != 1 or halved[stage - 1] else None,
                        norm=norm,
                    )
                )
        products = [steps[0]]
        for step in steps[1:]:
            products.append(products[-1] * step)
        self.channels = tuple(reversed(widths))
        self.strides = tuple(reversed(products))
        self.size_divisor = products[-1]

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

    def __init__(
        self,
        in_channels: int,
        channels: int,
        *,
        num_convs: int,
        dilation: int,
        upsample: Literal["interp", "deconv"] | None,
        norm: Norm,
    ) -> None:
        super().__init__()
        self.conv_block = _ConvBlock(
            2 * channels, channels, num_convs=num_convs, stride=1, dilation=dilation, norm=norm
        )
        self.upsample: nn.Module
        match upsample:
            case "interp":
                self.upsample = _InterpolatedUpsample(in_channels, channels, norm=norm)
            case "deconv":
                self.upsample = _TransposedUpsample(in_channels, channels, norm=norm)
            case None:
                self.upsample = ConvNormAct(in_channels, channels, norm=norm)

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
        return self.interp_upsample(x)  # type: ignore[no-any-return]


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
