"""Building blocks that backbones, necks and heads share: norms, convolution blocks, resizing.

Submodules are named as in MMSegmentation's checkpoints (``conv``, ``bn``, ``gn``, ``depthwise_conv``, ...), so
that its weights load without renaming.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from maskline.models.sync_norm import SyncBatchNorm

NormKind = Literal["bn", "syncbn", "gn", "in"]


@dataclass(frozen=True, kw_only=True)
class Norm:
    """Which normalization follows a convolution.

    Args:
        kind: ``bn``; ``syncbn`` (statistics over all processes when there are several, else ``bn``); ``gn``; ``in``.
        num_groups: Groups of ``gn``.
        eps: Added to the variance.
        momentum: Share of the new batch in the running statistics (``bn``, ``syncbn``).
        trainable: False: weight and bias keep their first values.
    """

    kind: NormKind = "bn"
    num_groups: int = 32
    eps: float = 1e-5
    momentum: float = 0.1
    trainable: bool = True

    @property
    def key(self) -> str:
        """Name of the submodule in checkpoints: the same for ``bn`` and ``syncbn``."""
        return {"bn": "bn", "syncbn": "bn", "gn": "gn", "in": "in"}[self.kind]

    def build(self, channels: int) -> nn.Module:
        """Return the layer for ``channels`` channels, weight 1 and bias 0."""
        layer = self._layer(channels)
        for parameter in layer.parameters():
            parameter.requires_grad_(self.trainable)
        return layer

    def _layer(self, channels: int) -> nn.Module:
        match self.kind:
            case "gn":
                return nn.GroupNorm(self.num_groups, channels, eps=self.eps)
            case "in":
                return nn.InstanceNorm2d(channels, eps=self.eps)
            case "syncbn":
                return SyncBatchNorm(channels, eps=self.eps, momentum=self.momentum)
            case "bn":
                return nn.BatchNorm2d(channels, eps=self.eps, momentum=self.momentum)


BATCH_NORM = Norm()


class ConvNormAct(nn.Module):
    """Convolution, norm, ReLU: ``conv``, then ``bn`` (or the norm's key), without a bias where a norm follows.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        kernel_size: Side of the kernel, px.
        stride: Step, px.
        dilation: Distance between the kernel's taps, px; the padding keeps the size (at stride 1).
        groups: Groups of the convolution.
        norm: None: no norm, and the convolution has a bias.
        activation: False: no ReLU.
        bias: False: no bias where there is no norm either.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        kernel_size: int = 1,
        stride: int = 1,
        dilation: int = 1,
        groups: int = 1,
        norm: Norm | None = BATCH_NORM,
        activation: bool = True,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            in_channels,
            out_channels,
            kernel_size,
            stride=stride,
            padding=kernel_size // 2 * dilation,
            dilation=dilation,
            groups=groups,
            bias=bias and norm is None,
        )
        nn.init.kaiming_normal_(self.conv.weight, mode="fan_out", nonlinearity="relu")
        if self.conv.bias is not None:
            nn.init.zeros_(self.conv.bias)
        self._norm_key = None if norm is None else norm.key
        if norm is not None:
            self.add_module(norm.key, norm.build(out_channels))
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        """Map NCHW to NCHW."""
        return self.finish(self.conv(x))

    def finish(self, x: Tensor) -> Tensor:
        """Normalize and activate what ``conv`` gave; ``x`` may be overwritten."""
        if self._norm_key is not None:
            x = self.get_submodule(self._norm_key)(x)
        return F.relu(x, inplace=True) if self.activation else x  # nobody else holds it


class NormActConv(nn.Module):
    """Norm, ReLU, convolution (``bn`` or the norm's key, then ``conv``) without a bias.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        kernel_size: Side of the kernel, px; the padding keeps the size.
        groups: Groups of the convolution.
        norm: None: no norm.
    """

    def __init__(
        self, in_channels: int, out_channels: int, *, kernel_size: int = 1, groups: int = 1, norm: Norm | None
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            in_channels, out_channels, kernel_size, padding=kernel_size // 2, groups=groups, bias=False
        )
        nn.init.kaiming_normal_(self.conv.weight, mode="fan_out", nonlinearity="relu")
        self._norm_key = None if norm is None else norm.key
        if norm is not None:
            self.add_module(norm.key, norm.build(in_channels))

    def forward(self, x: Tensor) -> Tensor:
        """Map NCHW to NCHW."""
        if self._norm_key is not None:
            x = self.get_submodule(self._norm_key)(x)
        return self.conv(F.relu(x))  # type: ignore[no-any-return]


class SeparableConv(nn.Module):
    """A 3x3 convolution in two steps: one a channel (``depthwise_conv``), then 1x1 (``pointwise_conv``)."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        stride: int = 1,
        dilation: int = 1,
        norm: Norm | None = BATCH_NORM,
        depthwise_activation: bool = True,
    ) -> None:
        super().__init__()
        self.depthwise_conv = ConvNormAct(
            in_channels,
            in_channels,
            kernel_size=3,
            stride=stride,
            dilation=dilation,
            groups=in_channels,
            norm=norm,
            activation=depthwise_activation,
        )
        self.pointwise_conv = ConvNormAct(in_channels, out_channels, norm=norm)

    def forward(self, x: Tensor) -> Tensor:
        """Map NCHW to NCHW."""
        x = self.depthwise_conv(x)
        return self.pointwise_conv(x)  # type: ignore[no-any-return]


class DropPath(nn.Module):
    """Leaves a residual branch out for a random share of the samples while training; the others are scaled up.

    Args:
        prob: Probability that a sample's branch is left out.

    Source: Huang et al., "Deep Networks with Stochastic Depth", 2016.
    """

    def __init__(self, prob: float) -> None:
        super().__init__()
        self.prob = prob

    def forward(self, branch: Tensor) -> Tensor:
        """Return ``branch`` (N first), or zeros in the rows that are left out."""
        if not self.training or self.prob == 0:
            return branch
        kept = torch.rand(branch.shape[0], *[1] * (branch.ndim - 1), device=branch.device) >= self.prob
        return branch * kept / (1 - self.prob)


def size_of(x: Tensor) -> tuple[int, int]:
    """Return height and width of an NCHW tensor."""
    return x.shape[2], x.shape[3]


def resize(x: Tensor, size: tuple[int, int], *, align_corners: bool) -> Tensor:
    """Return ``x`` (NCHW) resized to ``size`` (height, width) by bilinear interpolation."""
    # The same size gives the same numbers. A graph that is being traced has to hold for other sizes too.
    if not torch.compiler.is_compiling() and size_of(x) == size:
        return x
    return F.interpolate(x, size=size, mode="bilinear", align_corners=align_corners)


def enlarge(x: Tensor, scale: int, *, align_corners: bool) -> Tensor:
    """Return ``x`` (NCHW) at ``scale`` times its height and width by bilinear interpolation."""
    return resize(x, (scale * x.shape[2], scale * x.shape[3]), align_corners=align_corners)
