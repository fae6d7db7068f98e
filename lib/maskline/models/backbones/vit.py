"""Plain vision transformers: every feature has the patches' stride.

Source: Dosovitskiy et al., "An Image is Worth 16x16 Words", 2021; Touvron et al., "Training data-efficient image
transformers", 2021 (DeiT: the same network); names, padding and resizing of positions as in MMSegmentation
(Apache-2.0).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from maskline.core.errors import ShapeError
from maskline.models.backbones.base import BackboneBase
from maskline.models.layers import size_of
from maskline.models.transformer import EncoderLayer, PatchEmbed, init_linear, rising, to_map, to_tokens


@dataclass(frozen=True, kw_only=True)
class VitPlan:
    """Shape of the network, and what it is fed with.

    Args:
        width: Channels of a token.
        depth: Blocks.
        num_heads: Attention heads.
        patch_size: Side of a patch, px.
        image_size: Height and width that tables of positions have an entry for each patch of, px; they are resized for
            other sizes.
        out_indices: Blocks whose output is a feature; None: the last one of each quarter.
        final_norm: Whether a layer norm follows the last block.
        eps: Added to the variance in layer norms.
    """

    width: int
    depth: int
    num_heads: int
    patch_size: int = 16
    image_size: tuple[int, int] = (512, 512)
    out_indices: tuple[int, ...] | None = None
    final_norm: bool = False
    eps: float = 1e-6

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of patches that tables of positions are made for."""
        return self.image_size[0] // self.patch_size, self.image_size[1] // self.patch_size

    @property
    def outputs(self) -> tuple[int, ...]:
        """Blocks whose output is a feature."""
        if self.out_indices is None:
            return tuple(self.depth * quarter // 4 - 1 for quarter in (1, 2, 3, 4))
        return self.out_indices


VIT_SHAPES = {
    "tiny": {"width": 192, "depth": 12, "num_heads": 3},
    "small": {"width": 384, "depth": 12, "num_heads": 6},
    "base": {"width": 768, "depth": 12, "num_heads": 12},
    "large": {"width": 1024, "depth": 24, "num_heads": 16},
}


class PlainTransformer(BackboneBase):
    """Patches and a class token through blocks of one width; any input size.

    Args:
        in_channels: Channels of the images.
        plan: Shape of the network.
        layer: Makes a block, given the share of residual branches that it leaves out.
        drop_path: Largest such share; rises linearly over the blocks.
        patch_bias: Whether the patches' convolution has a bias.
        positions: Whether a learned position is added to each patch and to the class token.

    Raises:
        ShapeError: A position in ``out_indices`` that is no block's, or an ``image_size`` under one patch.
    """

    def __init__(
        self,
        *,
        in_channels: int,
        plan: VitPlan,
        layer: Callable[[float], nn.Module],
        drop_path: float,
        patch_bias: bool,
        positions: bool,
    ) -> None:
        super().__init__()
        if not set(plan.outputs) <= set(range(plan.depth)):
            told = f"out_indices {list(plan.outputs)} of {plan.depth} blocks"
            raise ShapeError("backbone", told, f"choose from 0 to {plan.depth - 1}")
        if min(plan.grid) < 1:
            told = f"image_size {list(plan.image_size)} under patch_size {plan.patch_size}"
            raise ShapeError("backbone", told, "give one patch or more")
        self.plan = plan
        self.cls_token = nn.Parameter(torch.empty(1, 1, plan.width))
        nn.init.trunc_normal_(self.cls_token, std=0.02)
        self.pos_embed = None
        if positions:
            self.pos_embed = nn.Parameter(torch.empty(1, plan.grid[0] * plan.grid[1] + 1, plan.width))
            nn.init.trunc_normal_(self.pos_embed, std=0.02)
        self.patch_embed = PatchEmbed(in_channels, plan.width, plan.patch_size, bias=patch_bias)
        self.layers = nn.ModuleList(layer(share) for share in rising(drop_path, plan.depth))
        self.ln1 = nn.LayerNorm(plan.width, eps=plan.eps) if plan.final_norm else None
        self.channels = (plan.width,) * len(plan.outputs)
        self.strides = (plan.patch_size,) * len(plan.outputs)
        self.size_divisor = 1
        self.min_side = 2 * plan.patch_size  # necks and heads halve a feature
        self.apply(init_linear)
        nn.init.kaiming_normal_(self.patch_embed.projection.weight)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Map images (NCHW, any size) to features, shallowest first."""
        patches = self.patch_embed(images)
        grid = size_of(patches)
        tokens = torch.cat([self.cls_token.expand(images.shape[0], -1, -1), to_tokens(patches)], dim=1)
        if self.pos_embed is not None:
            tokens = tokens + self._positions(self.pos_embed, grid)
        tokens, shared, outputs = self.enter(tokens), self.shared(grid, images.device), []
        for i, layer in enumerate(self.layers):
            tokens = layer(tokens, **shared)
            if self.ln1 is not None and i == len(self.layers) - 1:
                tokens = self.ln1(tokens)
            if i in self.plan.outputs:
                outputs.append(self.leave(tokens, grid))
        return outputs

    def stages(self) -> list[list[nn.Module]]:
        """See ``BackboneBase``: each block is a stage; the class token and the positions stay free."""
        return [[self.patch_embed], *([layer] for layer in self.layers)]

    def enter(self, tokens: Tensor) -> Tensor:
        """Return what the first block gets."""
        return tokens

    def leave(self, tokens: Tensor, grid: tuple[int, int]) -> Tensor:
        """Return a feature (NCHW) of a block's output, whose first token is the class token."""
        return to_map(tokens[:, 1:], grid)

    def shared(self, grid: tuple[int, int], device: torch.device) -> dict[str, Any]:
        """Return keywords of every block for a map of this height and width."""
        del grid, device
        return {}

    def resize_positions(self, positions: Tensor, size: tuple[int, int]) -> Tensor:
        """Return a map of positions (NCHW) at another size."""
        return F.interpolate(positions, size=size, mode="bicubic", align_corners=False)

    def _positions(self, table: Tensor, grid: tuple[int, int]) -> Tensor:
        # The same size gives the same numbers. A graph that is being traced has to hold for other sizes too.
        if not torch.compiler.is_compiling() and grid == self.plan.grid:
            return table
        resized = self.resize_positions(to_map(table[:, 1:], self.plan.grid), grid)
        return torch.cat([table[:, :1], to_tokens(resized)], dim=1)


class VisionTransformer(PlainTransformer):
    """ViT and DeiT.

    Args:
        in_channels: Channels of the images.
        plan: Shape of the network; see ``VIT_SHAPES``.
        class_token: Whether patches see the class token.
        joined: Whether each feature ends with the class token's channels at every pixel: twice as many.
        resize: How positions are resized.
        dropout: Share of activations dropped after attention and in perceptrons.
        attention_dropout: Share of attention weights dropped.
        drop_path: Largest share of the perceptrons' branches left out; rises linearly over the blocks.

    Raises:
        ShapeError: ``joined`` without ``class_token``, and as ``PlainTransformer``.
    """

    def __init__(
        self,
        *,
        in_channels: int,
        plan: VitPlan,
        class_token: bool = True,
        joined: bool = False,
        resize: Literal["bicubic", "bilinear"] = "bicubic",
        dropout: float = 0.0,
        attention_dropout: float = 0.0,
        drop_path: float = 0.0,
    ) -> None:
        if joined and not class_token:
            raise ShapeError("backbone", "joins a class token that patches do not see", "set class_token: true")

        def layer(share: float) -> nn.Module:
            return EncoderLayer(
                plan.width,
                num_heads=plan.num_heads,
                dropout=dropout,
                attention_dropout=attention_dropout,
                drop_path=share,
                eps=plan.eps,
            )

        super().__init__(
            in_channels=in_channels, plan=plan, layer=layer, drop_path=drop_path, patch_bias=False, positions=True
        )
        self.class_token, self.joined, self.resize = class_token, joined, resize
        self.drop_after_pos = nn.Dropout(dropout)
        if joined:
            self.channels = tuple(2 * width for width in self.channels)

    def enter(self, tokens: Tensor) -> Tensor:
        """See ``PlainTransformer``."""
        tokens = self.drop_after_pos(tokens)
        return tokens if self.class_token else tokens[:, 1:]

    def leave(self, tokens: Tensor, grid: tuple[int, int]) -> Tensor:
        """See ``PlainTransformer``; without a class token all tokens are patches."""
        if not self.class_token:
            return to_map(tokens, grid)
        feature = super().leave(tokens, grid)
        if not self.joined:
            return feature
        token = tokens[:, 0, :, None, None].expand_as(feature)
        return torch.cat([feature, token], dim=1)

    def resize_positions(self, positions: Tensor, size: tuple[int, int]) -> Tensor:
        """See ``PlainTransformer``."""
        return F.interpolate(positions, size=size, mode=self.resize, align_corners=False)
