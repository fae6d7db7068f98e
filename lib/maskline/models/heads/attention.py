"""Blocks that let pixels see each other, which the attention heads share.

Submodules are named as in MMSegmentation's checkpoints (Apache-2.0).

Sources: Wang et al., "Non-local Neural Networks", 2018; Cao et al., "GCNet", 2019; Yin et al., "Disentangled Non-Local
Neural Networks", 2020; Huang et al., "CCNet", 2019; Fu et al., "Dual Attention Network for Scene Segmentation", 2019.
"""

import itertools
from collections.abc import Collection
from typing import Literal

import torch
from torch import Tensor, nn

from maskline.models.layers import ConvNormAct, Norm, size_of


class SelfAttention(nn.Module):
    """Pixels of one feature query those of another: softmax of query times key, applied to the values.

    Args:
        query_channels: Channels of the feature that queries.
        key_channels: Channels of the feature that gives keys and values.
        channels: Channels of queries and keys, and of values where ``project_out``.
        out_channels: Channels of the output.
        norm: Norm of the convolutions that have one.
        keys_normed: Queries and keys are convolution, norm and ReLU; else a 1x1 convolution alone.
        values_normed: So are values and the output.
        num_convs: Convolutions of the query and key projections.
        scaled: Scores are divided by the root of ``channels``.
        shared: Queries and keys have one projection, registered under both names.
        project_out: Values have ``channels``, and a last convolution, which starts at 0 where it has no norm.
        downsample: Maps keys and values (NCHW) to fewer places, (N, C, P); None: all pixels.
    """

    def __init__(
        self,
        *,
        query_channels: int,
        key_channels: int,
        channels: int,
        out_channels: int,
        norm: Norm | None,
        keys_normed: bool = False,
        values_normed: bool = False,
        num_convs: int = 1,
        scaled: bool = True,
        shared: bool = False,
        project_out: bool = False,
        downsample: nn.Module | None = None,
    ) -> None:
        super().__init__()

        def keys(width: int) -> nn.Module:
            return _projection(width, channels, num_convs=num_convs, normed=keys_normed, norm=norm)

        self.scaled = scaled
        self.key_project = keys(key_channels)
        self.query_project = self.key_project if shared else keys(query_channels)
        width = channels if project_out else out_channels
        self.value_project = _projection(key_channels, width, normed=values_normed, norm=norm)
        self.out_project = _projection(width, out_channels, normed=values_normed, norm=norm) if project_out else None
        if isinstance(self.out_project, nn.Conv2d):
            nn.init.zeros_(self.out_project.weight)
        self.key_downsample = downsample

    def forward(self, x: Tensor, source: Tensor) -> Tensor:
        """Return the output at the resolution of ``x``, which queries ``source`` (both NCHW)."""
        query = self.query_project(x).flatten(2).transpose(1, 2)
        reduce = torch.nn.Flatten(2) if self.key_downsample is None else self.key_downsample
        key, value = reduce(self.key_project(source)), reduce(self.value_project(source)).transpose(1, 2)
        scores = query @ key
        attention = torch.softmax(scores * key.shape[1] ** -0.5 if self.scaled else scores, dim=2)
        context = (attention @ value).transpose(1, 2).unflatten(2, size_of(x))
        return context if self.out_project is None else self.out_project(context)  # type: ignore[no-any-return]


class NonLocal(nn.Module):
    """Each pixel and what all pixels that resemble it have on average, added.

    Args:
        channels: Channels of input and output.
        reduction: What the inner channels are fewer by.
        scaled: Scores are divided by the root of the inner channels.
        norm: Norm of the last convolution; starts at 0, so that the block starts as the identity.
        temperature: Of the disentangled form: scores are those of deviations from the mean and divided by it, and a
            mean over the image, weighed alike for all pixels, is added; None: the plain form.
    """

    def __init__(
        self, channels: int, *, reduction: int, scaled: bool, norm: Norm | None, temperature: float | None = None
    ) -> None:
        super().__init__()
        inner = max(channels // reduction, 1)
        self.factor = (inner**-0.5 if scaled else 1.0) / (1.0 if temperature is None else temperature)
        self.g, self.theta, self.phi = (
            ConvNormAct(channels, inner, norm=None, activation=False) for _ in ("value", "query", "key")
        )
        for layer in (self.g, self.theta, self.phi):
            nn.init.normal_(layer.conv.weight, std=0.01)
        self.conv_out = ConvNormAct(inner, channels, norm=norm, activation=False)
        nn.init.zeros_(self.conv_out.conv.weight if norm is None else self.conv_out.get_submodule(norm.key).weight)  # type: ignore[arg-type]
        self.conv_mask = None if temperature is None else nn.Conv2d(channels, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map NCHW to NCHW."""
        value = self.g(x).flatten(2)
        query, key = self.theta(x).flatten(2).transpose(1, 2), self.phi(x).flatten(2)
        if self.conv_mask is not None:
            query, key = query - query.mean(dim=1, keepdim=True), key - key.mean(dim=2, keepdim=True)
        attention = torch.softmax(query @ key * self.factor, dim=2)
        y = (attention @ value.transpose(1, 2)).transpose(1, 2).unflatten(2, size_of(x))
        if self.conv_mask is not None:
            y = y + weighted_mean(value, self.conv_mask(x))
        return x + self.conv_out(y)  # type: ignore[no-any-return]


def weighted_mean(values: Tensor, scores: Tensor) -> Tensor:
    """Return the mean of ``values`` (N, C, P), weighed by the softmax of ``scores`` (N, 1, H, W): (N, C, 1, 1)."""
    weights = torch.softmax(scores.flatten(2), dim=2)
    return (values @ weights.transpose(1, 2)).unsqueeze(3)


class GlobalContext(nn.Module):
    """Each pixel, changed by one mean over the image.

    Args:
        channels: Channels of input and output.
        ratio: Share of them that the mean is reduced to in between.
        pooling: ``att``: a mean with learned weights; ``avg``: the plain one.
        fusion: ``channel_add``: the mean is added; ``channel_mul``: its sigmoid scales; both: first scales.
    """

    def __init__(
        self,
        channels: int,
        *,
        ratio: float,
        pooling: Literal["att", "avg"],
        fusion: Collection[Literal["channel_add", "channel_mul"]],
    ) -> None:
        super().__init__()
        self.conv_mask = nn.Conv2d(channels, 1, 1) if pooling == "att" else None
        inner = int(channels * ratio)
        self.channel_add_conv = _bottleneck(channels, inner) if "channel_add" in fusion else None
        self.channel_mul_conv = _bottleneck(channels, inner) if "channel_mul" in fusion else None

    def forward(self, x: Tensor) -> Tensor:
        """Map NCHW to NCHW."""
        flat = x.flatten(2)
        context = flat.mean(dim=2).unsqueeze(2).unsqueeze(3)
        if self.conv_mask is not None:
            context = weighted_mean(flat, self.conv_mask(x))
        if self.channel_mul_conv is not None:
            x = x * torch.sigmoid(self.channel_mul_conv(context))
        return x if self.channel_add_conv is None else x + self.channel_add_conv(context)


class Scale(nn.Module):
    """A learned factor, 0 at first."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(0.0))

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x`` times the factor."""
        return x * self.scale


class CrissCross(nn.Module):
    """Each pixel and a mean over the pixels of its row and column, weighed by resemblance, added.

    Args:
        channels: Channels of input and output; queries and keys have an eighth.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = max(channels // 8, 1)
        self.query_conv = nn.Conv2d(channels, inner, 1)
        self.key_conv = nn.Conv2d(channels, inner, 1)
        self.value_conv = nn.Conv2d(channels, channels, 1)
        self.gamma = Scale()

    def forward(self, x: Tensor) -> Tensor:
        """Map NCHW to NCHW."""
        query, key, value = self.query_conv(x), self.key_conv(x), self.value_conv(x)
        rows = x.shape[2]
        # A pixel is in its row and in its column, and counts once.
        itself = torch.arange(rows, device=x.device)
        once = (itself.unsqueeze(1) == itself).unsqueeze(1)
        in_column = torch.einsum("nchw,nciw->nhwi", query, key).masked_fill(once, float("-inf"))
        in_row = torch.einsum("nchw,nchj->nhwj", query, key)
        attention = torch.softmax(torch.cat([in_column, in_row], dim=3), dim=3)
        y = torch.einsum("nciw,nhwi->nchw", value, attention[..., :rows])
        y = y + torch.einsum("nchj,nhwj->nchw", value, attention[..., rows:])
        return x + self.gamma(y)  # type: ignore[no-any-return]


def _projection(
    in_channels: int, out_channels: int, *, num_convs: int = 1, normed: bool, norm: Norm | None
) -> nn.Module:
    """Return 1x1 convolutions: one as it is, several in a row."""
    widths = [in_channels, *[out_channels] * num_convs]
    layers: list[nn.Module] = [
        ConvNormAct(before, after, norm=norm) if normed else nn.Conv2d(before, after, 1)
        for before, after in itertools.pairwise(widths)
    ]
    return layers[0] if num_convs == 1 else nn.Sequential(*layers)


def _bottleneck(channels: int, inner: int) -> nn.Sequential:
    last = nn.Conv2d(inner, channels, 1)
    nn.init.zeros_(last.weight)
    assert last.bias is not None
    nn.init.zeros_(last.bias)
    return nn.Sequential(nn.Conv2d(channels, inner, 1), nn.LayerNorm([inner, 1, 1]), nn.ReLU(), last)
