"""EoMT's head: the last blocks of a plain transformer see queries beside the patches, and nothing else decodes.

While training, a query looks at the patches that its own mask had before the block, less and less often as the run goes
on, so that at its end no mask is needed between the blocks.

Source: Kerssies et al., "Your ViT is Secretly an Image Segmentation Model", 2025 (code MIT). Agrees with transformers'
EomtForUniversalSegmentation (Apache-2.0) on the same weights.
"""

import math
from typing import Any, Self, Unpack

import torch
from torch import Tensor, nn

from maskline.models.heads.base import Features, HeadOptions
from maskline.models.heads.mask_classification import MaskHead
from maskline.models.layers import resize, size_of
from maskline.models.tail import Tail
from maskline.models.transformer import norm_map, to_map, to_tokens

_EPS = 1e-6


class EoMTHead(MaskHead):
    """Takes the patches before the last blocks, and the tokens before them (``TimmMaps.cut``).

    A block's share of queries that keep to their masks is 1, then falls from the share ``(i + 1) / (blocks + 2)`` of
    the run to 0 at ``(i + 2) / (blocks + 2)``, as published for ADE20K and Cityscapes. Outside of training a block uses
    masks while that share is a half or more: all queries or none, and none at a run's end.

    Args:
        tail: The blocks.
        patch_size: Side of a patch, px.
        num_queries: Masks of an image.
        mask_annealing: The share falls; else it stays 1, in a trained network too.
        annealing_power: Of the share's fall; 1: linear.
        options: See ``HeadOptions``; ``channels`` and ``dropout`` have no effect.
    """

    def __init__(
        self,
        *,
        tail: Tail,
        patch_size: int,
        num_queries: int = 100,
        mask_annealing: bool = True,
        annealing_power: float = 0.9,
        **options: Unpack[HeadOptions],
    ) -> None:
        widths = options["in_channels"]
        width = options["channels"] = widths if isinstance(widths, int) else widths[0]
        super().__init__(options, strides=(patch_size,), num_queries=num_queries, num_heads=1, activation=nn.GELU)
        nn.init.normal_(self.query_embed.weight)
        self.tail = tail
        tail.add_prefix(num_queries)
        self.num_queries, self.patch_size = num_queries, patch_size
        self.mask_annealing, self.annealing_power = mask_annealing, annealing_power
        doublings = max(1, int(math.log2(patch_size)) - 2)
        self.upscale = nn.Sequential(*(_Doubling(width) for _ in range(doublings)))
        self._batches = 0
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))
        self.register_buffer("mask_share", torch.ones(len(tail.blocks)))
        self._uses_masks = [True] * len(tail.blocks)
        self.register_load_state_dict_post_hook(lambda head, _: head._look())  # type: ignore[no-untyped-call]

    def begin(self, *, batches: int) -> None:
        """See ``Head``: the share of masks falls over so many batches, from now."""
        self._batches = batches if self.mask_annealing else 0
        self.get_buffer("seen").zero_()
        self.get_buffer("mask_share").fill_(1.0)

    def train(self, mode: bool = True) -> Self:
        """Switch to training, or away from it: whether blocks use masks is settled then."""
        super().train(mode)
        self._look()
        return self

    def mask_size(self, masks: Tensor) -> tuple[int, int]:
        """See ``MaskHead``."""
        height, width = size_of(masks)
        steps = 2 ** len(self.upscale)
        return height // steps * self.patch_size, width // steps * self.patch_size

    def predict(self, features: Features) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """See ``MaskHead``; while training, before each block, what would be predicted without it and the rest."""
        patches, *prefix = self.select_all(features)
        size, count = size_of(patches), patches.shape[0]
        queries = self.query_embed.weight.expand(count, -1, -1)
        tokens = torch.cat([queries, *(to_tokens(x) for x in prefix), to_tokens(patches)], dim=1)
        shares = self._shares() if self.training else None
        shared = self.tail.rotations(size)
        predicted = []
        for i, block in enumerate(self.tail.blocks.values()):
            allowed = None
            if shares is not None or self._uses_masks[i]:
                predicted.append(self._predict(tokens, size))
                allowed = self._allowed(predicted[-1][1], size, tokens.shape[1], None if shares is None else shares[i])
            tokens = block(tokens, attn_mask=allowed, **shared)
        predicted.append(self._predict(tokens, size))
        classes, masks = zip(*predicted, strict=True)
        return classes, masks

    def _predict(self, tokens: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        tokens = self.tail.norm(tokens)
        queries, patches = tokens[:, : self.num_queries], tokens[:, self.num_queries + self.tail.prefix :]
        pixels = self.upscale(to_map(patches, size))
        return self.cls_embed(queries), torch.einsum("nqc,nchw->nqhw", self.mask_embed(queries), pixels)

    @torch.no_grad()
    def _allowed(self, masks: Tensor, size: tuple[int, int], length: int, share: Tensor | None) -> Tensor:
        """Return which tokens each token sees, bool (N, 1, L, L): all, but for the patches that a query sees."""
        inside = resize(masks, size, align_corners=False).flatten(2) > 0
        if share is not None:
            freed = torch.rand(inside.shape[:2], device=inside.device) >= share
            inside = inside | freed.unsqueeze(2)
        count = inside.shape[0]  # not len(): a tracer would take it for a number
        others = inside.new_ones(count, self.num_queries, length - inside.shape[2])
        patches = inside.new_ones(count, length - self.num_queries, length)
        return torch.cat([torch.cat([others, inside], dim=2), patches], dim=1).unsqueeze(1)

    @torch.no_grad()
    def _shares(self) -> Tensor:
        """Return each block's share of queries that keep to their masks in this batch, and count it."""
        seen, kept = self.get_buffer("seen"), self.get_buffer("mask_share")
        if self._batches:
            count = len(kept)
            starts = torch.arange(1, count + 1, device=kept.device, dtype=torch.float64) / (count + 2)
            done = seen.double() / self._batches
            progress = ((done - starts) * (count + 2)).clamp(0, 1)
            kept.copy_((1 - progress) ** self.annealing_power)
        seen.add_(1)
        return kept.clone()

    def _look(self) -> None:
        """Read on the host whether blocks use masks outside of training."""
        if not self.training and self.get_buffer("mask_share").device.type != "meta":
            self._uses_masks = [share >= 0.5 for share in self.get_buffer("mask_share").tolist()]


class _Doubling(nn.Module):
    """Twice the resolution: a transposed convolution, GELU, a 3x3 convolution a channel, a norm over channels."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(width, width, 2, stride=2)
        self.act = nn.GELU()
        self.conv = nn.Conv2d(width, width, 3, padding=1, groups=width, bias=False)
        self.norm = nn.LayerNorm(width, eps=_EPS)

    def forward(self, x: Tensor) -> Tensor:
        """Map NCHW to NCHW."""
        y: Any = self.conv(self.act(self.up(x)))
        return norm_map(y, self.norm)
