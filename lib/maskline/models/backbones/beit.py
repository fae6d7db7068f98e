"""BEiT, and MAE as MMSegmentation fine-tunes it: plain vision transformers with learned biases for offsets.

Source: Bao et al., "BEiT: BERT Pre-Training of Image Transformers", 2022; He et al., "Masked Autoencoders Are Scalable
Vision Learners", 2022; names as in MMSegmentation (Apache-2.0), where both take images of one size alone.
"""

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from maskline.models.backbones.vit import PlainTransformer, VitPlan
from maskline.models.layers import DropPath
from maskline.models.transformer import FFN, biases_with_class_token, relative_positions_with_class_token


class BEiT(PlainTransformer):
    """Blocks whose branches have learned scales, and whose attention has a bias for each offset.

    For other sizes than the plan's ``image_size`` the biases are resized with the map: offset 0 stays where it is.

    Args:
        in_channels: Channels of the images.
        plan: Shape of the network; see ``VIT_SHAPES``.
        mae: As MAE: positions are added too, and keys have a bias.
        scale: What the scales of branches start from.
        attention_dropout: Share of attention weights dropped.
        drop_path: Largest share of residual branches left out; rises linearly over the blocks.
    """

    def __init__(
        self,
        *,
        in_channels: int,
        plan: VitPlan,
        mae: bool = False,
        scale: float = 0.1,
        attention_dropout: float = 0.0,
        drop_path: float = 0.0,
    ) -> None:
        def layer(share: float) -> nn.Module:
            return _Layer(plan, scale=scale, key_bias=mae, attention_dropout=attention_dropout, drop_path=share)

        super().__init__(
            in_channels=in_channels, plan=plan, layer=layer, drop_path=drop_path, patch_bias=True, positions=mae
        )

    def shared(self, grid: tuple[int, int], device: torch.device) -> dict[str, Any]:
        """Return the map's size, and each pair's place in ``biases_with_class_token``."""
        return {"grid": grid, "index": relative_positions_with_class_token(*grid, device=device)}


class _Layer(nn.Module):
    """Attention, then a perceptron; each on a residual branch with a scale a channel."""

    def __init__(
        self, plan: VitPlan, *, scale: float, key_bias: bool, attention_dropout: float, drop_path: float
    ) -> None:
        super().__init__()
        self.gamma_1 = nn.Parameter(torch.full((plan.width,), scale))
        self.gamma_2 = nn.Parameter(torch.full((plan.width,), scale))
        self.ln1 = nn.LayerNorm(plan.width, eps=plan.eps)
        self.attn = _Attention(plan, key_bias=key_bias, dropout=attention_dropout)
        self.ln2 = nn.LayerNorm(plan.width, eps=plan.eps)
        self.ffn = FFN(plan.width, 4 * plan.width)
        self.drop_path = DropPath(drop_path)

    def forward(self, tokens: Tensor, *, grid: tuple[int, int], index: Tensor) -> Tensor:
        tokens = tokens + self.drop_path(self.gamma_1 * self.attn(self.ln1(tokens), grid, index))
        return tokens + self.drop_path(self.gamma_2 * self.ffn(self.ln2(tokens)))  # type: ignore[no-any-return]


class _Attention(nn.Module):
    """Multi-head attention with a learned bias for each offset of two patches."""

    def __init__(self, plan: VitPlan, *, key_bias: bool, dropout: float) -> None:
        super().__init__()
        self.num_heads, self.grid, self.dropout = plan.num_heads, plan.grid, dropout
        offsets = (2 * plan.grid[0] - 1) * (2 * plan.grid[1] - 1)
        # The last three: from the class token to a patch, from a patch to it, from it to itself.
        self.relative_position_bias_table = nn.Parameter(torch.zeros(offsets + 3, plan.num_heads))
        self.qkv = nn.Linear(plan.width, 3 * plan.width, bias=key_bias)
        self.q_bias = self.v_bias = None
        if not key_bias:
            self.q_bias = nn.Parameter(torch.zeros(plan.width))
            self.v_bias = nn.Parameter(torch.zeros(plan.width))
        self.proj = nn.Linear(plan.width, plan.width)

    def forward(self, tokens: Tensor, grid: tuple[int, int], index: Tensor) -> Tensor:
        """Map tokens (N, L, C) to as many."""
        bias: Tensor | None = self.qkv.bias
        if self.q_bias is not None and self.v_bias is not None:
            bias = torch.cat([self.q_bias, torch.zeros_like(self.q_bias), self.v_bias])
        batch, length, _ = tokens.shape
        qkv = F.linear(tokens, self.qkv.weight, bias).reshape(batch, length, 3, self.num_heads, -1)
        query, key, value = cast(tuple[Tensor, Tensor, Tensor], qkv.permute(2, 0, 3, 1, 4).unbind(0))
        biases = biases_with_class_token(self.relative_position_bias_table, of=self.grid, at=grid)
        attended = F.scaled_dot_product_attention(
            query,
            key,
            value,
            attn_mask=biases[:, index].unsqueeze(0).to(query.dtype),
            dropout_p=self.dropout if self.training else 0.0,
        )
        # A copy, since the layout of what attention gives is another one in an exported graph.
        joined = attended.transpose(1, 2).clone(memory_format=torch.contiguous_format).flatten(2)
        return self.proj(joined)  # type: ignore[no-any-return]
