"""Point-wise spatial attention head.

Source: Zhao et al., "PSANet: Point-wise Spatial Attention Network for Scene Parsing", 2018; names as in MMSegmentation
(Apache-2.0), the compiled operator of mmcv (Apache-2.0) as an index.
"""

from typing import Literal, Unpack

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from maskline.models.heads.base import Features, Head, HeadOptions, InputTransform
from maskline.models.layers import ConvNormAct, resize, size_of


class PSAHead(Head):
    """Each pixel predicts how much it takes from every place around it, and how much it gives.

    Args:
        mask_size: Rows and columns of a pixel's surroundings, odd numbers.
        kind: ``collect``: takes; ``distribute``: gives; ``bi-direction``: both.
        shrink_factor: What the feature is smaller by while this is done.
        normalization_factor: What the sums are divided by; None: places of the surroundings.
        with_softmax: Softmax over the places.
        input_transform: See ``Head``.
        options: See ``HeadOptions``.
    """

    def __init__(
        self,
        *,
        mask_size: tuple[int, int] = (97, 97),
        kind: Literal["collect", "distribute", "bi-direction"] = "bi-direction",
        shrink_factor: int = 2,
        normalization_factor: float | None = 1.0,
        with_softmax: bool = True,
        input_transform: InputTransform | None = None,
        **options: Unpack[HeadOptions],
    ) -> None:
        super().__init__(options, input_transform=input_transform)
        places = mask_size[0] * mask_size[1]
        self.mask_size, self.kind = mask_size, kind
        self.shrink_factor, self.with_softmax = shrink_factor, with_softmax
        self.normalization_factor = float(places) if normalization_factor is None else normalization_factor
        self.reduce, self.attention = self._branch(places)
        both = kind == "bi-direction"
        if both:
            self.reduce_p, self.attention_p = self._branch(places)
        self.proj = ConvNormAct(self.channels * (2 if both else 1), self.in_channels, norm=self.norm)
        self.bottleneck = ConvNormAct(2 * self.in_channels, self.channels, kernel_size=3, norm=self.norm)

    def _branch(self, places: int) -> tuple[nn.Module, nn.Module]:
        reduce = ConvNormAct(self.in_channels, self.channels, norm=self.norm)
        last = nn.Conv2d(self.channels, places, 1, bias=False)
        return reduce, nn.Sequential(ConvNormAct(self.channels, self.channels, norm=self.norm), last)

    def forward(self, features: Features, previous: Tensor | None = None) -> Tensor:
        """Map features to logits at the feature's resolution."""
        del previous
        x = self.select(features)
        (height, width), factor = size_of(x), self.shrink_factor
        small, corners = (height, width), int(self.align_corners)
        if factor != 1:
            # Corner pixels stay on corners where neither side is a multiple, as published. Reckoned, not asked, so
            # that a tracer follows it for every size.
            corners = torch.sym_min(height % factor, 1) * torch.sym_min(width % factor, 1)  # type: ignore[no-untyped-call]
            small = ((height - corners) // factor + corners, (width - corners) // factor + corners)
        first = self.kind != "distribute"
        parts = [self._gathered(self.reduce, self.attention, x, small, corners=corners, collects=first)]
        if self.kind == "bi-direction":
            parts.append(self._gathered(self.reduce_p, self.attention_p, x, small, corners=corners, collects=False))
        # The published networks pad before this 1x1 convolution.
        y = self.proj(F.pad(torch.cat(parts, dim=1), (1, 1, 1, 1)))
        y = _resized(y, (height, width), corners=corners)
        return self.classify(self.bottleneck(torch.cat([x, y], dim=1)))

    def _gathered(
        self,
        reduce: nn.Module,
        attention: nn.Module,
        x: Tensor,
        size: tuple[int, int],
        *,
        corners: int,
        collects: bool,
    ) -> Tensor:
        """Return each pixel's weighed sum over the feature at ``size``."""
        y = _resized(reduce(x), size, corners=corners)
        scores = _centred(attention(y), self.mask_size)
        if not collects:  # what a place gets from all pixels, not what a pixel gets from all places
            scores = scores.transpose(1, 2)
        weights = torch.softmax(scores, dim=1) if self.with_softmax else scores
        return (y.flatten(2) @ weights).reshape(y.shape) / self.normalization_factor


def _resized(x: Tensor, size: tuple[int, int], *, corners: int) -> Tensor:
    """Return ``x`` resized; ``corners`` 1: ``align_corners``; of an exported file only its input's size says it."""
    if not torch.compiler.is_exporting():
        return resize(x, size, align_corners=bool(corners))
    rows, columns = (_interpolation(old, new, corners, like=x) for old, new in zip(size_of(x), size, strict=True))
    return rows @ x @ columns.transpose(0, 1)


def _interpolation(old: int, new: int, corners: int, *, like: Tensor) -> Tensor:
    """Return how much each of ``old`` places gives to each new one, shape (new, old), as bilinear resizing has it."""
    place, source = torch.arange(new, device=like.device).to(like.dtype), torch.arange(old, device=like.device)
    on_corners = place * (old - 1) / torch.sym_max(new - 1, 1)  # type: ignore[no-untyped-call]
    centred = ((place + 0.5) * old / new - 0.5).clamp(min=0)
    seen = (corners * on_corners + (1 - corners) * centred).clamp(max=old - 1)
    weights: Tensor = (1 - (seen.unsqueeze(1) - source).abs()).clamp(min=0)
    return weights


def _centred(mask: Tensor, mask_size: tuple[int, int]) -> Tensor:
    """Return each pixel's values of its surroundings at the places of the whole feature.

    Args:
        mask: (N, rows * columns, H, W), the surroundings of each pixel, itself in their middle.
        mask_size: Rows and columns.

    Returns:
        (N, places, pixels), 0 where a place is out of the surroundings.
    """
    (height, width), (rows, columns) = size_of(mask), mask_size
    row, row_inside = _offset(height, rows, like=mask)
    column, column_inside = _offset(width, columns, like=mask)
    # Place (i, j) of pixel (h, w): i, j, h, w.
    index = row.unsqueeze(1).unsqueeze(3) * columns + column.unsqueeze(1).unsqueeze(0)
    inside = row_inside.unsqueeze(1).unsqueeze(3) & column_inside.unsqueeze(1).unsqueeze(0)
    places = height * width
    index, inside = index.reshape(1, places, places), inside.reshape(1, places, places)
    values = mask.flatten(2).gather(1, index.expand(mask.shape[0], -1, -1))
    return values * inside


def _offset(length: int, size: int, *, like: Tensor) -> tuple[Tensor, Tensor]:
    """Return where each place is in the surroundings of each pixel, (places, pixels), and whether it is there."""
    position = torch.arange(length, device=like.device)
    offset = position.unsqueeze(1) - position.unsqueeze(0) + (size - 1) // 2
    return offset.clamp(0, size - 1), (offset >= 0) & (offset < size)
