"""Mask2Former's head.

Source: Cheng et al., "Masked-attention Mask Transformer for Universal Image Segmentation", 2022; names as in
MMSegmentation and MMDetection (Apache-2.0).
"""

from collections.abc import Sequence
from typing import Unpack

import torch
from torch import Tensor, nn

from maskline.core.errors import ShapeError
from maskline.models.heads.base import Features, HeadOptions
from maskline.models.heads.deformable import DeformableAttention, DeformableEncoder
from maskline.models.heads.mask_classification import Decoder, MaskHead, decoder_norm, spread_evenly
from maskline.models.heads.transformer import sine_positions, to_map, to_tokens
from maskline.models.layers import ConvNormAct, Norm, resize, size_of


class Mask2FormerHead(MaskHead):
    """Queries look, level by level, at the pixels that their own masks had before.

    Args:
        strides: Of the features, px.
        num_queries: Masks of an image.
        num_layers: Layers of queries; training compares the predictions of each, and those before the first.
        num_heads: Of each attention.
        feedforward_channels: Channels inside of the queries' perceptrons.
        num_levels: Coarsest features that pixels and queries look at; finer ones are added to them.
        num_points: Places that a head of a pixel looks at in each level.
        encoder_layers: Layers in which pixels look at each other.
        encoder_feedforward_channels: Channels inside of the pixels' perceptrons.
        options: See ``HeadOptions``; several features, finest first; ``dropout`` is that of the attentions and
            perceptrons.
    """

    def __init__(
        self,
        *,
        strides: Sequence[int],
        num_queries: int = 100,
        num_layers: int = 9,
        num_heads: int = 8,
        feedforward_channels: int = 2048,
        num_levels: int = 3,
        num_points: int = 4,
        encoder_layers: int = 6,
        encoder_feedforward_channels: int = 1024,
        **options: Unpack[HeadOptions],
    ) -> None:
        super().__init__(options, strides=strides, num_queries=num_queries, num_heads=num_heads)
        channels = self.channels
        if num_levels > len(self.in_widths):
            problem = f"num_levels {num_levels}, but {len(self.in_widths)} features"
            raise ShapeError("Mask2Former head", problem, "give it more features, or fewer levels")
        encoder = DeformableEncoder(
            channels,
            num_layers=encoder_layers,
            num_heads=num_heads,
            num_levels=num_levels,
            num_points=num_points,
            hidden=encoder_feedforward_channels,
            dropout=options["dropout"],
        )
        self.pixel_decoder = _PixelDecoder(self.in_widths, channels, encoder=encoder, num_levels=num_levels)
        self.query_feat = nn.Embedding(num_queries, channels)
        self.level_embed = nn.Embedding(num_levels, channels)
        self.transformer_decoder = Decoder(
            channels,
            num_layers=num_layers,
            num_heads=num_heads,
            hidden=feedforward_channels,
            dropout=options["dropout"],
            cross_first=True,
        )
        for parameter in self.transformer_decoder.parameters():
            if parameter.ndim > 1:
                nn.init.xavier_normal_(parameter)

    def predict(self, features: Features) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """See ``MaskHead``; what the queries predict before the first layer comes first."""
        pixels, levels = self.pixel_decoder(self.select_all(features))
        sizes = [size_of(level) for level in levels]
        sources = [
            to_tokens(level) + embedding for level, embedding in zip(levels, self.level_embed.weight, strict=True)
        ]
        places = [sine_positions(size, self.channels, like=pixels) for size in sizes]
        asking = self.query_embed.weight.unsqueeze(0)
        queries = self.query_feat.weight.expand(pixels.shape[0], -1, -1)
        predicted = [self._predict(queries, pixels)]
        for i, layer in enumerate(self.transformer_decoder.layers):
            level = i % len(levels)
            queries = layer(
                queries,
                sources[level],
                positions=asking,
                source_positions=places[level],
                allowed=_own_pixels(predicted[-1][1], sizes[level]),
            )
            predicted.append(self._predict(queries, pixels))
        classes, masks = zip(*predicted, strict=True)
        return classes, masks

    def _predict(self, queries: Tensor, pixels: Tensor) -> tuple[Tensor, Tensor]:
        output = self.transformer_decoder.post_norm(queries)
        return self.cls_embed(output), torch.einsum("nqc,nchw->nqhw", self.mask_embed(output), pixels)


@torch.no_grad()
def _own_pixels(masks: Tensor, size: tuple[int, int]) -> Tensor:
    """Return which pixels of a map each query's mask has, bool (N, Q, h*w); all of them where it has none."""
    inside = resize(masks, size, align_corners=False).flatten(2).sigmoid() >= 0.5
    return inside | ~inside.any(dim=2, keepdim=True)


class _PixelDecoder(nn.Module):
    """The coarsest features look at each other; finer ones are added to the finest of them."""

    def __init__(
        self, in_channels: Sequence[int], channels: int, *, encoder: DeformableEncoder, num_levels: int
    ) -> None:
        super().__init__()
        coarsest_first = list(reversed(in_channels))
        norm = decoder_norm(channels)
        self.input_convs = nn.ModuleList(_Projection(width, channels, norm) for width in coarsest_first[:num_levels])
        self.encoder = encoder
        self.level_encoding = nn.Embedding(num_levels, channels)
        finer = coarsest_first[num_levels:]
        self.lateral_convs = nn.ModuleList(ConvNormAct(width, channels, norm=norm, activation=False) for width in finer)
        self.output_convs = nn.ModuleList(ConvNormAct(channels, channels, kernel_size=3, norm=norm) for _ in finer)
        self.mask_feature = nn.Conv2d(channels, channels, 1)
        spread_evenly(self.lateral_convs, self.output_convs, self.mask_feature)
        for parameter in self.encoder.parameters():
            if parameter.ndim > 1:
                nn.init.xavier_normal_(parameter)
        for module in self.encoder.modules():
            if isinstance(module, DeformableAttention):
                module.start()

    def forward(self, features: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Return what masks are made of, at the finest resolution, and the levels, coarsest first."""
        coarsest_first = list(reversed(features))
        maps = [project(x) for project, x in zip(self.input_convs, coarsest_first, strict=False)]
        sizes = [size_of(x) for x in maps]
        positions = [
            sine_positions(size, maps[0].shape[1], like=maps[0]) + encoding
            for size, encoding in zip(sizes, self.level_encoding.weight, strict=True)
        ]
        tokens = torch.cat([to_tokens(x) for x in maps], dim=1)
        tokens = self.encoder(tokens, positions=torch.cat(positions, dim=1), sizes=sizes)
        parts = tokens.split([height * width for height, width in sizes], dim=1)
        levels = [to_map(part, size) for part, size in zip(parts, sizes, strict=True)]
        y = levels[-1]
        finer = zip(coarsest_first[len(levels) :], self.lateral_convs, self.output_convs, strict=True)
        for x, lateral, output in finer:
            y = output(lateral(x) + resize(y, size_of(x), align_corners=False))
        return self.mask_feature(y), levels


class _Projection(nn.Module):
    """A 1x1 convolution with a bias, and its norm."""

    def __init__(self, in_channels: int, channels: int, norm: Norm) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, channels, 1)
        nn.init.xavier_uniform_(self.conv.weight)
        assert self.conv.bias is not None
        nn.init.zeros_(self.conv.bias)
        self.gn = norm.build(channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.gn(self.conv(x))  # type: ignore[no-any-return]
