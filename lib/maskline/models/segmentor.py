"""The segmentor: backbone, neck, heads behind one contract, for any input size.

``Segmentor`` joins the project's own parts; ``maskline.models.smp`` puts whole architectures of
segmentation-models-pytorch behind the same base. Any of them can stand in a row: see ``SegmentorBase.refiners``.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from maskline.core.errors import ShapeError
from maskline.models.backbones.base import BackboneBase
from maskline.models.heads.base import Head, Pair
from maskline.models.layers import resize, size_of

MIN_SIDE_PX = 16


class SegmentorBase(nn.Module, ABC):
    """Logits at input size for any height and width from 16 px.

    An input whose sides are no multiples of ``stride`` is padded with zeros (the mean color) at the bottom and
    right, and the logits are cropped; for a row of networks once, before the first and after the last, but in training
    for each.

    ``refiners`` are whole networks after this one, none at first. Each sees the image and, as further channels, the
    probabilities that the network before it gives all classes but the first, whose is what they lack to 1. The last
    one's logits are those of the row; in training each has a loss of its own, and gradients reach back through all.
    Source: Galdran et al., "The Little W-Net That Could", 2020, for two networks.

    Args:
        num_classes: Channels of the logits.
        stride: Multiple that the sides are padded to.
        align_corners: How logits are resized.
        min_side: Smaller sides are padded to it.
    """

    def __init__(self, *, num_classes: int, stride: int, align_corners: bool, min_side: int = MIN_SIDE_PX) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.stride = stride
        self.min_side = min_side
        self.align_corners = align_corners
        self.refiners = nn.ModuleList()

    @abstractmethod
    def run_heads(self, images: Tensor, *, auxiliary: bool) -> dict[str, Tensor]:
        """Return each head's logits for images whose sides are multiples of ``stride``; the main ones last."""

    def heads(self) -> dict[str, Head]:
        """Return the heads by name, auxiliary ones first; none where there are none by themselves."""
        return {}

    @abstractmethod
    def supervise_heads(self, images: Tensor, target: Tensor) -> dict[str, Pair]:
        """Return ``training_pairs`` for images whose sides are multiples of ``stride``; ``target`` may be smaller."""

    def forward(self, images: Tensor) -> Tensor:
        """Map normalized images (float NCHW) to logits (NCHW) of the same height and width.

        Raises:
            ShapeError: A side under 16 px; or a batch of one, in training, whose deepest feature is one pixel.
        """
        with self._checked(images):
            padded = self._pad(images)
            *_, logits = self.run_heads(padded, auxiliary=False).values()
            logits = resize(logits, size_of(padded), align_corners=self.align_corners)
        for network in self.networks()[1:]:
            logits = network(refined_input(padded, logits))
        return logits[:, :, : images.shape[2], : images.shape[3]]

    def follow_by(self, networks: "Iterable[SegmentorBase]") -> None:
        """Set the networks after this one, by which ``stride`` and ``min_side`` become those of the whole row."""
        del self.refiners  # set anew, it stands after the parts of this network
        self.refiners = nn.ModuleList(networks)
        self.stride = math.lcm(*(network.stride for network in self.networks()))
        self.min_side = max(network.min_side for network in self.networks())

    def networks(self) -> "list[SegmentorBase]":
        """Return the networks of the row, this one first."""
        return [self, *(cast("SegmentorBase", network) for network in self.refiners)]

    def head_logits(self, images: Tensor) -> dict[str, Tensor]:
        """Return every head's logits by name, each at its own resolution, auxiliary heads first.

        Where the input had to be padded, logits of a lower resolution have no pixel grid that ends at the input's
        border; they are then given at input size. Names of a refiner's heads begin with its own: ``refiners.0.``.

        Raises:
            ShapeError: As ``forward``.
        """
        with self._checked(images):
            padded = self._pad(images)
            outputs = self.run_heads(padded, auxiliary=True)
        for i, network in enumerate(self.networks()[1:]):
            logits = resize([*outputs.values()][-1], size_of(padded), align_corners=network.align_corners)
            own = network.head_logits(refined_input(padded, logits))
            outputs |= {refiner_name(i, name): value for name, value in own.items()}
        if padded.shape != images.shape:
            outputs = {name: self._fit(own, padded, images) for name, own in outputs.items()}
        return outputs

    def training_pairs(self, images: Tensor, target: Tensor) -> dict[str, Pair]:
        """Return, by head, the logits and the target that its loss compares; the main head's last.

        A head's further outputs stand before it under its name and theirs, as ``decode_head.presence``, and a refiner's
        after those of the network before it, as ``refiners.0.decode_head``.

        Args:
            images: Normalized, float NCHW.
            target: Class ids, int64 NHW, of the images' size.

        Raises:
            ShapeError: As ``forward``.
        """
        with self._checked(images):
            pairs = self.supervise_heads(self._pad(images), target)
        for i, network in enumerate(self.networks()[1:]):
            logits, _ = [*pairs.values()][-1]
            own = network.training_pairs(refined_input(images, logits), target)
            pairs |= {refiner_name(i, name): pair for name, pair in own.items()}
        return pairs

    @contextmanager
    def _checked(self, images: Tensor) -> Iterator[None]:
        height, width = images.shape[2], images.shape[3]
        if height < MIN_SIDE_PX or width < MIN_SIDE_PX:
            raise ShapeError("images", f"{height}x{width} px is too small", f"give at least {MIN_SIDE_PX} px a side")
        try:
            yield
        except ValueError as error:
            if "more than 1 value per channel" not in str(error):
                raise
            raise ShapeError(
                f"batch of {images.shape[0]} with {height}x{width} px",
                "batch norm cannot train on a single value a channel",
                "use a batch of 2 or more",
            ) from error

    def _pad(self, images: Tensor) -> Tensor:
        height, width = self._padded(images.shape[2]), self._padded(images.shape[3])
        return F.pad(images, (0, width - images.shape[3], 0, height - images.shape[2]))

    def _padded(self, side: int) -> int:
        if self.min_side > MIN_SIDE_PX:
            side = torch.sym_max(side, self.min_side)  # type: ignore[no-untyped-call]  # also for the symbols of an export
        return (side + self.stride - 1) // self.stride * self.stride

    def _fit(self, logits: Tensor, padded: Tensor, images: Tensor) -> Tensor:
        size = (padded.shape[2], padded.shape[3])
        logits = resize(logits, size, align_corners=self.align_corners)
        return logits[:, :, : images.shape[2], : images.shape[3]]


class Segmentor(SegmentorBase):
    """Backbone, optional neck, one decode head or a cascade, any number of auxiliary heads.

    A single head is the submodule ``decode_head`` (``auxiliary_head``), several are ``decode_head.0``, ``.1``, ...;
    these are MMSegmentation's names.

    Args:
        backbone: See ``BackboneBase``.
        decode_heads: The heads of the cascade in order; each sees the former's logits.
        auxiliary_heads: Heads that only training uses.
        neck: Maps the list of features to another list.
        num_classes: Channels of the logits.
        align_corners: How logits are resized to the input.
        reverse_channels: The backbone sees the images' channels from last to first.
    """

    def __init__(
        self,
        *,
        backbone: BackboneBase,
        decode_heads: Sequence[Head],
        auxiliary_heads: Sequence[Head],
        neck: nn.Module | None,
        num_classes: int,
        align_corners: bool,
        reverse_channels: bool = False,
    ) -> None:
        super().__init__(
            num_classes=num_classes,
            stride=backbone.size_divisor,
            align_corners=align_corners,
            min_side=max(MIN_SIDE_PX, backbone.min_side),
        )
        if not decode_heads:
            raise ShapeError("segmentor", "no decode head", "give at least one")
        self.backbone = backbone
        self.neck = neck
        self._reverse_channels = reverse_channels
        self.decode_head = _one_or_list(decode_heads)
        self.auxiliary_head = _one_or_list(auxiliary_heads) if auxiliary_heads else None

    def run_heads(self, images: Tensor, *, auxiliary: bool) -> dict[str, Tensor]:
        """See ``SegmentorBase``; auxiliary heads see the neck's features, as in MMSegmentation."""
        features = self._features(images)
        outputs: dict[str, Tensor] = {}
        previous = None
        for name, head in self.heads().items():
            if name.startswith("decode_head"):
                previous = outputs[name] = head(features, previous)
            elif auxiliary:
                outputs[name] = head(features)
        return outputs

    def supervise_heads(self, images: Tensor, target: Tensor) -> dict[str, Pair]:
        """See ``SegmentorBase``."""
        features = self._features(images)
        pairs: dict[str, Pair] = {}
        previous = None
        for name, head in self.heads().items():
            logits, own = head.supervise_outputs(features, previous, target, padded=size_of(images))
            pairs |= {name + output: pair for output, pair in own.items()}
            if name.startswith("decode_head"):
                previous = logits
        return pairs

    def _features(self, images: Tensor) -> list[Tensor]:
        features: list[Tensor] = self.backbone(images.flip(1) if self._reverse_channels else images)
        return features if self.neck is None else list(self.neck(features))

    def heads(self) -> dict[str, Head]:
        """Return all heads by name, auxiliary ones first."""
        auxiliary = {f"auxiliary_head.{i}": head for i, head in enumerate(_listed(self.auxiliary_head))}
        cascade = _listed(self.decode_head)
        if len(cascade) == 1:
            return {**auxiliary, "decode_head": cascade[0]}
        return {**auxiliary, **{f"decode_head.{i}": head for i, head in enumerate(cascade)}}


def refined_input(images: Tensor, logits: Tensor) -> Tensor:
    """Return what a refiner sees: the images, then the probabilities of all classes but the first, NCHW.

    Args:
        images: Normalized, float NCHW.
        logits: Of the network before, of the images' height and width.
    """
    return torch.cat([images, logits.softmax(1)[:, 1:].to(images.dtype)], dim=1)


def refiner_name(position: int, name: str) -> str:
    """Return the name that an output of a refiner has in the row."""
    return f"refiners.{position}.{name}"


def _one_or_list(heads: Sequence[Head]) -> nn.Module:
    return heads[0] if len(heads) == 1 else nn.ModuleList(heads)


def _listed(module: nn.Module | None) -> list[Head]:
    if module is None:
        return []
    return [cast(Head, head) for head in module] if isinstance(module, nn.ModuleList) else [cast(Head, module)]
