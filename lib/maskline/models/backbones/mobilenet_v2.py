"""MobileNetV2 with a dilated end, features of strides 4, 8, 8, 8.

Source: Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks", 2018; where it is dilated and names as
in MMSegmentation (Apache-2.0).
"""

from torch import Tensor, nn

from maskline.models.backbones.base import BackboneBase
from maskline.models.layers import BATCH_NORM, ConvNormAct, Norm

# Expansion, channels, blocks, stride and dilation of each layer.
_LAYERS = (
    (1, 16, 1, 1, 1),
    (6, 24, 2, 2, 1),
    (6, 32, 3, 2, 1),
    (6, 64, 4, 1, 2),
    (6, 96, 3, 1, 2),
    (6, 160, 3, 1, 4),
    (6, 320, 1, 1, 4),
)
_OUT = (1, 2, 4, 6)


class MobileNetV2(BackboneBase):
    """Inverted residuals, output stride 8; any input size.

    Args:
        in_channels: Channels of the images.
        norm: Norm after each convolution.
    """

    def __init__(self, *, in_channels: int, norm: Norm = BATCH_NORM) -> None:
        super().__init__()
        self.conv1 = ConvReLU6(in_channels, 32, kernel_size=3, stride=2, norm=norm)
        before = 32
        for number, (expansion, width, count, stride, dilation) in enumerate(_LAYERS, start=1):
            blocks = []
            for i in range(count):  # only the first block is dilated
                step, spread = (stride, dilation) if i == 0 else (1, 1)
                blocks.append(InvertedResidual(before, width, expansion, stride=step, dilation=spread, norm=norm))
                before = width
            self.add_module(f"layer{number}", nn.Sequential(*blocks))
        self.channels = tuple(_LAYERS[i][1] for i in _OUT)
        self.strides = (4, 8, 8, 8)
        self.size_divisor = 1

    def forward(self, images: Tensor) -> list[Tensor]:
        """Map images (NCHW, any size) to features, finest first."""
        x = self.conv1(images)
        outputs = []
        for (layer,) in self.stages()[1:]:
            x = layer(x)
            outputs.append(x)
        return [outputs[i] for i in _OUT]

    def stages(self) -> list[list[nn.Module]]:
        """See ``BackboneBase``."""
        return [[self.conv1], *([self.get_submodule(f"layer{number}")] for number in range(1, len(_LAYERS) + 1))]


class ConvReLU6(ConvNormAct):
    """Convolution, norm, and ReLU that ends at 6."""

    def finish(self, x: Tensor) -> Tensor:
        """See ``ConvNormAct``."""
        return super().finish(x).clamp(max=6.0) if self.activation else super().finish(x)


class InvertedResidual(nn.Module):
    """1x1 to more channels, 3x3 a channel, 1x1 to fewer without activation; the input is added where it fits.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        expansion: How many times more channels there are in between.
        stride: Step, px.
        dilation: Dilation of the 3x3 convolution.
        norm: Norm after each convolution.
        block: The first two convolutions.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        expansion: int,
        *,
        stride: int,
        dilation: int = 1,
        norm: Norm,
        block: type[ConvNormAct] = ConvReLU6,
    ) -> None:
        super().__init__()
        inner = in_channels * expansion
        first = [block(in_channels, inner, norm=norm)] if expansion > 1 else []
        self.conv = nn.Sequential(
            *first,
            block(inner, inner, kernel_size=3, stride=stride, dilation=dilation, groups=inner, norm=norm),
            ConvNormAct(inner, out_channels, norm=norm, activation=False),
        )
        self.adds = stride == 1 and in_channels == out_channels

    def forward(self, x: Tensor) -> Tensor:
        """Map NCHW to NCHW."""
        y: Tensor = self.conv(x)
        return x + y if self.adds else y
