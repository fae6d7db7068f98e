"""What heads with queries share: attention, the perceptron after it, positions.

Submodules are named as in MMSegmentation's checkpoints (``attn.attn``, ``ffn.layers.0.0``).

Source: Vaswani et al., "Attention Is All You Need", 2017; positions of two dimensions: Carion et al., "End-to-End
Object Detection with Transformers", 2020. Names as in MMDetection (Apache-2.0).
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_EPS = 1e-6
_TEMPERATURE = 10_000.0


class Attention(nn.Module):
    """Multi-head attention of queries to keys, added to the queries.

    Args:
        channels: Of queries, keys and values.
        num_heads: Must divide ``channels``.
        dropout: Share of attention weights, and of outputs, set to 0 while training.
    """

    def __init__(self, channels: int, num_heads: int, *, dropout: float = 0.0) -> None:
        super().__init__()
        # Holds the weights under torch's names; its own forward would also compute the weights' mean.
        self.attn = nn.MultiheadAttention(channels, num_heads, dropout=dropout, batch_first=True)
        self.proj_drop = nn.Dropout(dropout)

    def forward(
        self,
        queries: Tensor,
        source: Tensor,
        *,
        positions: Tensor | None = None,
        source_positions: Tensor | None = None,
        allowed: Tensor | None = None,
    ) -> Tensor:
        """Return the queries, (N, Q, channels), and what they found in ``source``.

        Args:
            queries: (N, Q, channels).
            source: What keys and values are made of, (N, L, channels).
            positions: Added to the queries that ask; they broadcast.
            source_positions: Added to the source of the keys, and not to that of the values.
            allowed: Which of the source a query may see, bool, (N, Q, L) or None for all.
        """
        asking = queries if positions is None else queries + positions
        seen = source if source_positions is None else source + source_positions
        weights, biases = self.attn.in_proj_weight.chunk(3), self.attn.in_proj_bias.chunk(3)
        parts = (F.linear(x, w, b) for x, w, b in zip((asking, seen, source), weights, biases, strict=True))
        query, key, value = (self._split(part) for part in parts)
        attended = F.scaled_dot_product_attention(
            query,
            key,
            value,
            attn_mask=None if allowed is None else allowed.unsqueeze(1),
            dropout_p=self.attn.dropout if self.training else 0.0,
        )
        return queries + self.proj_drop(self.attn.out_proj(attended.transpose(1, 2).flatten(2)))  # type: ignore[no-any-return]

    def _split(self, x: Tensor) -> Tensor:
        """(N, L, C) -> (N, heads, L, C / heads)."""
        return x.reshape(x.shape[0], x.shape[1], self.attn.num_heads, -1).transpose(1, 2)


class FeedForward(nn.Module):
    """Two linear layers with a ReLU between, added to their input.

    Args:
        channels: Of input and output.
        hidden: Channels between.
        dropout: Share of values set to 0 after each layer while training.
    """

    def __init__(self, channels: int, hidden: int, *, dropout: float = 0.0) -> None:
        super().__init__()
        first = nn.Sequential(nn.Linear(channels, hidden), nn.ReLU(), nn.Dropout(dropout))
        self.layers = nn.Sequential(first, nn.Linear(hidden, channels), nn.Dropout(dropout))

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., channels) to the same shape."""
        return x + self.layers(x)  # type: ignore[no-any-return]


def sine_positions(size: tuple[int, int], channels: int, *, like: Tensor) -> Tensor:
    """Return the positions of a map's pixels as sines and cosines, (1, height * width, channels).

    Rows have the first half of the channels, columns the second; sine and cosine take turns. Computed in float32.

    Args:
        size: Height and width, px.
        channels: Divisible by 4.
        like: Its device and type are the result's.
    """
    half = channels // 2
    steps = torch.arange(half, dtype=torch.float32, device=like.device)
    divisors = _TEMPERATURE ** (2 * torch.div(steps, 2, rounding_mode="floor") / half)
    rows, columns = (_waves(length, divisors) for length in size)
    height, width = size
    both = [rows.unsqueeze(1).expand(-1, width, -1), columns.unsqueeze(0).expand(height, -1, -1)]
    return torch.cat(both, dim=2).flatten(0, 1).unsqueeze(0).to(like.dtype)


def _waves(length: int, divisors: Tensor) -> Tensor:
    """Return the waves of one side's places, (length, channels)."""
    places = torch.arange(1, length + 1, dtype=torch.float32, device=divisors.device)
    angles = (places / (length + _EPS) * (2 * math.pi)).unsqueeze(1) / divisors
    return torch.stack([angles[:, 0::2].sin(), angles[:, 1::2].cos()], dim=2).flatten(1)


def to_tokens(x: Tensor) -> Tensor:
    """NCHW -> (N, H*W, C)."""
    return x.flatten(2).transpose(1, 2)


def to_map(tokens: Tensor, size: tuple[int, int]) -> Tensor:
    """(N, H*W, C) -> NCHW."""
    return tokens.transpose(1, 2).reshape(tokens.shape[0], tokens.shape[2], *size)
