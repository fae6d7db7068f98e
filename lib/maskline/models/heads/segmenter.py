"""Segmenter's mask transformer: classes are tokens beside the patches; a logit is how alike a class and a patch are.

Source: Strudel et al., "Segmenter: Transformer for Semantic Segmentation", 2021; names as in
MMSegmentation (Apache-2.0).
"""

from typing import Unpack

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from maskline.models.heads.base import Features, Head, HeadOptions, InputTransform
from maskline.models.layers import size_of
from maskline.models.transformer import EncoderLayer, init_linear, rising, to_map, to_tokens

_EPS = 1e-5


class SegmenterHead(Head):
    """Blocks over patches and classes; ``channels`` is the width of a token, ``dropout`` and the norm have no effect.

    Args:
        num_layers: Blocks.
        num_heads: Attention heads; must divide ``channels``.
        drop_path: Largest share of the perceptrons' branches left out; rises linearly over the blocks.
        input_transform: See ``Head``.
        options: See ``HeadOptions``.
    """

    def __init__(
        self,
        *,
        num_layers: int = 2,
        num_heads: int = 4,
        drop_path: float = 0.1,
        input_transform: InputTransform | None = None,
        **options: Unpack[HeadOptions],
    ) -> None:
        super().__init__(options, input_transform=input_transform, with_classifier=False)
        width = self.channels
        self.dec_proj = nn.Linear(self.in_channels, width)
        self.cls_emb = nn.Parameter(torch.empty(1, self.num_classes, width))
        nn.init.trunc_normal_(self.cls_emb, std=0.02)
        self.layers = nn.ModuleList(
            EncoderLayer(width, num_heads=num_heads, drop_path=share, eps=_EPS)
            for share in rising(drop_path, num_layers)
        )
        self.decoder_norm = nn.LayerNorm(width, eps=_EPS)
        self.patch_proj = nn.Linear(width, width, bias=False)
        self.classes_proj = nn.Linear(width, width, bias=False)
        self.mask_norm = nn.LayerNorm(self.num_classes, eps=_EPS)
        self.apply(init_linear)

    def forward(self, features: Features, previous: Tensor | None = None) -> Tensor:
        """Map features to logits at the feature's resolution."""
        del previous
        x = self.select(features)
        patches = self.dec_proj(to_tokens(x))
        tokens = torch.cat([patches, self.cls_emb.expand(x.shape[0], -1, -1)], dim=1)
        for layer in self.layers:
            tokens = layer(tokens)
        tokens = self.decoder_norm(tokens)
        patches = F.normalize(self.patch_proj(tokens[:, : -self.num_classes]), dim=2)
        classes = F.normalize(self.classes_proj(tokens[:, -self.num_classes :]), dim=2)
        return to_map(self.mask_norm(patches @ classes.transpose(1, 2)), size_of(x))
