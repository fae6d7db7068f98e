"""Twins: PCPVT attends to a smaller map, SVT to windows in turn with that.

Source: Chu et al., "Twins: Revisiting the Design of Spatial Attention in Vision Transformers", 2021; names, padding and
masks as in MMSegmentation (Apache-2.0). timm's masks no padding, and its layer norms have another epsilon.
"""

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from maskline.models.backbones.base import BackboneBase
from maskline.models.layers import DropPath, size_of
from maskline.models.transformer import (
    FFN,
    PatchEmbed,
    ReducedAttention,
    excess,
    init_with_convolutions,
    rising,
    to_map,
    to_tokens,
)

_EPS = 1e-5
_FAR = -1000.0  # added between a pixel of the image and one of its padding
_REDUCTIONS = (8, 4, 2, 1)


@dataclass(frozen=True, kw_only=True)
class TwinsPlan:
    """Shape of the network; one entry a stage.

    Args:
        widths: Channels.
        num_heads: Attention heads.
        depths: Blocks.
        mlp_ratios: Hidden width of a block's perceptron over its width.
        window: Side of the windows that every second block, the first included, attends to, px; 0: none does.
        normed: Whether a layer norm ends each stage.
    """

    widths: tuple[int, ...]
    num_heads: tuple[int, ...]
    depths: tuple[int, ...]
    mlp_ratios: tuple[int, ...] = (4, 4, 4, 4)
    window: int = 0
    normed: bool = False


def _pcpvt(*depths: int) -> TwinsPlan:
    return TwinsPlan(widths=(64, 128, 320, 512), num_heads=(1, 2, 5, 8), depths=depths, mlp_ratios=(8, 8, 4, 4))


def _svt(width: int, heads: int, *depths: int) -> TwinsPlan:
    doubled = [2**stage for stage in range(4)]
    return TwinsPlan(
        widths=tuple(width * factor for factor in doubled),
        num_heads=tuple(heads * factor for factor in doubled),
        depths=depths,
        window=7,
        normed=True,
    )


TWINS_PLANS = {
    "pcpvt_small": _pcpvt(3, 4, 6, 3),
    "pcpvt_base": _pcpvt(3, 4, 18, 3),
    "pcpvt_large": _pcpvt(3, 8, 27, 3),
    "svt_small": _svt(64, 2, 2, 2, 10, 4),
    "svt_base": _svt(96, 3, 2, 2, 18, 2),
    "svt_large": _svt(128, 4, 2, 2, 18, 2),
}


class Twins(BackboneBase):
    """Features of strides 4 to 32; any input size from 32 px.

    Args:
        in_channels: Channels of the images.
        plan: Shape of the network; see ``TWINS_PLANS``.
        dropout: Share of activations dropped after patches, after attention and in perceptrons.
        attention_dropout: Share of attention weights dropped.
        drop_path: Largest share of residual branches left out; rises linearly over the blocks.
    """

    def __init__(
        self,
        *,
        in_channels: int,
        plan: TwinsPlan,
        dropout: float = 0.0,
        attention_dropout: float = 0.0,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        widths = (in_channels, *plan.widths)
        self.patch_embeds = nn.ModuleList(
            PatchEmbed(widths[i], widths[i + 1], 4 if i == 0 else 2, eps=_EPS) for i in range(len(plan.widths))
        )
        self.drop = nn.Dropout(dropout)
        probs = iter(rising(drop_path, sum(plan.depths)))
        self.layers = nn.ModuleList(
            nn.ModuleList(
                _Block(
                    width,
                    num_heads=plan.num_heads[stage],
                    mlp_ratio=plan.mlp_ratios[stage],
                    reduction=_REDUCTIONS[stage],
                    window=plan.window if i % 2 == 0 else 0,
                    dropout=dropout,
                    attention_dropout=attention_dropout,
                    drop_path=next(probs),
                )
                for i in range(plan.depths[stage])
            )
            for stage, width in enumerate(plan.widths)
        )
        self.position_encodings = nn.ModuleList(_Position(width) for width in plan.widths)
        self.norm_list = nn.ModuleList(nn.LayerNorm(width, eps=_EPS) for width in plan.widths if plan.normed)
        self.channels = plan.widths
        self.strides = (4, 8, 16, 32)[: len(plan.widths)]
        self.size_divisor = 1
        self.min_side = 32  # keys and values of each stage come from a map of 1/32
        self.apply(init_with_convolutions)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Map images (NCHW, any size) to features, finest first."""
        x, outputs = images, []
        for stage, (patches, blocks, position) in enumerate(
            zip(self.patch_embeds, self.layers, self.position_encodings, strict=True)
        ):
            x = self.drop(patches(x))
            size = size_of(x)
            tokens = to_tokens(x)
            for i, block in enumerate(cast(nn.ModuleList, blocks)):
                tokens = block(tokens, size)
                if i == 0:
                    tokens = to_tokens(position(to_map(tokens, size)))
            if len(self.norm_list):
                tokens = self.norm_list[stage](tokens)
            x = to_map(tokens, size)
            outputs.append(x)
        return outputs

    def stages(self) -> list[list[nn.Module]]:
        """See ``BackboneBase``; there is no stem."""
        parts = [self.patch_embeds, self.layers, self.position_encodings, *([self.norm_list] * bool(self.norm_list))]
        return [[], *(list(stage) for stage in zip(*parts, strict=True))]


class _Position(nn.Module):
    """A depthwise convolution on a residual branch, which tells pixels where they are (NCHW)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(width, width, 3, padding=1, groups=width)

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(x) + x  # type: ignore[no-any-return]


class _Block(nn.Module):
    """Attention, then a perceptron; each on a residual branch."""

    def __init__(
        self,
        width: int,
        *,
        num_heads: int,
        mlp_ratio: int,
        reduction: int,
        window: int,
        dropout: float,
        attention_dropout: float,
        drop_path: float,
    ) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=_EPS)
        self.attn: nn.Module
        if window:
            self.attn = _WindowAttention(
                width, num_heads=num_heads, window=window, dropout=dropout, attention_dropout=attention_dropout
            )
        else:
            self.attn = ReducedAttention(
                width, num_heads=num_heads, reduction=reduction, dropout=dropout, attention_dropout=attention_dropout
            )
        self.norm2 = nn.LayerNorm(width, eps=_EPS)
        self.ffn = FFN(width, mlp_ratio * width, dropout=dropout)
        # MMSegmentation leaves a branch out inside of it and around it: a larger share than the number says. Attention
        # to windows has the outer one alone.
        self.drop_path = DropPath(drop_path)
        self.inner_drop_path = DropPath(drop_path)
        self.drops_attention_twice = not window

    def forward(self, tokens: Tensor, size: tuple[int, int]) -> Tensor:
        branch = self.attn(self.norm1(tokens), size)
        tokens = tokens + self.drop_path(self.inner_drop_path(branch) if self.drops_attention_twice else branch)
        branch = self.inner_drop_path(self.ffn(self.norm2(tokens)))
        return tokens + self.drop_path(branch)  # type: ignore[no-any-return]


class _WindowAttention(nn.Module):
    """Multi-head attention over the pixels of each window."""

    def __init__(self, width: int, *, num_heads: int, window: int, dropout: float, attention_dropout: float) -> None:
        super().__init__()
        self.window, self.num_heads = window, num_heads
        self.qkv = nn.Linear(width, 3 * width)
        self.attn_drop = nn.Dropout(attention_dropout)
        self.proj = nn.Linear(width, width)
        self.proj_drop = nn.Dropout(dropout)

    def forward(self, tokens: Tensor, size: tuple[int, int]) -> Tensor:
        """Map tokens (N, H*W, C) to as many."""
        (height, width), side, heads = size, self.window, self.num_heads
        batch, _, channels = tokens.shape
        x = tokens.reshape(batch, height, width, channels)
        x = F.pad(x, (0, 0, 0, excess(width, side), 0, excess(height, side)))
        rows, columns = x.shape[1] // side, x.shape[2] // side
        windows = x.reshape(batch, rows, side, columns, side, channels).transpose(2, 3)
        qkv = self.qkv(windows).reshape(batch, rows * columns, side * side, 3, heads, channels // heads)
        query, key, value = cast(tuple[Tensor, Tensor, Tensor], qkv.permute(3, 0, 1, 4, 2, 5).unbind(0))
        scores = (query @ key.transpose(-2, -1)) * query.shape[-1] ** -0.5 + self._mask(
            size, (rows * side, columns * side), x
        )
        attended = self.attn_drop(scores.softmax(dim=-1)) @ value
        x = attended.transpose(2, 3).reshape(batch, rows, columns, side, side, channels)
        x = x.transpose(2, 3).reshape(batch, rows * side, columns * side, channels)[:, :height, :width]
        return self.proj_drop(self.proj(x.reshape(batch, height * width, channels)))  # type: ignore[no-any-return]

    def _mask(self, size: tuple[int, int], padded: tuple[int, int], like: Tensor) -> Tensor:
        """(windows, 1, L, L): what is added between the image and its padding."""
        side = self.window
        below, beside = (
            torch.arange(length, device=like.device) >= end for length, end in zip(padded, size, strict=True)
        )
        # As MMSegmentation's slices have it: where one direction needs no padding, nothing is masked.
        outside = (below.unsqueeze(1) | beside) & below.any() & beside.any()
        cut = outside.reshape(padded[0] // side, side, padded[1] // side, side).transpose(1, 2)
        cut = cut.reshape(-1, 1, side * side)
        return (cut.unsqueeze(2) != cut.unsqueeze(3)).to(like.dtype) * _FAR
