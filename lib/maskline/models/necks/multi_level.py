"""Features of one resolution at several: what makes a pyramid of a plain vision transformer.

Source: MMSegmentation (Apache-2.0), whose names the parts have; Feature2Pyramid after Bao et al., "BEiT", 2022.
"""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from maskline.models.layers import BATCH_NORM, ConvNormAct, Norm


class MultiLevel(nn.Module):
    """Each feature: a 1x1 convolution, resized by its factor, a 3x3 convolution.

    Args:
        in_channels: Channels of each feature.
        out_channels: Channels of each output.
        scales: Factor of each feature; a side is rounded down.
    """

    def __init__(self, *, in_channels: Sequence[int], out_channels: int, scales: Sequence[float]) -> None:
        super().__init__()
        self.scales = tuple(float(scale) for scale in scales)
        self.lateral_convs = nn.ModuleList(
            ConvNormAct(width, out_channels, norm=None, activation=False) for width in in_channels
        )
        self.convs = nn.ModuleList(
            ConvNormAct(out_channels, out_channels, kernel_size=3, norm=None, activation=False) for _ in in_channels
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.xavier_uniform_(module.weight)
        self.channels = (out_channels,) * len(self.scales)

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Map features to as many, at the resolutions that ``scales`` give."""
        outputs = []
        for x, scale, lateral, conv in zip(features, self.scales, self.lateral_convs, self.convs, strict=True):
            resized = F.interpolate(lateral(x), scale_factor=scale, mode="bilinear", align_corners=False)
            outputs.append(conv(resized))
        return outputs


class Feature2Pyramid(nn.Module):
    """Four features at 4, 2, 1 and 1/2 of their resolution, by transposed convolutions and max pooling.

    Args:
        width: Channels of each feature.
        norm: Between the two convolutions of the finest.
    """

    scales = (4.0, 2.0, 1.0, 0.5)

    def __init__(self, *, width: int, norm: Norm = BATCH_NORM) -> None:
        super().__init__()
        self.upsample_4x = nn.Sequential(_doubling(width), norm.build(width), nn.GELU(), _doubling(width))
        self.upsample_2x = nn.Sequential(_doubling(width))
        self.channels = (width,) * 4

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Map four features to as many, finest first."""
        first, second, third, fourth = features
        return [self.upsample_4x(first), self.upsample_2x(second), third, F.max_pool2d(fourth, 2)]


def _doubling(width: int) -> nn.Module:
    return nn.ConvTranspose2d(width, width, 2, stride=2)
