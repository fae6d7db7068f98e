"""What transformer backbones and heads share: attention, perceptron, patches, tokens and maps.

Submodules are named as in MMSegmentation's checkpoints (``attn.attn.in_proj_weight``, ``ffn.layers.0.0``), so that its
weights load without renaming.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from maskline.models.layers import DropPath


class ReducedAttention(nn.Module):
    """Multi-head attention whose keys and values may come from a smaller map (``sr``, ``norm``).

    Args:
        width: Channels of a token.
        num_heads: Attention heads.
        reduction: Keys and values are taken at 1/reduction of the resolution.
        bias: Whether queries, keys and values have a bias.
        dropout: Share of the output's activations dropped.
        attention_dropout: Share of attention weights dropped.
        eps: Added to the variance in the layer norm of the smaller map.
    """

    def __init__(
        self,
        width: int,
        *,
        num_heads: int,
        reduction: int = 1,
        bias: bool = True,
        dropout: float = 0.0,
        attention_dropout: float = 0.0,
        eps: float = 1e-5,
    ) -> None:
        super().__init__()
        # Holds the weights under torch's names; its own forward would also compute the weights' mean.
        self.attn = nn.MultiheadAttention(width, num_heads, dropout=attention_dropout, bias=bias, batch_first=True)
        self.reduction = reduction
        if reduction > 1:
            self.sr = nn.Conv2d(width, width, reduction, stride=reduction)
            self.norm = nn.LayerNorm(width, eps=eps)
        self.proj_drop = nn.Dropout(dropout)

    def forward(self, tokens: Tensor, size: tuple[int, int] | None = None) -> Tensor:
        """Map tokens (N, L, C) to as many; ``size``: height and width of their map, where keys are reduced."""
        source = tokens
        if self.reduction > 1:
            assert size is not None
            source = self.norm(to_tokens(self.sr(to_map(tokens, size))))
        weight, bias, width = self.attn.in_proj_weight, self.attn.in_proj_bias, tokens.shape[2]
        query = F.linear(tokens, weight[:width], None if bias is None else bias[:width])
        key, value = F.linear(source, weight[width:], None if bias is None else bias[width:]).chunk(2, dim=2)
        attended = F.scaled_dot_product_attention(
            self._split(query),
            self._split(key),
            self._split(value),
            dropout_p=self.attn.dropout if self.training else 0.0,
        )
        joined = attended.transpose(1, 2).flatten(2)
        return self.proj_drop(self.attn.out_proj(joined))  # type: ignore[no-any-return]

    def _split(self, x: Tensor) -> Tensor:
        """(N, L, C) -> (N, heads, L, C / heads)."""
        return x.reshape(x.shape[0], x.shape[1], self.attn.num_heads, -1).transpose(1, 2)


class FFN(nn.Module):
    """Linear, GELU, linear.

    Args:
        width: Channels of a token.
        hidden: Channels between the two.
        dropout: Share of activations dropped after each.
    """

    def __init__(self, width: int, hidden: int, *, dropout: float = 0.0) -> None:
        super().__init__()
        first = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Dropout(dropout))
        self.layers = nn.Sequential(first, nn.Linear(hidden, width), nn.Dropout(dropout))

    def forward(self, tokens: Tensor) -> Tensor:
        """Map (..., C) to (..., C)."""
        return self.layers(tokens)  # type: ignore[no-any-return]


class EncoderLayer(nn.Module):
    """Attention, then a perceptron, each of normalized tokens and on a residual branch.

    Args:
        width: Channels of a token.
        num_heads: Attention heads.
        mlp_ratio: Hidden width of the perceptron over ``width``.
        dropout: Share of activations dropped after attention and in the perceptron.
        attention_dropout: Share of attention weights dropped.
        drop_path: Share of the perceptron's branch left out; attention's stays, as in MMSegmentation.
        eps: Added to the variance in layer norms.
    """

    def __init__(
        self,
        width: int,
        *,
        num_heads: int,
        mlp_ratio: int = 4,
        dropout: float = 0.0,
        attention_dropout: float = 0.0,
        drop_path: float = 0.0,
        eps: float = 1e-6,
    ) -> None:
        super().__init__()
        self.ln1 = nn.LayerNorm(width, eps=eps)
        self.attn = ReducedAttention(
            width, num_heads=num_heads, dropout=dropout, attention_dropout=attention_dropout, eps=eps
        )
        self.ln2 = nn.LayerNorm(width, eps=eps)
        self.ffn = FFN(width, width * mlp_ratio, dropout=dropout)
        self.drop_path = DropPath(drop_path)

    def forward(self, tokens: Tensor) -> Tensor:
        """Map tokens (N, L, C) to as many."""
        tokens = tokens + self.attn(self.ln1(tokens))
        return tokens + self.drop_path(self.ffn(self.ln2(tokens)))  # type: ignore[no-any-return]


class PatchEmbed(nn.Module):
    """Patches side by side, each a pixel of the output; the input is padded with zeros at the bottom and right.

    Args:
        in_channels: Channels of the input.
        width: Channels of the output.
        size: Side of a patch, px.
        bias: Whether the convolution has a bias.
        eps: Added to the variance in the layer norm that follows; None: there is none.
    """

    def __init__(self, in_channels: int, width: int, size: int, *, bias: bool = True, eps: float | None = None) -> None:
        super().__init__()
        self.size = size
        self.projection = nn.Conv2d(in_channels, width, size, stride=size, bias=bias)
        self.norm = None if eps is None else nn.LayerNorm(width, eps=eps)

    def forward(self, x: Tensor) -> Tensor:
        """Map NCHW of any size to NCHW."""
        x = self.projection(pad_to_multiple(x, self.size))
        return x if self.norm is None else norm_map(x, self.norm)


def pad_to_multiple(x: Tensor, divisor: int) -> Tensor:
    """Return ``x`` (NCHW) with zeros at the bottom and right, until both sides are multiples of ``divisor``."""
    return F.pad(x, (0, excess(x.shape[3], divisor), 0, excess(x.shape[2], divisor)))


def excess(length: int, divisor: int) -> int:
    """Return what is missing to a multiple of ``divisor``."""
    # Not ``-length % divisor``: a tracer sees that ``length`` plus this is a multiple.
    return divisor * ((length + divisor - 1) // divisor) - length


def to_map(tokens: Tensor, size: tuple[int, int]) -> Tensor:
    """Return tokens (N, H*W, C) as a map NCHW of ``size`` (height, width)."""
    return tokens.transpose(1, 2).reshape(tokens.shape[0], tokens.shape[2], *size)


def to_tokens(x: Tensor) -> Tensor:
    """Return a map NCHW as tokens (N, H*W, C)."""
    return x.flatten(2).transpose(1, 2)


def norm_map(x: Tensor, norm: nn.Module) -> Tensor:
    """Return a map NCHW with each pixel's channels normalized."""
    return norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)  # type: ignore[no-any-return]


def rising(largest: float, count: int) -> list[float]:
    """Return ``count`` probabilities from 0 to ``largest`` in equal steps."""
    return [largest * i / max(count - 1, 1) for i in range(count)]


def init_linear(module: nn.Module) -> None:
    """Give linear layers and attention small normal weights; to be applied to each module."""
    match module:
        case nn.Linear():
            nn.init.trunc_normal_(module.weight, std=0.02)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        case nn.MultiheadAttention():
            nn.init.trunc_normal_(module.in_proj_weight, std=0.02)


def init_with_convolutions(module: nn.Module) -> None:
    """As ``init_linear``, and convolutions by what leaves them; to be applied to each module."""
    init_linear(module)
    if isinstance(module, nn.Conv2d):
        fan_out = module.kernel_size[0] * module.kernel_size[1] * module.out_channels // module.groups
        nn.init.normal_(module.weight, std=math.sqrt(2 / fan_out))
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def relative_positions(height: int, width: int, *, device: torch.device) -> Tensor:
    """Return, for each pair of pixels of a window, its place in a table of offsets: int64, (H*W, H*W).

    The table has a row for each offset (2H-1, 2W-1), from the most negative to the most positive, in row order.
    """
    rows, columns = torch.arange(height, device=device), torch.arange(width, device=device)
    down = rows.unsqueeze(1) - rows + height - 1
    right = columns.unsqueeze(1) - columns + width - 1
    index = down[:, None, :, None] * (2 * width - 1) + right[None, :, None, :]
    return index.reshape(height * width, height * width)


def relative_positions_with_class_token(height: int, width: int, *, device: torch.device) -> Tensor:
    """Return ``relative_positions`` with a class token before the pixels: int64, (1 + H*W, 1 + H*W).

    Places 0 to 2 of the table are from the token to a pixel, from a pixel to it, and from it to itself. They come first
    since they are the same at any size there: an exported graph would keep those of its example.
    """
    pairs = relative_positions(height, width, device=device) + 3
    row = torch.zeros_like(pairs[:1])
    column = F.pad(torch.ones_like(pairs[:, :1]), (0, 0, 1, 0), value=2)
    return torch.cat([column, torch.cat([row, pairs])], dim=1)


def biases_with_class_token(table: Tensor, *, of: tuple[int, int], at: tuple[int, int]) -> Tensor:
    """Return a learned table for a map of another size, in the order of ``relative_positions_with_class_token``.

    Args:
        table: As BEiT keeps it, (offsets + 3) x heads, the class token's three last.
        of: Height and width of its map.
        at: Those wanted.

    Returns:
        heads x (3 + offsets).
    """
    values = table.transpose(0, 1)
    offsets = values[:, :-3]
    if torch.compiler.is_compiling() or at != of:
        offsets = offsets.reshape(1, -1, 2 * of[0] - 1, 2 * of[1] - 1)
        size = (2 * at[0] - 1, 2 * at[1] - 1)
        offsets = F.interpolate(offsets, size=size, mode="bilinear", align_corners=True)[0].flatten(1)
    return torch.cat([values[:, -3:], offsets], dim=1)
