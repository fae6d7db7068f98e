"""Which tensor of a checkpoint goes where: readable tables of names, and a report of what fits.

A table is a list of (pattern, replacement); the first pattern that matches a checkpoint's name gives this
project's name. All tables are tried; the one that places most tensors counts.
"""

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from maskline.models.stem import adapt_input_channels
from maskline.weights.adapting import joined_attention, two_classes

Table = tuple[tuple[str, str], ...]

_DEEP_STEM: Table = (
    (r"^conv1\.([0136])\.", r"backbone.stem.\1."),
    (r"^conv1\.4\.", "backbone.stem.4."),
    (r"^bn1\.", "backbone.stem.7."),
)

_MIXVIT: Table = tuple(
    (rf"^(?:backbone\.|encoder\.)?{theirs}", rf"backbone.layers.{stage - 1}.{ours}")
    for stage in (1, 2, 3, 4)
    for theirs, ours in (
        (rf"patch_embed{stage}\.proj\.", "0.projection."),
        (rf"patch_embed{stage}\.norm\.", "0.norm."),
        (rf"block{stage}\.(\d+)\.(norm[12])\.", r"1.\1.\2."),
        (rf"block{stage}\.(\d+)\.attn\.in_proj_", r"1.\1.attn.attn.in_proj_"),
        (rf"block{stage}\.(\d+)\.attn\.proj\.", r"1.\1.attn.attn.out_proj."),
        (rf"block{stage}\.(\d+)\.attn\.(sr|norm)\.", r"1.\1.attn.\2."),
        (rf"block{stage}\.(\d+)\.mlp\.fc1\.", r"1.\1.ffn.layers.0."),
        (rf"block{stage}\.(\d+)\.mlp\.dwconv\.dwconv\.", r"1.\1.ffn.layers.1."),
        (rf"block{stage}\.(\d+)\.mlp\.fc2\.", r"1.\1.ffn.layers.4."),
        (rf"norm{stage}\.", "2."),
    )
)

_CONVNEXT: Table = (
    (r"^backbone\.downsample_layers\.0\.", "backbone.model.stem."),
    (r"^backbone\.downsample_layers\.(\d)\.", r"backbone.model.stages.\1.downsample."),
    (r"^backbone\.stages\.(\d)\.(\d+)\.depthwise_conv\.", r"backbone.model.stages.\1.blocks.\2.conv_dw."),
    (r"^backbone\.stages\.(\d)\.(\d+)\.pointwise_conv(\d)\.", r"backbone.model.stages.\1.blocks.\2.mlp.fc\3."),
    (r"^backbone\.stages\.(\d)\.(\d+)\.", r"backbone.model.stages.\1.blocks.\2."),
    (r"^", ""),
)

TABLES: dict[str, Table] = {
    "MMSegmentation, or maskline's own names": ((r"^", ""),),
    "segmentation-models-pytorch, whole model": ((r"^(encoder|decoder|segmentation_head)\.", r"model.\1."),),
    "segmentation-models-pytorch, encoder alone": ((r"^(?:encoder\.)?(.*)", r"backbone.encoder.\1"),),
    "timm, as an encoder": ((r"^(.*)", r"backbone.encoder.model.\1"),),
    "torchvision or timm ResNet": ((r"^(conv1\.weight|bn1\.|layer[1-4]\.)", r"backbone.\1"),),
    "timm ResNet with a deep stem": (*_DEEP_STEM, (r"^(layer[1-4]\.)", r"backbone.\1")),
    "Mix Transformer with q and kv (NVlabs, SMP)": _MIXVIT,
    "MMSegmentation with mmpretrain's ConvNeXt": _CONVNEXT,
    "backbone alone": ((r"^(.*)", r"backbone.\1"),),
}
# What a table's checkpoints need before their names are looked up.
_PREPARED: dict[str, Callable[[Mapping[str, Tensor]], dict[str, Tensor]]] = {
    "Mix Transformer with q and kv (NVlabs, SMP)": joined_attention,
}


@dataclass(frozen=True, kw_only=True)
class Match:
    """What fits where.

    Args:
        table: Name of the table.
        tensors: This project's name -> tensor, of the right shape.
        matched: Names placed as they are.
        reshaped: Names whose tensor has the same numbers in another shape (a linear layer, a 1x1 convolution), was
            joined from two, got a channel of zeros, or is a first convolution for another number of image channels.
        missing: This project's names that got nothing.
        left_over: The checkpoint's names that found no place.
        unfit: Names with another number of values: "name: shape in the file, shape here".
    """

    table: str
    tensors: dict[str, Tensor]
    matched: tuple[str, ...]
    reshaped: tuple[str, ...]
    missing: tuple[str, ...]
    left_over: tuple[str, ...]
    unfit: tuple[str, ...]

    @property
    def whole(self) -> bool:
        """Whether every tensor of both sides found its place."""
        return not (self.missing or self.left_over or self.unfit)


def match(foreign: Mapping[str, Tensor], own: Mapping[str, Tensor], *, binary: Collection[str] = ()) -> Match:
    """Place a checkpoint's tensors by the table that places most.

    Args:
        foreign: The checkpoint's tensors.
        own: The network's tensors; only names and shapes are read.
        binary: See ``parts`` of ``maskline.weights.adapting.two_classes``.
    """
    prepared = two_classes(foreign, parts=binary)
    matches = [
        _by_table(name, table, _PREPARED.get(name, dict)(prepared), own, as_stored=foreign)
        for name, table in TABLES.items()
    ]
    return max(matches, key=lambda one: len(one.tensors))


def _by_table(
    name: str,
    table: Table,
    foreign: Mapping[str, Tensor],
    own: Mapping[str, Tensor],
    *,
    as_stored: Mapping[str, Tensor],
) -> Match:
    tensors: dict[str, Tensor] = {}
    matched, left_over, unfit = set(), [], []
    stem = next((key for key, value in own.items() if value.ndim == 4), None)
    for source, tensor in foreign.items():
        target = _renamed(source, table)
        if target is None or target not in own or target in tensors:
            left_over.append(source)
            continue
        fitting = _fitting(tensor, own[target].shape, is_stem=target == stem)
        if fitting is None:
            unfit.append(f"{target}: {list(tensor.shape)} in the file, {list(own[target].shape)} here")
            continue
        tensors[target] = fitting
        if fitting is as_stored.get(source):
            matched.add(target)
    placed = {*tensors, *(line.split(": ")[0] for line in unfit)}
    missing = [
        name_here
        for name_here in own
        # Files before PyTorch 0.4.1 have no counter of batches; it changes nothing in evaluation.
        if name_here not in placed and not name_here.endswith("num_batches_tracked")
    ]
    return Match(
        table=name,
        tensors=tensors,
        matched=tuple(sorted(matched)),
        reshaped=tuple(target for target in tensors if target not in matched),
        missing=tuple(missing),
        left_over=tuple(left_over),
        unfit=tuple(unfit),
    )


def _fitting(tensor: Tensor, shape: torch.Size, *, is_stem: bool) -> Tensor | None:
    """Return the tensor in the shape that the network has; None: it cannot have it."""
    if tensor.shape == shape:
        return tensor
    if _squeezed(tensor.shape) == _squeezed(shape):
        return tensor.reshape(shape)
    if is_stem and tensor.ndim == 4 and (tensor.shape[0], *tensor.shape[2:]) == (shape[0], *shape[2:]):
        return adapt_input_channels(tensor, shape[1])
    return None


def _renamed(name: str, table: Table) -> str | None:
    for pattern, replacement in table:
        renamed, count = re.subn(pattern, replacement, name, count=1)
        if count:
            return renamed
    return None


def _squeezed(shape: torch.Size) -> tuple[int, ...]:
    return tuple(side for side in shape if side != 1)
