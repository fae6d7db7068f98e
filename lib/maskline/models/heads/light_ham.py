"""SegNeXt's head: a light "hamburger", a low-rank approximation between two convolutions.

Sources: Guo et al., "SegNeXt: Rethinking Convolutional Attention Design for Semantic Segmentation", 2022; Geng et al.,
"Is Attention Better Than Matrix Decomposition?", 2021; names as in MMSegmentation (Apache-2.0).
"""

import math
from typing import Unpack

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from maskline.models.heads.base import Features, Head, HeadOptions
from maskline.models.layers import ConvNormAct, Norm


class LightHamHead(Head):
    """Features resized to the first one's, joined, beside the nearest matrix of low rank.

    Args:
        ham_channels: Channels of the matrix.
        rank: Its rank.
        train_steps: Steps of the approximation while training.
        eval_steps: Steps otherwise.
        num_groups: The head's norms are group norms of so many groups, or fewer where it does not divide the channels;
            None: the norm of the options.
        options: See ``HeadOptions``.
    """

    def __init__(
        self,
        *,
        ham_channels: int = 512,
        rank: int = 64,
        train_steps: int = 6,
        eval_steps: int = 7,
        num_groups: int | None = 32,
        **options: Unpack[HeadOptions],
    ) -> None:
        super().__init__(options, input_transform="resize_concat")
        norm, last_norm = (_grouped(self.norm, num_groups, width) for width in (ham_channels, self.channels))
        self.squeeze = ConvNormAct(self.in_channels, ham_channels, norm=norm)
        self.hamburger = _Hamburger(ham_channels, rank, train_steps=train_steps, eval_steps=eval_steps, norm=norm)
        self.align = ConvNormAct(ham_channels, self.channels, norm=last_norm)

    def forward(self, features: Features, previous: Tensor | None = None) -> Tensor:
        """Map features to logits at the first one's resolution."""
        del previous
        return self.classify(self.align(self.hamburger(self.squeeze(self.select(features)))))


def _grouped(norm: Norm | None, num_groups: int | None, channels: int) -> Norm | None:
    if norm is None or num_groups is None:
        return norm
    return Norm(kind="gn", num_groups=math.gcd(num_groups, channels), trainable=norm.trainable)


class _Hamburger(nn.Module):
    """The matrix of pixels and channels, approximated by non-negative factors, added to the input.

    MMSegmentation draws the factors' start anew in each call, so that its predictions differ from call to call. Here it
    is drawn once, by a seed of its own: the same for every network of one size.
    """

    bases: Tensor

    def __init__(self, channels: int, rank: int, *, train_steps: int, eval_steps: int, norm: Norm | None) -> None:
        super().__init__()
        self.train_steps, self.eval_steps = train_steps, eval_steps
        self.ham_in = ConvNormAct(channels, channels, norm=None, activation=False)
        self.ham_out = ConvNormAct(channels, channels, norm=norm, activation=False)
        start = torch.rand(channels, rank, generator=torch.Generator("cpu").manual_seed(0), device="cpu")
        self.register_buffer("bases", F.normalize(start, dim=0), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        y = self.ham_out(self._approximation(F.relu(self.ham_in(x))))
        return F.relu(x + y)

    def _approximation(self, x: Tensor) -> Tensor:
        """Return the product of the factors, of the input's type: multiplicative updates (Lee, Seung, 2001)."""
        # Quotients of sums over all pixels, too large for 16 bits.
        with torch.autocast(x.device.type, enabled=False):
            matrix = x.float().flatten(2)  # N, channels, pixels
            bases = self.bases.expand(x.shape[0], -1, -1)
            shares = torch.softmax(matrix.transpose(1, 2) @ bases, dim=2)  # N, pixels, rank
            for _ in range(self.train_steps if self.training else self.eval_steps):
                shares = _updated(shares, matrix.transpose(1, 2), bases)
                bases = _updated(bases, matrix, shares)
            shares = _updated(shares, matrix.transpose(1, 2), bases)
            return (bases @ shares.transpose(1, 2)).reshape(x.shape)


def _updated(factor: Tensor, matrix: Tensor, other: Tensor) -> Tensor:
    """Return a factor nearer to ``matrix``, given the other one."""
    return factor * (matrix @ other) / (factor @ (other.transpose(1, 2) @ other) + 1e-6)
