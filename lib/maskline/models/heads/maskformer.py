"""MaskFormer's head.

Source: Cheng et al., "Per-Pixel Classification is Not All You Need for Semantic Segmentation", 2021; names as in
MMSegmentation and MMDetection (Apache-2.0).
"""

from collections.abc import Sequence
from typing import Unpack

import torch
from torch import Tensor, nn

from maskline.models.heads.base import Features, HeadOptions
from maskline.models.heads.mask_classification import Decoder, MaskHead, decoder_norm, spread_evenly
from maskline.models.heads.transformer import sine_positions, to_tokens
from maskline.models.layers import ConvNormAct, size_of


class MaskFormerHead(MaskHead):
    """Queries look at the coarsest feature; a pyramid gives what their masks are made of.

    Args:
        strides: Of the features, px.
        num_queries: Masks of an image.
        num_layers: Layers of queries; training compares the predictions of each.
        num_heads: Of each attention.
        feedforward_channels: Channels inside of the perceptrons.
        options: See ``HeadOptions``; several features, finest first; ``dropout`` is that of the attentions and
            perceptrons.
    """

    def __init__(
        self,
        *,
        strides: Sequence[int],
        num_queries: int = 100,
        num_layers: int = 6,
        num_heads: int = 8,
        feedforward_channels: int = 2048,
        **options: Unpack[HeadOptions],
    ) -> None:
        super().__init__(options, strides=strides, num_queries=num_queries, num_heads=num_heads)
        coarsest, channels = self.in_widths[-1], self.channels
        self.pixel_decoder = _Pyramid(self.in_widths, channels)
        self.decoder_input_proj = nn.Identity() if coarsest == channels else nn.Conv2d(coarsest, channels, 1)
        spread_evenly(self.pixel_decoder, self.decoder_input_proj)
        self.transformer_decoder = Decoder(
            channels,
            num_layers=num_layers,
            num_heads=num_heads,
            hidden=feedforward_channels,
            dropout=options["dropout"],
            cross_first=False,
        )
        for parameter in self.transformer_decoder.parameters():
            if parameter.ndim > 1:
                nn.init.xavier_uniform_(parameter)

    def predict(self, features: Features) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """See ``MaskHead``."""
        chosen = self.select_all(features)
        pixels = self.pixel_decoder(chosen)
        memory = self.decoder_input_proj(chosen[-1])
        positions = sine_positions(size_of(memory), self.channels, like=memory)
        asking = self.query_embed.weight.unsqueeze(0)
        queries, seen = asking.new_zeros(asking.shape).expand(len(memory), -1, -1), to_tokens(memory)
        classes, masks = [], []
        for layer in self.transformer_decoder.layers:
            queries = layer(queries, seen, positions=asking, source_positions=positions)
            output = self.transformer_decoder.post_norm(queries)
            classes.append(self.cls_embed(output))
            masks.append(torch.einsum("nqc,nchw->nqhw", self.mask_embed(output), pixels))
        return tuple(classes), tuple(masks)


class _Pyramid(nn.Module):
    """From the coarsest feature to the finest: enlarged to the nearest pixel, and added."""

    def __init__(self, in_channels: Sequence[int], channels: int) -> None:
        super().__init__()
        *fine, coarsest = in_channels
        norm = decoder_norm(channels)
        self.lateral_convs = nn.ModuleList(ConvNormAct(width, channels, norm=norm, activation=False) for width in fine)
        self.output_convs = nn.ModuleList(ConvNormAct(channels, channels, kernel_size=3, norm=norm) for _ in fine)
        self.last_feat_conv = ConvNormAct(coarsest, channels, kernel_size=3, norm=norm)
        self.mask_feature = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        *fine, coarsest = features
        y = self.last_feat_conv(coarsest)
        steps = list(zip(fine, self.lateral_convs, self.output_convs, strict=True))
        for x, lateral, output in reversed(steps):
            y = output(lateral(x) + nn.functional.interpolate(y, size_of(x), mode="nearest"))
        return self.mask_feature(y)  # type: ignore[no-any-return]
