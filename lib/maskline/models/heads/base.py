"""What every head shares: which features it takes, dropout and the classifier.

A head maps the list of a backbone's (or neck's) features to logits at a resolution of its own. A cascade head
also takes the logits of the head before it.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Literal, NotRequired, TypedDict

import torch
from torch import Tensor, nn

from maskline.core.errors import ShapeError
from maskline.models.layers import BATCH_NORM, Norm, resize, size_of

InputTransform = Literal["resize_concat", "multiple_select"]

Features = Sequence[Tensor]
Pair = tuple[Any, Tensor]
"""Logits, or what else a loss of the head's own compares, and the target."""


class HeadOptions(TypedDict):
    """Keywords that every head takes.

    Keys:
        in_channels: Channels of the feature, or of each feature where the head takes several.
        in_index: Position of the feature (negative: from the end), or positions.
        channels: Channels of the feature that the classifier sees.
        num_classes: Channels of the logits.
        dropout: Share of channels set to 0 before the classifier while training.
        align_corners: How features are resized.
        norm: Norm after each convolution.
    """

    in_channels: int | Sequence[int]
    in_index: int | Sequence[int]
    channels: int
    num_classes: int
    dropout: float
    align_corners: bool
    norm: NotRequired[Norm | None]


class Head(nn.Module, ABC):
    """Base of all heads; takes ``HeadOptions`` and how several features become the input.

    Args:
        input_transform: None: one feature; ``resize_concat``: several, resized to the first one's size and
            concatenated; ``multiple_select``: several, as they are.
        with_classifier: False: the head brings classifiers of its own.
        options: See ``HeadOptions``.

    Attributes:
        window: Feature pixels a side of the blocks that the feature is taken in; 1: as it is.
    """

    window: int = 1

    def __init__(
        self, options: HeadOptions, *, input_transform: InputTransform | None = None, with_classifier: bool = True
    ) -> None:
        super().__init__()
        widths, indices = _as_list(options["in_channels"]), _as_list(options["in_index"])
        if len(widths) != len(indices) or (input_transform is None and len(indices) != 1):
            raise ShapeError(
                type(self).__name__,
                f"in_channels {widths} and in_index {indices} do not fit together",
                "give as many channels as features" if input_transform else "give one of each",
            )
        self.input_transform = input_transform
        self.in_index = indices
        self.in_widths = widths
        self.in_channels = sum(widths) if input_transform == "resize_concat" else widths[0]
        self.channels = options["channels"]
        self.num_classes = options["num_classes"]
        self.align_corners = options["align_corners"]
        self.norm = options.get("norm", BATCH_NORM)
        self.dropout = nn.Dropout2d(options["dropout"]) if options["dropout"] > 0 else nn.Identity()
        if with_classifier:
            self.conv_seg = classifier(self.channels, self.num_classes)

    @abstractmethod
    def forward(self, features: Features, previous: Tensor | None = None) -> Tensor:
        """Map features to logits NCHW; ``previous`` are the logits of the head before, in a cascade."""

    def embed(self, features: Features) -> Tensor:
        """Return the feature that the classifier sees, before its dropout.

        Raises:
            ShapeError: The head has no such feature; ``fcn``, ``psp``, ``aspp`` and ``uper`` do.
        """
        raise ShapeError(type(self).__name__, "it has no feature before a classifier", "use fcn, psp, aspp or uper")

    def begin(self, *, batches: int) -> None:
        """Be told that training starts, and of how many batches it is; a head that changes on the way overrides it."""

    def select(self, features: Features) -> Tensor:
        """Return the one input: a feature, or several resized to the first and concatenated."""
        chosen = self.select_all(features)
        if self.input_transform != "resize_concat":
            return chosen[0]
        return torch.cat(self.resize_all(chosen), dim=1)

    def select_all(self, features: Features) -> list[Tensor]:
        """Return the chosen features as they are."""
        return [features[index] for index in self.in_index]

    def resize_all(self, features: Features) -> list[Tensor]:
        """Return the features at the first one's size."""
        first, *others = features
        return [first, *(resize(x, size_of(first), align_corners=self.align_corners) for x in others)]

    def classify(self, feature: Tensor) -> Tensor:
        """Map the last feature to logits: dropout, then a 1x1 convolution."""
        return self.conv_seg(self.dropout(feature))  # type: ignore[no-any-return]

    def supervise(
        self, features: Features, previous: Tensor | None, target: Tensor, *, padded: tuple[int, int]
    ) -> tuple[Tensor, Pair]:
        """Return the logits, for the next head, and the logits and target that the loss compares.

        Args:
            features: As in ``forward``.
            previous: As in ``forward``.
            target: Class ids of the images, int64 NHW.
            padded: Height and width that the features cover: those of ``target``, or more at the bottom and right.
        """
        logits = self(features, previous)
        return logits, self.pair(logits, target, padded=padded)

    def supervise_outputs(
        self, features: Features, previous: Tensor | None, target: Tensor, *, padded: tuple[int, int]
    ) -> tuple[Tensor, dict[str, Pair]]:
        """Return the logits, for the next head, and by what follows the head's name each pair that a loss compares.

        The main output's pair is last, under an empty name. Heads with further outputs override this, and their losses
        are built by ``maskline.builders.losses``. Arguments as in ``supervise``.
        """
        logits, pair = self.supervise(features, previous, target, padded=padded)
        return logits, {"": pair}

    def pair(self, logits: Tensor, target: Tensor, *, padded: tuple[int, int]) -> Pair:
        """Return logits resized to the target's pixels, and the target; arguments as in ``supervise``."""
        full = resize(logits, padded, align_corners=self.align_corners)
        return full[:, :, : target.shape[1], : target.shape[2]], target


def classifier(channels: int, num_classes: int) -> nn.Conv2d:
    """Return the 1x1 convolution that ends a head: weights of standard deviation 0.01, bias 0."""
    conv = nn.Conv2d(channels, num_classes, kernel_size=1)
    nn.init.normal_(conv.weight, std=0.01)
    assert conv.bias is not None
    nn.init.zeros_(conv.bias)
    return conv


def _as_list(value: int | Sequence[int]) -> list[int]:
    return [value] if isinstance(value, int) else list(value)
