"""Attention to a few places of several maps, which each query chooses for itself.

Source: Zhu et al., "Deformable DETR: Deformable Transformers for End-to-End Object Detection", 2021; names as in
MMDetection (Apache-2.0). In plain torch: each place is sampled between its pixels.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from maskline.models.heads.transformer import FeedForward, to_map
from maskline.runtime.gpu_forms import sample_points

Size = tuple[int, int]


class DeformableEncoder(nn.Module):
    """Layers in which the pixels of all maps look at each other.

    Args:
        channels: Of the maps.
        num_layers: Number of layers.
        num_heads: Of each attention.
        num_levels: Maps.
        num_points: Places that a head of a pixel looks at in each map.
        hidden: Channels inside of the perceptrons.
        dropout: Share of values set to 0 while training.
    """

    def __init__(
        self,
        channels: int,
        *,
        num_layers: int,
        num_heads: int,
        num_levels: int,
        num_points: int,
        hidden: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            _Layer(
                channels,
                num_heads=num_heads,
                num_levels=num_levels,
                num_points=num_points,
                hidden=hidden,
                dropout=dropout,
            )
            for _ in range(num_layers)
        )

    def forward(self, tokens: Tensor, *, positions: Tensor, sizes: Sequence[Size]) -> Tensor:
        """Map the pixels of all maps, one map after the other, (N, L, channels) to the same shape.

        Args:
            tokens: See above.
            positions: Added to the pixels that ask; (1, L, channels).
            sizes: Height and width of each map, px.
        """
        places = torch.cat([_centers(size, like=tokens) for size in sizes])
        for layer in self.layers:
            tokens = layer(tokens, positions=positions, places=places, sizes=sizes)
        return tokens


class _Layer(nn.Module):
    def __init__(
        self, channels: int, *, num_heads: int, num_levels: int, num_points: int, hidden: int, dropout: float
    ) -> None:
        super().__init__()
        self.self_attn = DeformableAttention(
            channels, num_heads=num_heads, num_levels=num_levels, num_points=num_points, dropout=dropout
        )
        self.ffn = FeedForward(channels, hidden, dropout=dropout)
        self.norms = nn.ModuleList(nn.LayerNorm(channels) for _ in range(2))

    def forward(self, tokens: Tensor, *, positions: Tensor, places: Tensor, sizes: Sequence[Size]) -> Tensor:
        seen = self.self_attn(tokens, positions=positions, places=places, sizes=sizes)
        return self.norms[1](self.ffn(self.norms[0](seen)))  # type: ignore[no-any-return]


class DeformableAttention(nn.Module):
    """What each query finds at places near its own, added to it.

    Args:
        channels: Of queries and maps.
        num_heads: Divides ``channels``.
        num_levels: Maps.
        num_points: Places of a head in each map.
        dropout: Share of outputs set to 0 while training.
    """

    def __init__(
        self, channels: int, *, num_heads: int, num_levels: int, num_points: int, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self._split = (num_heads, num_levels, num_points)
        places = num_heads * num_levels * num_points
        self.sampling_offsets = nn.Linear(channels, 2 * places)
        self.attention_weights = nn.Linear(channels, places)
        self.value_proj = nn.Linear(channels, channels)
        self.output_proj = nn.Linear(channels, channels)
        self.dropout = nn.Dropout(dropout)
        self.start()

    def start(self) -> None:
        """Give fresh weights: each head looks in a direction of its own, each of its places a pixel farther."""
        heads, levels, points = self._split
        angles = torch.arange(heads, dtype=torch.float32) * (2 * math.pi / heads)
        directions = torch.stack([angles.cos(), angles.sin()], dim=1)
        directions = directions / directions.abs().amax(dim=1, keepdim=True)
        steps = torch.arange(1, points + 1, dtype=torch.float32)
        grid = (directions[:, None, None] * steps[:, None]).expand(-1, levels, -1, -1)
        nn.init.zeros_(self.sampling_offsets.weight)
        with torch.no_grad():
            self.sampling_offsets.bias.copy_(grid.flatten())
        nn.init.zeros_(self.attention_weights.weight)
        nn.init.zeros_(self.attention_weights.bias)
        for layer in (self.value_proj, self.output_proj):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, tokens: Tensor, *, positions: Tensor, places: Tensor, sizes: Sequence[Size]) -> Tensor:
        """Return (N, L, channels).

        Args:
            tokens: Queries, and the pixels of all maps, one map after the other: (N, L, channels).
            positions: Added to the queries that ask; (1, L, channels).
            places: Of the queries, x and y from 0 to 1: (L, 2).
            sizes: Height and width of each map, px.
        """
        heads, levels, points = self._split
        count, length, channels = tokens.shape
        asking = tokens + positions
        offsets = self.sampling_offsets(asking).reshape(count, length, heads, levels, points, 2)
        weights = self.attention_weights(asking).reshape(count, length, heads, levels * points).softmax(3)
        values = self.value_proj(tokens).split([height * width for height, width in sizes], dim=1)
        sampled = []
        for level, (size, value) in enumerate(zip(sizes, values, strict=True)):
            by_head = to_map(value, size).reshape(count * heads, channels // heads, *size)
            looked_at = places[:, None, None] + offsets[:, :, :, level] / _side_lengths(size, like=tokens)
            looked_at = looked_at.transpose(1, 2).reshape(count * heads, length * points, 2)
            found = sample_points(by_head, looked_at, align_corners=False)
            sampled.append(found.reshape(count * heads, -1, length, points))
        shares = weights.transpose(1, 2).reshape(count * heads, 1, length, levels * points)
        summed = (torch.cat(sampled, dim=3) * shares).sum(3)  # N * heads, channels of a head, L
        joined = summed.reshape(count, channels, length).transpose(1, 2)
        return tokens + self.dropout(self.output_proj(joined))  # type: ignore[no-any-return]


def _centers(size: Size, *, like: Tensor) -> Tensor:
    """Return x and y of a map's pixels, from 0 to 1 across it: (height * width, 2)."""
    wide = torch.promote_types(like.dtype, torch.float32)
    rows, columns = ((torch.arange(length, dtype=wide, device=like.device) + 0.5) / length for length in size)
    height, width = size
    grid = torch.stack([columns.unsqueeze(0).expand(height, -1), rows.unsqueeze(1).expand(-1, width)], dim=2)
    return grid.flatten(0, 1).to(like.dtype)


def _side_lengths(size: Size, *, like: Tensor) -> Tensor:
    """Return width and height; made on the device, since a copy would wait for it."""
    height, width = size
    ones = torch.ones(2, dtype=like.dtype, device=like.device)
    return torch.cat([ones[:1] * width, ones[1:] * height])
