"""Mix Transformer (MiT-B0 to B5), the backbone of SegFormer, with MMSegmentation's names.

Source: Xie et al., "SegFormer: Simple and Efficient Design for Semantic Segmentation with Transformers", 2021.
The licence of the published weights is NVIDIA's (non-commercial).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from torch import Tensor, nn

from maskline.models.backbones.base import BackboneBase
from maskline.models.layers import DropPath, size_of
from maskline.models.transformer import ReducedAttention, init_with_convolutions, rising, to_map

_EPS = 1e-6


@dataclass(frozen=True, kw_only=True)
class MitPlan:
    """Shape of the network; one entry a stage.

    Args:
        embed_dims: Channels of the first stage's one head; a stage has this times its heads.
        num_layers: Blocks.
        num_heads: Attention heads.
        patch_sizes: Kernel of the convolution that starts the stage, px.
        strides: Its step, px.
        reductions: Keys and values are taken at 1/reduction of the resolution.
        mlp_ratio: Hidden width of a block over its width.
        qkv_bias: Whether queries, keys and values have a bias.
    """

    embed_dims: int
    num_layers: tuple[int, ...]
    num_heads: tuple[int, ...] = (1, 2, 5, 8)
    patch_sizes: tuple[int, ...] = (7, 3, 3, 3)
    strides: tuple[int, ...] = (4, 2, 2, 2)
    reductions: tuple[int, ...] = (8, 4, 2, 1)
    mlp_ratio: int = 4
    qkv_bias: bool = True


MIT_PLANS = {
    "b0": MitPlan(embed_dims=32, num_layers=(2, 2, 2, 2)),
    "b1": MitPlan(embed_dims=64, num_layers=(2, 2, 2, 2)),
    "b2": MitPlan(embed_dims=64, num_layers=(3, 4, 6, 3)),
    "b3": MitPlan(embed_dims=64, num_layers=(3, 4, 18, 3)),
    "b4": MitPlan(embed_dims=64, num_layers=(3, 8, 27, 3)),
    "b5": MitPlan(embed_dims=64, num_layers=(3, 6, 40, 3)),
}


class MixTransformer(BackboneBase):
    """Four stages of overlapping patches and attention at reduced resolution; features fine to coarse.

    Args:
        in_channels: Channels of the images.
        plan: Shape of the network; see ``MIT_PLANS``.
        dropout: Share of activations dropped after attention and in the hidden layer.
        attention_dropout: Share of attention weights dropped.
        drop_path: Largest share of residual branches dropped; rises linearly over the blocks.
        out_indices: Stages whose output is a feature.
        norm_eps: Added to the variance in layer norms.
    """

    def __init__(
        self,
        *,
        in_channels: int,
        plan: MitPlan,
        dropout: float,
        attention_dropout: float,
        drop_path: float,
        out_indices: Sequence[int] = (0, 1, 2, 3),
        norm_eps: float = _EPS,
    ) -> None:
        super().__init__()
        total = sum(plan.num_layers)
        probs = iter(rising(drop_path, total))
        self.layers = nn.ModuleList()
        before, stride, strides = in_channels, 1, []
        for stage, num_layers in enumerate(plan.num_layers):
            width = plan.embed_dims * plan.num_heads[stage]
            patches = _PatchEmbed(before, width, plan.patch_sizes[stage], stride=plan.strides[stage], eps=norm_eps)
            blocks = nn.ModuleList(
                _Block(
                    width,
                    plan=plan,
                    stage=stage,
                    dropout=dropout,
                    attention_dropout=attention_dropout,
                    drop_path=next(probs),
                    eps=norm_eps,
                )
                for _ in range(num_layers)
            )
            self.layers.append(nn.ModuleList([patches, blocks, nn.LayerNorm(width, eps=norm_eps)]))
            before, stride = width, stride * plan.strides[stage]
            strides.append(stride)
        self._out_indices = tuple(out_indices)
        self.channels = tuple(plan.embed_dims * plan.num_heads[i] for i in self._out_indices)
        self.strides = tuple(strides[i] for i in self._out_indices)
        self.size_divisor = 1
        # Keys and values are taken from maps smaller by these factors, which must leave a pixel.
        self.min_side = max(stride * factor for stride, factor in zip(strides, plan.reductions, strict=False))
        self.apply(init_with_convolutions)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Map images (NCHW, any size) to features, finest first."""
        x = images
        outputs = []
        for layer in self.layers:
            patches, blocks, norm = cast(tuple[nn.Module, nn.ModuleList, nn.Module], layer)
            tokens, size = patches(x)
            for block in blocks:
                tokens = block(tokens, size)
            x = to_map(norm(tokens), size)
            outputs.append(x)
        return [outputs[i] for i in self._out_indices]

    def stages(self) -> list[list[nn.Module]]:
        """See ``BackboneBase``; there is no stem."""
        return [[], *([layer] for layer in self.layers)]


class _PatchEmbed(nn.Module):
    """Overlapping patches by a strided convolution, as normalized tokens, with height and width of their grid."""

    def __init__(self, in_channels: int, width: int, size: int, *, stride: int, eps: float) -> None:
        super().__init__()
        self.projection = nn.Conv2d(in_channels, width, size, stride=stride, padding=size // 2)
        self.norm = nn.LayerNorm(width, eps=eps)

    def forward(self, x: Tensor) -> tuple[Tensor, tuple[int, int]]:
        x = self.projection(x)
        return self.norm(x.flatten(2).transpose(1, 2)), size_of(x)


class _Block(nn.Module):
    """Attention, then a perceptron with a depthwise convolution; each on a residual branch."""

    def __init__(
        self,
        width: int,
        *,
        plan: MitPlan,
        stage: int,
        dropout: float,
        attention_dropout: float,
        drop_path: float,
        eps: float,
    ) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=eps)
        self.attn = ReducedAttention(
            width,
            num_heads=plan.num_heads[stage],
            reduction=plan.reductions[stage],
            bias=plan.qkv_bias,
            dropout=dropout,
            attention_dropout=attention_dropout,
            eps=eps,
        )
        self.norm2 = nn.LayerNorm(width, eps=eps)
        self.ffn = _MixFFN(width, width * plan.mlp_ratio, dropout=dropout)
        self.drop_path = DropPath(drop_path)

    def forward(self, tokens: Tensor, size: tuple[int, int]) -> Tensor:
        tokens = tokens + self.drop_path(self.attn(self.norm1(tokens), size))
        return tokens + self.drop_path(self.ffn(self.norm2(tokens), size))  # type: ignore[no-any-return]


class _MixFFN(nn.Module):
    """1x1, depthwise 3x3, GELU, 1x1: the depthwise convolution tells tokens where they are."""

    def __init__(self, width: int, hidden: int, *, dropout: float) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(width, hidden, 1),
            nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Conv2d(hidden, width, 1),
            nn.Dropout(dropout),
        )

    def forward(self, tokens: Tensor, size: tuple[int, int]) -> Tensor:
        return self.layers(to_map(tokens, size)).flatten(2).transpose(1, 2)  # type: ignore[no-any-return]
