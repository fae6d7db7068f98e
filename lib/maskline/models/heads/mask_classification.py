"""What heads share that predict masks, and a class for each, instead of a class for each pixel.

A pixel's score of a class is the sum over the queries of the class's probability times the mask's: at least 0, and no
logarithm of anything. It is taken at the input's resolution, since a sum of enlarged masks is not the enlarged sum.

Source: Cheng et al., "Per-Pixel Classification is Not All You Need for Semantic Segmentation", 2021; names as in
MMSegmentation and MMDetection (Apache-2.0).
"""

from abc import abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from maskline.core.errors import ShapeError
from maskline.models.heads.base import Features, Head, HeadOptions, Pair
from maskline.models.heads.transformer import Attention, FeedForward
from maskline.models.layers import Norm, resize, size_of

_MOST_GROUPS = 32


class MaskPredictions(NamedTuple):
    """What training compares.

    Attributes:
        classes: By layer: class logits (N, Q, classes + 1), none last.
        masks: By layer: mask logits (N, Q, h, w).
        padded: Height and width that the masks cover, px.
    """

    classes: tuple[Tensor, ...]
    masks: tuple[Tensor, ...]
    padded: tuple[int, int]


class MaskHead(Head):
    """Base of heads with queries; takes several features, finest first.

    Args:
        options: See ``HeadOptions``; ``channels`` are those of the queries, divisible by 4.
        strides: Of the features, px.
        num_queries: Masks of an image.
        num_heads: Of each attention; divides ``channels``.
        activation: Between the layers that make masks of queries.
    """

    def __init__(
        self,
        options: HeadOptions,
        *,
        strides: Sequence[int],
        num_queries: int,
        num_heads: int,
        activation: type[nn.Module] = nn.ReLU,
    ) -> None:
        super().__init__(options, input_transform="multiple_select", with_classifier=False)
        channels = self.channels
        for name, divisor in (("num_heads", num_heads), ("4", 4)):
            if channels % divisor:
                problem = f"channels {channels} are not divisible by {name}" + ("" if name == "4" else f" {divisor}")
                raise ShapeError(type(self).__name__, problem, "choose others")
        self.finest_stride = min(strides)
        self.query_embed = nn.Embedding(num_queries, channels)
        self.cls_embed = nn.Linear(channels, self.num_classes + 1)
        self.mask_embed = nn.Sequential(
            nn.Linear(channels, channels),
            activation(),
            nn.Linear(channels, channels),
            activation(),
            nn.Linear(channels, channels),
        )

    @abstractmethod
    def predict(self, features: Features) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """Return class logits (N, Q, classes + 1) and mask logits (N, Q, h, w) of each layer."""

    def forward(self, features: Features, previous: Tensor | None = None) -> Tensor:
        """Map features to class scores at the input's resolution."""
        del previous
        classes, masks = self.predict(features)
        shown = resize(masks[-1], self.mask_size(masks[-1]), align_corners=False).sigmoid()
        return torch.einsum("nqk,nqhw->nkhw", classes[-1].softmax(2)[..., :-1], shown)

    def mask_size(self, masks: Tensor) -> tuple[int, int]:
        """Return the height and width of the image that masks (N, Q, h, w) cover, px."""
        height, width = size_of(masks)
        return height * self.finest_stride, width * self.finest_stride

    def supervise_outputs(
        self, features: Features, previous: Tensor | None, target: Tensor, *, padded: tuple[int, int]
    ) -> tuple[Tensor, dict[str, Pair]]:
        """See ``Head``: what is compared are ``MaskPredictions``. What comes first is no head's to use."""
        del previous
        classes, masks = self.predict(features)
        return masks[-1], {"": (MaskPredictions(classes, masks, padded), target)}


class Decoder(nn.Module):
    """Layers of queries, whose outputs share a norm."""

    def __init__(
        self, channels: int, *, num_layers: int, num_heads: int, hidden: int, dropout: float, cross_first: bool
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            DecoderLayer(channels, num_heads=num_heads, hidden=hidden, dropout=dropout, cross_first=cross_first)
            for _ in range(num_layers)
        )
        self.post_norm = nn.LayerNorm(channels)


class DecoderLayer(nn.Module):
    """Queries look at each other and at the image, then a perceptron; a norm after each.

    Args:
        channels: Of the queries.
        num_heads: Of both attentions.
        hidden: Channels inside of the perceptron.
        dropout: Share of attention weights and values set to 0 while training.
        cross_first: Look at the image first.
    """

    def __init__(self, channels: int, *, num_heads: int, hidden: int, dropout: float, cross_first: bool) -> None:
        super().__init__()
        self.cross_first = cross_first
        self.self_attn = Attention(channels, num_heads, dropout=dropout)
        self.cross_attn = Attention(channels, num_heads, dropout=dropout)
        self.ffn = FeedForward(channels, hidden, dropout=dropout)
        self.norms = nn.ModuleList(nn.LayerNorm(channels) for _ in range(3))

    def forward(
        self,
        queries: Tensor,
        source: Tensor,
        *,
        positions: Tensor,
        source_positions: Tensor,
        allowed: Tensor | None = None,
    ) -> Tensor:
        """Return the queries, (N, Q, channels); arguments as in ``Attention``, ``allowed`` for the image."""
        for i, look_outside in enumerate((self.cross_first, not self.cross_first)):
            if look_outside:
                queries = self.cross_attn(
                    queries, source, positions=positions, source_positions=source_positions, allowed=allowed
                )
            else:
                queries = self.self_attn(queries, queries, positions=positions, source_positions=positions)
            queries = self.norms[i](queries)
        return self.norms[2](self.ffn(queries))  # type: ignore[no-any-return]


def decoder_norm(channels: int) -> Norm:
    """Return the group norm of a pixel decoder: 32 groups, fewer where a group would have one channel."""
    groups = min(_MOST_GROUPS, max(channels // 2, 1))
    while channels % groups:
        groups -= 1
    return Norm(kind="gn", num_groups=groups)


def spread_evenly(*modules: nn.Module) -> None:
    """Start convolutions as published: Xavier's uniform weights by their inputs, bias 0."""
    for module in modules:
        for part in module.modules():
            if isinstance(part, nn.Conv2d):
                nn.init.kaiming_uniform_(part.weight, a=1)
                if part.bias is not None:
                    nn.init.zeros_(part.bias)
