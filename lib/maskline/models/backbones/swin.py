"""Swin Transformer: attention within windows, which are shifted in every second block.

Source: Liu et al., "Swin Transformer: Hierarchical Vision Transformer using Shifted Windows", 2021; names, order of
merged channels and padding as in MMSegmentation (Apache-2.0). timm's pads after the shift, not before it: other numbers
where a map is no multiple of the window.
"""

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from maskline.models.backbones.base import BackboneBase
from maskline.models.layers import DropPath
from maskline.models.transformer import FFN, PatchEmbed, excess, init_linear, relative_positions, rising

_EPS = 1e-5
_FAR = -100.0  # added where two pixels of one shifted window are not neighbors


@dataclass(frozen=True, kw_only=True)
class SwinPlan:
    """Shape of the network.

    Args:
        width: Channels of the first stage; each further one has twice as many.
        depths: Blocks of each stage.
        num_heads: Attention heads of each stage.
    """

    width: int
    depths: tuple[int, ...]
    num_heads: tuple[int, ...]


SWIN_PLANS = {
    "tiny": SwinPlan(width=96, depths=(2, 2, 6, 2), num_heads=(3, 6, 12, 24)),
    "small": SwinPlan(width=96, depths=(2, 2, 18, 2), num_heads=(3, 6, 12, 24)),
    "base": SwinPlan(width=128, depths=(2, 2, 18, 2), num_heads=(4, 8, 16, 32)),
    "large": SwinPlan(width=192, depths=(2, 2, 18, 2), num_heads=(6, 12, 24, 48)),
}


class SwinTransformer(BackboneBase):
    """Features of strides 4 to 32, each with a norm; any input size.

    Args:
        in_channels: Channels of the images.
        plan: Shape of the network; see ``SWIN_PLANS``.
        window: Side of a window, px of the map.
        dropout: Share of activations dropped after the patches, after attention and in perceptrons.
        attention_dropout: Share of attention weights dropped.
        drop_path: Largest share of residual branches left out; rises linearly over the blocks.
    """

    def __init__(
        self,
        *,
        in_channels: int,
        plan: SwinPlan,
        window: int = 7,
        dropout: float = 0.0,
        attention_dropout: float = 0.0,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        self.patch_embed = PatchEmbed(in_channels, plan.width, 4, eps=_EPS)
        self.drop_after_pos = nn.Dropout(dropout)
        probs = iter(rising(drop_path, sum(plan.depths)))
        last = len(plan.depths) - 1
        self.layers = nn.ModuleList()
        for stage, (depth, heads) in enumerate(zip(plan.depths, plan.num_heads, strict=True)):
            width = plan.width * 2**stage
            blocks = [
                _Block(
                    width,
                    num_heads=heads,
                    window=window,
                    shifted=i % 2 == 1,
                    dropout=dropout,
                    attention_dropout=attention_dropout,
                    drop_path=next(probs),
                )
                for i in range(depth)
            ]
            self.layers.append(_Stage(blocks, None if stage == last else _PatchMerging(width)))
            self.add_module(f"norm{stage}", nn.LayerNorm(width, eps=_EPS))
        self.channels = tuple(plan.width * 2**stage for stage in range(len(plan.depths)))
        self.strides = tuple(4 * 2**stage for stage in range(len(plan.depths)))
        self.deepest_stride = self.strides[-1] * window  # of the coarsest map in windows
        self.size_divisor = 1
        self.apply(init_linear)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Map images (NCHW, any size) to features, finest first."""
        x = self.drop_after_pos(self.patch_embed(images)).permute(0, 2, 3, 1)
        outputs = []
        for i, stage in enumerate(self.layers):
            x, kept = stage(x)
            outputs.append(self.get_submodule(f"norm{i}")(kept).permute(0, 3, 1, 2).contiguous())
        return outputs

    def stages(self) -> list[list[nn.Module]]:
        """See ``BackboneBase``."""
        stages = [[stage, self.get_submodule(f"norm{i}")] for i, stage in enumerate(self.layers)]
        return [[self.patch_embed], *stages]


class _Stage(nn.Module):
    """Blocks; returns what the next stage gets, and the map before it was merged (both NHWC)."""

    def __init__(self, blocks: list["_Block"], downsample: nn.Module | None) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.downsample = downsample

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        for block in self.blocks:
            x = block(x)
        return x if self.downsample is None else self.downsample(x), x


class _PatchMerging(nn.Module):
    """Four pixels become one: NHWC to (N, H/2, W/2, 2C), odd sides padded."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(4 * width, eps=_EPS)
        self.reduction = nn.Linear(4 * width, 2 * width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = F.pad(x, (0, 0, 0, excess(x.shape[2], 2), 0, excess(x.shape[1], 2)))
        batch, height, width, channels = x.shape
        # A channel's four pixels side by side, as torch's unfold has them.
        x = x.reshape(batch, height // 2, 2, width // 2, 2, channels).permute(0, 1, 3, 5, 2, 4).flatten(3)
        return self.reduction(self.norm(x))  # type: ignore[no-any-return]


class _Block(nn.Module):
    """Attention within windows, then a perceptron; each on a residual branch (NHWC)."""

    def __init__(
        self,
        width: int,
        *,
        num_heads: int,
        window: int,
        shifted: bool,
        dropout: float,
        attention_dropout: float,
        drop_path: float,
    ) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=_EPS)
        self.attn = _Windows(
            width,
            num_heads=num_heads,
            window=window,
            shift=window // 2 if shifted else 0,
            dropout=dropout,
            attention_dropout=attention_dropout,
        )
        self.norm2 = nn.LayerNorm(width, eps=_EPS)
        self.ffn = FFN(width, 4 * width, dropout=dropout)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.drop_path(self.attn(self.norm1(x)))
        return x + self.drop_path(self.ffn(self.norm2(x)))  # type: ignore[no-any-return]


class _Windows(nn.Module):
    """Cuts a map (NHWC) into windows, which may be shifted around its border, and lets each attend to itself."""

    def __init__(
        self, width: int, *, num_heads: int, window: int, shift: int, dropout: float, attention_dropout: float
    ) -> None:
        super().__init__()
        self.window, self.shift = window, shift
        self.w_msa = _WindowAttention(
            width, num_heads=num_heads, window=window, dropout=dropout, attention_dropout=attention_dropout
        )

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[1:3]
        side = self.window
        x = F.pad(x, (0, 0, 0, excess(width, side), 0, excess(height, side)))
        if self.shift:
            x = x.roll((-self.shift, -self.shift), dims=(1, 2))
        batch, rows, columns, channels = x.shape
        grid = (rows // side, columns // side)
        windows = x.reshape(batch, grid[0], side, grid[1], side, channels).transpose(2, 3)
        mask = self._mask(rows, columns, x) if self.shift else None
        attended = self.w_msa(windows.reshape(batch, grid[0] * grid[1], side * side, channels), mask)
        x = attended.reshape(batch, *grid, side, side, channels).transpose(2, 3).reshape(batch, rows, columns, channels)
        if self.shift:
            x = x.roll((self.shift, self.shift), dims=(1, 2))
        return x[:, :height, :width]

    def _mask(self, rows: int, columns: int, like: Tensor) -> Tensor:
        """(windows, 1, L, L): what is added between pixels that only the shift brought into one window."""
        side = self.window
        down, right = (self._region(length, like) for length in (rows, columns))
        regions = 3 * down.unsqueeze(1) + right
        cut = regions.reshape(rows // side, side, columns // side, side).transpose(1, 2).reshape(-1, 1, side * side)
        return (cut.unsqueeze(2) != cut.unsqueeze(3)).to(like.dtype) * _FAR

    def _region(self, length: int, like: Tensor) -> Tensor:
        """0 before the last window, 1 in it, 2 where its end came from the other border."""
        position = torch.arange(length, device=like.device)
        return (position >= length - self.window).int() + (position >= length - self.shift).int()


class _WindowAttention(nn.Module):
    """Multi-head attention over the pixels of each window, with a learned bias for each offset."""

    def __init__(self, width: int, *, num_heads: int, window: int, dropout: float, attention_dropout: float) -> None:
        super().__init__()
        self.window, self.num_heads = window, num_heads
        self.relative_position_bias_table = nn.Parameter(torch.empty((2 * window - 1) ** 2, num_heads))
        nn.init.trunc_normal_(self.relative_position_bias_table, std=0.02)
        self.qkv = nn.Linear(width, 3 * width)
        self.attn_drop = nn.Dropout(attention_dropout)
        self.proj = nn.Linear(width, width)
        self.proj_drop = nn.Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """Map (N, windows, L, C) to the same shape."""
        batch, count, length, width = x.shape
        qkv = self.qkv(x).reshape(batch, count, length, 3, self.num_heads, -1).permute(3, 0, 1, 4, 2, 5)
        query, key, value = cast(tuple[Tensor, Tensor, Tensor], qkv.unbind(0))
        index = relative_positions(self.window, self.window, device=x.device)
        bias = self.relative_position_bias_table[index].permute(2, 0, 1)
        scores = (query * query.shape[-1] ** -0.5) @ key.transpose(-2, -1) + bias
        if mask is not None:
            scores = scores + mask
        attended = self.attn_drop(scores.softmax(dim=-1)) @ value
        joined = attended.transpose(2, 3).reshape(batch, count, length, width)
        return self.proj_drop(self.proj(joined))  # type: ignore[no-any-return]
