"""Which tensor of a checkpoint goes where: readable tables of names, and a report of what fits.

A table is a list of (pattern, replacement); the first pattern that matches a checkpoint's name gives this
project's name. All tables are tried; the one that places most tensors counts.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

Table = tuple[tuple[str, str], ...]

_DEEP_STEM: Table = (
    (r"^conv1\.([0136])\.", r"backbone.stem.\1."),
    (r"^conv1\.4\.", "backbone.stem.4."),
    (r"^bn1\.", "backbone.stem.7."),
)

TABLES: dict[str, Table] = {
    "MMSegmentation, or maskline's own names": ((r"^", ""),),
    "segmentation-models-pytorch, whole model": ((r"^(encoder|decoder|segmentation_head)\.", r"model.\1."),),
    "segmentation-models-pytorch, encoder alone": ((r"^(?:encoder\.)?(.*)", r"backbone.encoder.\1"),),
    "timm, as an encoder": ((r"^(.*)", r"backbone.encoder.model.\1"),),
    "torchvision or timm ResNet": ((r"^(conv1\.weight|bn1\.|layer[1-4]\.)", r"backbone.\1"),),
    "timm ResNet with a deep stem": (*_DEEP_STEM, (r"^(layer[1-4]\.)", r"backbone.\1")),
    "backbone alone": ((r"^(.*)", r"backbone.\1"),),
}


@dataclass(frozen=True, kw_only=True)
class Match:
    """What fits where.

    Args:
        table: Name of the table.
        tensors: This project's name -> tensor, of the right shape.
        matched: Names placed as they are.
        reshaped: Names whose tensor has the same numbers in another shape (a linear layer, a 1x1 convolution).
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


def match(found: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> Match:
    """Place a checkpoint's tensors by the table that places most.

    Args:
        found: The checkpoint's tensors.
        own: The network's tensors; only names and shapes are read.
    """
    matches = [_by_table(name, table, found, own) for name, table in TABLES.items()]
    return max(matches, key=lambda one: len(one.tensors))


def _by_table(name: str, table: Table, found: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> Match:
    tensors: dict[str, Tensor] = {}
    reshaped, left_over, unfit = [], [], []
    for source, tensor in found.items():
        target = _renamed(source, table)
        if target is None or target not in own or target in tensors:
            left_over.append(source)
        elif tensor.shape == own[target].shape:
            tensors[target] = tensor
        elif _squeezed(tensor) == _squeezed(own[target]):
            tensors[target] = tensor.reshape(own[target].shape)
            reshaped.append(target)
        else:
            unfit.append(f"{target}: {list(tensor.shape)} in the file, {list(own[target].shape)} here")
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
        matched=tuple(sorted(tensors.keys() - set(reshaped))),
        reshaped=tuple(reshaped),
        missing=tuple(missing),
        left_over=tuple(left_over),
        unfit=tuple(unfit),
    )


def _renamed(name: str, table: Table) -> str | None:
    for pattern, replacement in table:
        renamed, count = re.subn(pattern, replacement, name, count=1)
        if count:
            return renamed
    return None


def _squeezed(tensor: Tensor) -> tuple[int, ...]:
    return tuple(side for side in tensor.shape if side != 1)
