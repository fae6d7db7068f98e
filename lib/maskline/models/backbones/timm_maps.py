"""Networks of timm that are no pyramid of strides 2 to 32, plain vision transformers above all, as backbones.

Positions are resized at run time, from the network's own table and as timm does it (bicubic, antialiased), or are
rotations that need no table; the biases of BEiT are resized as those of ``maskline.models.backbones.beit``. So each
takes images of any size whose sides are multiples of its patch.

Source: timm (Apache-2.0); the licence of pretrained weights is that of each model's authors.
"""

import inspect
from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from maskline.core.errors import ShapeError
from maskline.models.backbones.base import BackboneBase
from maskline.models.tail import Tail
from maskline.models.transformer import biases_with_class_token, relative_positions_with_class_token
from maskline.runtime.libraries import declare_missing_operators

ANY_SIZE = "choose a network that takes images of any size, such as convnext_tiny or vit_small_patch16_224"
# Modules of timm in which all networks are plain transformers.
_PLAIN = {"beit", "deit", "eva", "naflexvit", "vision_transformer", "vision_transformer_sam"}


class TimmMaps(BackboneBase):
    """Features of a network of timm, shallowest first; those of a plain transformer have one stride.

    Args:
        model: As ``timm.create_model`` makes it.
        out_indices: Blocks whose output is a feature, from 0; None: the last one of each quarter of a plain
            transformer's, all stages of another network.
        final_norm: Each feature goes through the network's last norm.
    """

    def __init__(self, model: Any, *, out_indices: Sequence[int] | None, final_norm: bool) -> None:
        super().__init__()
        self.model = model
        self.final_norm = final_norm
        self.gives_prefix = False
        about = [(info["num_chs"], info["reduction"]) for info in self.model.feature_info]
        depth = len(about)
        plain = len(set(about)) == 1
        quarters = tuple(depth * quarter // 4 - 1 for quarter in (1, 2, 3, 4))
        indices = quarters if plain and depth >= 4 else tuple(range(depth))
        self.indices = indices if out_indices is None else tuple(out_indices)
        if not set(self.indices) <= set(range(depth)):
            told = f"out_indices {list(self.indices)} of {depth} blocks"
            raise ShapeError("backbone", told, f"choose from 0 to {depth - 1}")
        # Where the classifier saw a mean over the patches, their norm stands after it.
        if isinstance(getattr(self.model, "norm", None), nn.Identity) and hasattr(self.model, "fc_norm"):
            self.model.norm, self.model.fc_norm = self.model.fc_norm, nn.Identity()
        self.model.prune_intermediate_layers(list(self.indices), prune_norm=not final_norm, prune_head=True)
        self.channels = tuple(about[i][0] for i in self.indices)
        self.strides = tuple(about[i][1] for i in self.indices)
        self.size_divisor = max(self.strides)
        self.min_side = 2 * self.size_divisor  # necks and heads halve a feature

    def forward(self, images: Tensor) -> list[Tensor]:
        """Map images (NCHW, sides multiples of ``size_divisor``) to features, shallowest first.

        After ``cut``: the patches as a map, and the tokens before them as a map of one row, where there are any.
        """
        more = {"return_prefix_tokens": True} if self.gives_prefix else {}
        maps = self._run(images, norm=self.final_norm, **more)
        if not self.gives_prefix:
            return list(maps)
        patches, prefix = maps[0]
        return [patches, prefix.transpose(1, 2).unsqueeze(2)]

    def stages(self) -> list[list[nn.Module]]:
        """See ``BackboneBase``: each block of a plain transformer is a stage; another network is one."""
        blocks = getattr(self.model, "blocks", None)
        if blocks is None or not hasattr(self.model, "patch_embed"):
            return [[], [self.model]]
        return [[self.model.patch_embed], *([block] for block in blocks)]

    def cut(self, count: int) -> Tail:
        """Take the last blocks and the norm away, and return them; what is left gives what the first of them gets.

        Raises:
            ShapeError: The network has no such blocks, or its blocks have no attention that can be masked.
        """
        blocks = getattr(self.model, "blocks", None)
        if not (isinstance(blocks, nn.ModuleList | nn.Sequential) and self.final_norm):
            raise ShapeError("backbone", "has no blocks to take away", "choose a plain transformer of timm")
        if len(blocks) <= count:
            raise ShapeError("backbone", f"has {len(blocks)} blocks, too few to take {count} away", "take fewer")
        masked = "attn_mask" in inspect.signature(blocks[-1].forward).parameters
        if not masked or getattr(self.model, "rope_mixed", False):
            raise ShapeError("backbone", "has blocks whose attention cannot be masked", "choose a ViT, such as DINOv2")
        kept, taken = list(blocks)[:-count], list(blocks)[-count:]
        tail = Tail(
            taken,
            first=len(kept),
            norm=self.model.norm,
            rope=getattr(self.model, "rope", None),
            prefix=self.model.num_prefix_tokens,
        )
        self.model.blocks = type(blocks)(kept) if isinstance(blocks, nn.ModuleList) else nn.Sequential(*kept)
        self.model.norm, self.final_norm = nn.Identity(), False
        self.indices = (len(kept) - 1,)
        self.gives_prefix = tail.prefix > 0
        count = 2 if self.gives_prefix else 1
        self.channels, self.strides = self.channels[-1:] * count, self.strides[-1:] * count
        return tail

    def _run(self, images: Tensor, **options: Any) -> Sequence[Any]:
        return cast(
            Sequence[Any],
            self.model.forward_intermediates(
                images, indices=list(self.indices), intermediates_only=True, stop_early=True, **options
            ),
        )


class BeitMaps(TimmMaps):
    """BEiT of timm: biases for offsets are resized with the map; offset 0 stays where it is."""

    def __init__(self, model: Any, *, out_indices: Sequence[int] | None, final_norm: bool) -> None:
        super().__init__(model, out_indices=out_indices, final_norm=final_norm)
        from timm.models.beit import Attention

        class Biased(Attention):  # type: ignore[misc]  # by what comes with the call
            def forward(self, x: Tensor, shared_rel_pos_bias: Tensor | None = None) -> Tensor:
                bias = None if self.q_bias is None else torch.cat((self.q_bias, self.k_bias, self.v_bias))
                joined = F.linear(x, self.qkv.weight, bias).reshape(*x.shape[:2], 3, self.num_heads, -1)
                query, key, value = joined.permute(2, 0, 3, 1, 4).unbind(0)
                dropout = self.attn_drop.p if self.training else 0.0
                attended = F.scaled_dot_product_attention(query, key, value, shared_rel_pos_bias, dropout)
                # A copy, since the layout of what attention gives is another one in an exported graph.
                attended = attended.transpose(1, 2).clone(memory_format=torch.contiguous_format)
                return self.proj_drop(self.proj(attended.flatten(2)))  # type: ignore[no-any-return]

        self.grid: tuple[int, int] = tuple(self.model.patch_embed.grid_size)
        self.model.patch_embed.strict_img_size = False
        for block in self.model.blocks:
            block.attn.__class__ = Biased

    def _run(self, images: Tensor, *, norm: bool = False, **_: Any) -> Sequence[Any]:
        patches = self.model.patch_embed(images)
        size = (images.shape[2] // self.strides[0], images.shape[3] // self.strides[0])
        tokens = torch.cat([self.model.cls_token.expand(images.shape[0], -1, -1), patches], dim=1)
        if self.model.pos_embed is not None:
            table = self.model.pos_embed
            positions = table[:, 1:].transpose(1, 2).unflatten(2, self.grid)
            resized = F.interpolate(positions, size=size, mode="bicubic", antialias=True)
            tokens = tokens + torch.cat([table[:, :1], resized.flatten(2).transpose(1, 2)], dim=1)
        tokens, maps = self.model.pos_drop(tokens), []
        index = relative_positions_with_class_token(*size, device=images.device)
        shared = self.model.rel_pos_bias
        for i, block in enumerate(self.model.blocks):
            table = (shared or block.attn).relative_position_bias_table
            biases = biases_with_class_token(table, of=self.grid, at=size)
            tokens = block(tokens, shared_rel_pos_bias=biases[:, index].unsqueeze(0).to(tokens.dtype))
            if i in self.indices:
                given = self.model.norm(tokens) if norm else tokens
                maps.append(given[:, 1:].transpose(1, 2).unflatten(2, size))
        return maps


def is_plain(name: str) -> bool:
    """Tell whether a network of timm is one of its plain transformers, by its name (after ``tu-``)."""
    declare_missing_operators()
    import timm

    bare = name.removeprefix("tu-").split(".")[0]
    return timm.is_model(bare) and timm.models.model_entrypoint(bare).__module__.rpartition(".")[2] in _PLAIN


def timm_maps(
    name: str,
    *,
    in_channels: int,
    pretrained: bool = False,
    out_indices: Sequence[int] | None = None,
    final_norm: bool = False,
    patch_size: int | None = None,
) -> TimmMaps:
    """Return a network of timm by its name (after ``tu-``).

    Args:
        name: See above.
        in_channels: Channels of the images; a pretrained stem is adapted.
        pretrained: Download its weights unless they are cached.
        out_indices: See ``TimmMaps``.
        final_norm: See ``TimmMaps``.
        patch_size: Side of a patch, px; pretrained patches and positions are resized. None: the network's own.

    Raises:
        ShapeError: It gives no maps, or takes images of one size alone, or has no patches of this size.
    """
    bare = name.removeprefix("tu-")
    model = _create(bare, in_channels=in_channels, pretrained=pretrained, patch_size=patch_size)
    kind = BeitMaps if hasattr(model, "blocks") and type(model).__name__ == "Beit" else TimmMaps
    maps = kind(model, out_indices=out_indices, final_norm=final_norm)
    _check(bare, maps, in_channels=in_channels)
    return maps


def _create(name: str, *, in_channels: int, pretrained: bool, patch_size: int | None) -> nn.Module:
    declare_missing_operators()
    import timm

    options: dict[str, Any] = {"in_chans": in_channels, "pretrained": pretrained}
    if patch_size is not None:
        options["patch_size"] = patch_size
    try:
        try:
            model = timm.create_model(name, dynamic_img_size=True, **options)
        except TypeError as error:  # one that is no ViT takes no such keyword, and any size or one alone
            if "dynamic_img_size" not in str(error):
                raise
            model = timm.create_model(name, **options)
    except TypeError as error:
        told = f"has no patches of another size ({error})"
        raise ShapeError(f"encoder tu-{name}", told, "set model.backbone.patch_size to null") from error
    if not (hasattr(model, "forward_intermediates") and hasattr(model, "prune_intermediate_layers")):
        raise ShapeError(f"encoder tu-{name}", "gives no maps of features", ANY_SIZE)
    return cast(nn.Module, model.to(torch.float32))


@torch.no_grad()
def _check(name: str, maps: TimmMaps, *, in_channels: int) -> None:
    training, sides = maps.training, (maps.min_side, 2 * maps.min_side)
    maps.eval()
    try:
        sizes = [tuple(x.shape[2:]) for x in maps(torch.zeros(1, in_channels, *sides))]
        wanted = [tuple(-(-side // stride) for side in sides) for stride in maps.strides]
        reason = "" if sizes == wanted else f"its maps are {sizes}, not {wanted}"
    except (AssertionError, RuntimeError, ValueError, IndexError, TypeError) as error:
        reason = " ".join(str(error).split())
    maps.train(training)
    if reason:
        raise ShapeError(f"encoder tu-{name}", f"does not take images of any size ({reason})", ANY_SIZE)
