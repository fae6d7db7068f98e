"""The two residual blocks, with the names that torchvision's and MMSegmentation's checkpoints use.

Source: He et al., "Deep Residual Learning for Image Recognition", 2016.
"""

from typing import ClassVar, Literal

from torch import Tensor, nn
from torch.nn import functional as F

from maskline.models.layers import Norm

Style = Literal["pytorch", "caffe"]


class BasicBlock(nn.Module):
    """Two 3x3 convolutions; the first one strides and is dilated.

    Args:
        in_channels: Channels of the input.
        width: Channels of the output.
        stride: Step of the block, px.
        dilation: Dilation of the first convolution.
        downsample: Brings the input to the output's shape; None: it has that shape.
        style: Without effect here.
        norm: Norm after each convolution.
    """

    expansion: ClassVar[int] = 1

    def __init__(
        self,
        in_channels: int,
        width: int,
        *,
        stride: int,
        dilation: int,
        downsample: nn.Module | None,
        style: Style,
        norm: Norm,
    ) -> None:
        super().__init__()
        del style
        self.conv1 = conv(in_channels, width, kernel_size=3, stride=stride, dilation=dilation)
        self.add_module(f"{norm.key}1", norm.build(width))
        self.conv2 = conv(width, width, kernel_size=3)
        self.add_module(f"{norm.key}2", norm.build(width))
        self.downsample = downsample
        self._key = norm.key

    def forward(self, x: Tensor) -> Tensor:
        """Map NCHW to NCHW."""
        y = F.relu(self.get_submodule(f"{self._key}1")(self.conv1(x)))
        y = self.last_norm()(self.conv2(y))
        shortcut = x if self.downsample is None else self.downsample(x)
        return F.relu(y + shortcut)

    def last_norm(self) -> nn.Module:
        """Return the norm that ends the branch."""
        return self.get_submodule(f"{self._key}2")


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 convolutions; the output is four times as wide as the middle.

    Args:
        in_channels: Channels of the input.
        width: Channels of the middle convolution.
        stride: Step of the block, px.
        dilation: Dilation of the 3x3 convolution.
        downsample: Brings the input to the output's shape; None: it has that shape.
        style: ``pytorch``: the 3x3 convolution strides; ``caffe``: the first 1x1 does.
        norm: Norm after each convolution.
    """

    expansion: ClassVar[int] = 4

    def __init__(
        self,
        in_channels: int,
        width: int,
        *,
        stride: int,
        dilation: int,
        downsample: nn.Module | None,
        style: Style,
        norm: Norm,
    ) -> None:
        super().__init__()
        first, second = (1, stride) if style == "pytorch" else (stride, 1)
        self.conv1 = conv(in_channels, width, kernel_size=1, stride=first)
        self.add_module(f"{norm.key}1", norm.build(width))
        self.conv2 = conv(width, width, kernel_size=3, stride=second, dilation=dilation)
        self.add_module(f"{norm.key}2", norm.build(width))
        self.conv3 = conv(width, width * self.expansion, kernel_size=1)
        self.add_module(f"{norm.key}3", norm.build(width * self.expansion))
        self.downsample = downsample
        self._key = norm.key

    def forward(self, x: Tensor) -> Tensor:
        """Map NCHW to NCHW."""
        y = F.relu(self.get_submodule(f"{self._key}1")(self.conv1(x)))
        y = F.relu(self.get_submodule(f"{self._key}2")(self.conv2(y)))
        y = self.last_norm()(self.conv3(y))
        shortcut = x if self.downsample is None else self.downsample(x)
        return F.relu(y + shortcut)

    def last_norm(self) -> nn.Module:
        """Return the norm that ends the branch."""
        return self.get_submodule(f"{self._key}3")


Block = type[BasicBlock] | type[Bottleneck]


def conv(in_channels: int, out_channels: int, *, kernel_size: int, stride: int = 1, dilation: int = 1) -> nn.Conv2d:
    """Return a convolution without bias that keeps the size at stride 1, Kaiming-initialised."""
    layer = nn.Conv2d(
        in_channels,
        out_channels,
        kernel_size,
        stride=stride,
        padding=kernel_size // 2 * dilation,
        dilation=dilation,
        bias=False,
    )
    nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    return layer


def zero_last_norm(backbone: nn.Module) -> None:
    """Set the weight of each block's last norm to 0, so that blocks start as the identity."""
    for block in backbone.modules():
        if isinstance(block, BasicBlock | Bottleneck):
            weight = block.last_norm().weight
            assert isinstance(weight, Tensor)
            nn.init.zeros_(weight)
