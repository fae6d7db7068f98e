"""ResNeSt's block for the ResNet of this room: the 3x3 convolution is two, weighed per channel by the image.

Source: Zhang et al., "ResNeSt: Split-Attention Networks", 2020; names as in MMSegmentation (Apache-2.0).
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from maskline.models.backbones.residual import Bottleneck, Style
from maskline.models.layers import Norm

_RADIX = 2


class SplitBottleneck(Bottleneck):
    """As ``Bottleneck``; a stride averages after the middle convolution.

    Args:
        in_channels: Channels of the input.
        width: Channels of the middle convolution.
        stride: Step of the block, px.
        dilation: Dilation of the 3x3 convolution.
        downsample: Brings the input to the output's shape; None: it has that shape.
        style: Without effect here.
        norm: Norm after each convolution.
    """

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
        super().__init__(in_channels, width, stride=1, dilation=dilation, downsample=downsample, style=style, norm=norm)
        self.conv2 = _SplitAttention(width, dilation=dilation, norm=norm)  # type: ignore[assignment]
        delattr(self, f"{norm.key}2")  # it has its own
        self.pool = nn.AvgPool2d(3, stride=stride, padding=1) if stride > 1 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Map NCHW to NCHW."""
        y = F.relu(self.get_submodule(f"{self._key}1")(self.conv1(x)))
        y = self.last_norm()(self.conv3(self.pool(self.conv2(y))))
        shortcut = x if self.downsample is None else self.downsample(x)
        return F.relu(y + shortcut)


class _SplitAttention(nn.Module):
    """The sum of two groups' outputs, in shares that follow from their mean over the image."""

    def __init__(self, width: int, *, dilation: int, norm: Norm) -> None:
        super().__init__()
        inner = max(width * _RADIX // 4, 32)
        self.conv = nn.Conv2d(width, width * _RADIX, 3, padding=dilation, dilation=dilation, groups=_RADIX, bias=False)
        nn.init.kaiming_normal_(self.conv.weight, mode="fan_out", nonlinearity="relu")
        self.add_module(f"{norm.key}0", norm.build(width * _RADIX))
        self.fc1 = nn.Conv2d(width, inner, 1)
        self.add_module(f"{norm.key}1", norm.build(inner))
        self.fc2 = nn.Conv2d(inner, width * _RADIX, 1)
        self._key = norm.key

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.get_submodule(f"{self._key}0")(self.conv(x)))
        batch, width = x.shape[:2]
        splits = y.reshape(batch, _RADIX, width, *y.shape[2:])
        mean = splits.sum(dim=1).mean(dim=(2, 3), keepdim=True)
        hidden = F.relu(self.get_submodule(f"{self._key}1")(self.fc1(mean)))
        shares = torch.softmax(self.fc2(hidden).reshape(batch, _RADIX, width, 1, 1), dim=1)
        return (splits * shares).sum(dim=1)
