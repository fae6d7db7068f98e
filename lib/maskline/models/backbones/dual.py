"""What DDRNet and PIDNet share: residual blocks that may end without ReLU, a stem, pooling pyramids.

Sources: Hong et al., "Deep Dual-resolution Networks for Real-time and Accurate Semantic Segmentation of Road Scenes",
2021 (MIT); Xu, Xiong, Bhattacharyya, "PIDNet: A Real-time Semantic Segmentation Network Inspired by PID Controllers",
2023 (MIT); names as in MMSegmentation (Apache-2.0).
"""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from maskline.models.backbones.residual import conv
from maskline.models.layers import ConvNormAct, Norm, NormActConv, resize, size_of

Shortcut = Callable[..., nn.Module]
_EXPANSION = 2
_POOLS = ((5, 2), (9, 4), (17, 8))  # kernel and stride; the whole image beside them

DEEPEST_STRIDE = 64 * max(step for _, step in _POOLS)
"""Of both networks: their context has stride 64 before its pyramid."""


def plain_shortcut(in_channels: int, out_channels: int, *, stride: int, norm: Norm) -> nn.Module:
    """Return a 1x1 convolution and a norm, numbered: DDRNet's."""
    return nn.Sequential(conv(in_channels, out_channels, kernel_size=1, stride=stride), norm.build(out_channels))


def named_shortcut(in_channels: int, out_channels: int, *, stride: int, norm: Norm) -> nn.Module:
    """Return a 1x1 convolution and a norm, by their names: PIDNet's."""
    return ConvNormAct(in_channels, out_channels, stride=stride, norm=norm, activation=False)


class Residual(nn.Module):
    """Convolutions added to their input.

    Args:
        kind: ``basic``: two 3x3; ``bottleneck``: 1x1, 3x3, 1x1 to twice the width.
        in_channels: Channels of the input.
        width: Channels of the convolutions.
        stride: Step, px.
        activation: ReLU at the end.
        shortcut: Makes what brings the input to the output's shape.
        norm: Norm after each convolution.
    """

    def __init__(
        self,
        kind: Literal["basic", "bottleneck"],
        in_channels: int,
        width: int,
        *,
        stride: int = 1,
        activation: bool,
        shortcut: Shortcut,
        norm: Norm,
    ) -> None:
        super().__init__()
        steps = [(in_channels, width, 3, stride), (width, width, 3, 1)]
        if kind == "bottleneck":
            steps = [(in_channels, width, 1, 1), (width, width, 3, stride), (width, _EXPANSION * width, 1, 1)]
        for number, (before, after, kernel, step) in enumerate(steps, start=1):
            last = number == len(steps)
            layer = ConvNormAct(before, after, kernel_size=kernel, stride=step, norm=norm, activation=not last)
            self.add_module(f"conv{number}", layer)
        self.num_convs = len(steps)
        self.out_channels = steps[-1][1]
        fits = stride == 1 and in_channels == self.out_channels
        self.downsample = None if fits else shortcut(in_channels, self.out_channels, stride=stride, norm=norm)
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        """Map NCHW to NCHW."""
        y = x
        for number in range(1, self.num_convs + 1):
            y = self.get_submodule(f"conv{number}")(y)
        y = y + (x if self.downsample is None else self.downsample(x))
        return F.relu(y) if self.activation else y


def residual_layer(
    kind: Literal["basic", "bottleneck"],
    in_channels: int,
    width: int,
    *,
    count: int,
    stride: int = 1,
    shortcut: Shortcut,
    norm: Norm,
) -> nn.Sequential:
    """Return blocks one after the other; ReLU between basic ones, none after the last of several or a bottleneck."""
    blocks: list[Residual] = []
    before = in_channels
    for i in range(count):
        activation = kind == "basic" and (count == 1 or i < count - 1)
        step = stride if i == 0 else 1
        blocks.append(Residual(kind, before, width, stride=step, activation=activation, shortcut=shortcut, norm=norm))
        before = blocks[-1].out_channels
    return nn.Sequential(*blocks)


def stem(in_channels: int, channels: int, *, count: int, shortcut: Shortcut, norm: Norm) -> nn.Sequential:
    """Return what comes before the branches: stride 8, twice ``channels``; ``count`` blocks at strides 4 and 8."""
    return nn.Sequential(
        ConvNormAct(in_channels, channels, kernel_size=3, stride=2, norm=norm),
        ConvNormAct(channels, channels, kernel_size=3, stride=2, norm=norm),
        residual_layer("basic", channels, channels, count=count, shortcut=shortcut, norm=norm),
        nn.ReLU(),
        residual_layer("basic", channels, 2 * channels, count=count, stride=2, shortcut=shortcut, norm=norm),
        nn.ReLU(),
    )


class _Pyramid(nn.Module):
    """The feature, its means over windows of three sizes, and its mean."""

    def __init__(self, in_channels: int, channels: int, out_channels: int, *, norm: Norm) -> None:
        super().__init__()
        pools: list[nn.Module] = [nn.AvgPool2d(side, stride=step, padding=side // 2) for side, step in _POOLS]
        whole = NormActConv(in_channels, channels, norm=norm)
        pooled = [nn.Sequential(pool, NormActConv(in_channels, channels, norm=norm)) for pool in [*pools, _Mean()]]
        self.scales = nn.ModuleList([whole, *pooled])
        self.compression = NormActConv((len(pooled) + 1) * channels, out_channels, norm=norm)
        self.shortcut = NormActConv(in_channels, out_channels, norm=norm)

    def branches(self, x: Tensor) -> list[Tensor]:
        """Return each branch at the input's size."""
        return [resize(scale(x), size_of(x), align_corners=False) for scale in self.scales]


class StepwisePyramid(_Pyramid):
    """Deep aggregation pyramid pooling (DDRNet's DAPPM): each branch is convolved with the one before.

    Args:
        in_channels: Channels of the input.
        channels: Channels of each branch.
        out_channels: Channels of the output.
        norm: Norm before each convolution.
    """

    def __init__(self, in_channels: int, channels: int, out_channels: int, *, norm: Norm) -> None:
        super().__init__(in_channels, channels, out_channels, norm=norm)
        self.processes = nn.ModuleList(
            NormActConv(channels, channels, kernel_size=3, norm=norm) for _ in range(len(self.scales) - 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map NCHW to NCHW of the same size."""
        first, *others = self.branches(x)
        outputs = [first]
        for process, branch in zip(self.processes, others, strict=True):
            outputs.append(process(branch + outputs[-1]))
        return self.compression(torch.cat(outputs, dim=1)) + self.shortcut(x)  # type: ignore[no-any-return]


class ParallelPyramid(_Pyramid):
    """Parallel aggregation pyramid pooling (PIDNet's PAPPM): all branches are convolved at once.

    Args:
        in_channels: Channels of the input.
        channels: Channels of each branch.
        out_channels: Channels of the output.
        norm: Norm before each convolution.
    """

    def __init__(self, in_channels: int, channels: int, out_channels: int, *, norm: Norm) -> None:
        super().__init__(in_channels, channels, out_channels, norm=norm)
        count = len(self.scales) - 1
        self.processes = NormActConv(count * channels, count * channels, kernel_size=3, groups=count, norm=norm)

    def forward(self, x: Tensor) -> Tensor:
        """Map NCHW to NCHW of the same size."""
        first, *others = self.branches(x)
        joint = self.processes(torch.cat([branch + first for branch in others], dim=1))
        return self.compression(torch.cat([first, joint], dim=1)) + self.shortcut(x)  # type: ignore[no-any-return]


class _Mean(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mean(dim=(2, 3), keepdim=True)
