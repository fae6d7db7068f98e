"""PointRend's point head: uncertain pixels of the former logits are predicted anew at a finer resolution.

Source: Kirillov et al., "PointRend: Image Segmentation as Rendering", 2020; names as in MMSegmentation.
"""

import functools
from dataclasses import dataclass
from typing import Unpack

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from maskline.core.errors import ShapeError
from maskline.models.heads.base import Features, Head, HeadOptions
from maskline.models.layers import size_of
from maskline.runtime.point_sampling import draw_points, sample_points


@dataclass(frozen=True, kw_only=True)
class PointSampling:
    """How many points, and which.

    Args:
        train_points: Points of an image that training compares.
        oversample: Candidates per chosen point.
        uncertain_share: Share of the points that are the most uncertain candidates; the others are random.
        steps: Doublings of the resolution at inference.
        step_points: Points predicted anew after each doubling.
        scale_factor: What a "doubling" multiplies the resolution by.
    """

    train_points: int = 2048
    oversample: float = 3.0
    uncertain_share: float = 0.75
    steps: int = 2
    step_points: int = 8196
    scale_factor: int = 2


class PointHead(Head):
    """A cascade head: a small network on single points, shared by all points.

    Args:
        num_fcs: Layers before the classifier.
        coarse_each_layer: The former logits are joined to each layer's output, not only to the input.
        sampling: Which points.
        options: See ``HeadOptions``; several features are sampled and concatenated; points have no norm.
    """

    def __init__(
        self, *, num_fcs: int, coarse_each_layer: bool, sampling: PointSampling, **options: Unpack[HeadOptions]
    ) -> None:
        super().__init__({**options, "norm": None}, input_transform="multiple_select", with_classifier=False)
        self.sampling = sampling
        self.coarse_each_layer = coarse_each_layer
        self.point_dropout = nn.Dropout(options["dropout"])
        self.fcs = nn.ModuleList()
        width = sum(self.in_widths) + self.num_classes
        for _ in range(num_fcs):
            self.fcs.append(_PointLayer(width, self.channels))
            width = self.channels + (self.num_classes if coarse_each_layer else 0)
        self.fc_seg = nn.Conv1d(width, self.num_classes, 1)
        nn.init.normal_(self.fc_seg.weight, std=0.01)
        assert self.fc_seg.bias is not None
        nn.init.zeros_(self.fc_seg.bias)

    def forward(self, features: Features, previous: Tensor | None = None) -> Tensor:
        """Return the former logits at a finer resolution, its uncertain points predicted anew.

        Raises:
            ShapeError: No head comes before.
        """
        coarse = _needed(previous)
        refined = coarse
        chosen = self.select_all(features)
        for _ in range(self.sampling.steps):
            refined = F.interpolate(
                refined,
                scale_factor=self.sampling.scale_factor,
                mode="bilinear",
                align_corners=self.align_corners,
            )
            refined = self._refine(chosen, coarse, refined)
        return refined

    def _refine(self, features: Features, coarse: Tensor, logits: Tensor) -> Tensor:
        """Return ``logits`` with the most uncertain pixels predicted anew.

        A map of fewer pixels than points is filled up with pixels beyond it, which are cut off again: the number of
        points must not depend on the size, or it cannot be exported.
        """
        count, (height, width) = self.sampling.step_points, size_of(logits)
        flat = F.pad(logits.flatten(2), (0, count))
        doubt = F.pad(uncertainty(logits.flatten(2)), (0, count), value=float("-inf"))
        index = doubt.topk(count, dim=1).indices
        rows = torch.div(index, width, rounding_mode="floor")
        columns = index - rows * width  # a remainder by a symbol cannot be exported
        points = torch.stack([(columns + 0.5) / width, (rows + 0.5) / height], dim=2)
        anew = self.predict(features, coarse, points).to(logits.dtype)
        index = index.unsqueeze(1).expand(-1, self.num_classes, -1)
        return flat.scatter(2, index, anew)[:, :, : height * width].reshape(logits.shape)

    def predict(self, features: Features, coarse: Tensor, points: Tensor) -> Tensor:
        """Return logits (N, classes, P) at points (N, P, 2): x and y, 0..1 across the features."""
        at_points = sample_points(coarse, points, align_corners=self.align_corners)
        fine = [sample_points(x, points, align_corners=self.align_corners) for x in features]
        y = torch.cat([*fine, at_points], dim=1)
        for layer in self.fcs:
            y = layer(y)
            if self.coarse_each_layer:
                y = torch.cat([y, at_points], dim=1)
        return self.fc_seg(self.point_dropout(y))  # type: ignore[no-any-return]

    def supervise(
        self, features: Features, previous: Tensor | None, target: Tensor, *, padded: tuple[int, int]
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """See ``Head``: the loss compares points, as logits (N, classes, P, 1) and target (N, P, 1)."""
        coarse = _needed(previous)
        height, width = target.shape[1:]
        covered = _covered(width / padded[1], height / padded[0], coarse.device)
        with torch.no_grad():
            points = self._training_points(coarse, covered)
        logits = self.predict(self.select_all(features), coarse, points * covered).unsqueeze(3)
        # The nearest pixel; a float sampler would blur large class ids in bfloat16.
        columns = (points[:, :, 0] * width).long().clamp(max=width - 1)
        rows = (points[:, :, 1] * height).long().clamp(max=height - 1)
        labels = target.flatten(1).gather(1, rows * width + columns).unsqueeze(2)
        return coarse, (logits, labels)

    def _training_points(self, coarse: Tensor, covered: Tensor) -> Tensor:
        """Draw points (N, P, 2), 0..1 across the unpadded image: the most uncertain candidates, and random ones."""
        plan = self.sampling

        def doubt(candidates: Tensor) -> Tensor:
            at_candidates = sample_points(coarse.float(), candidates * covered, align_corners=self.align_corners)
            return uncertainty(at_candidates)

        return draw_points(
            doubt,
            rows=coarse.shape[0],
            count=plan.train_points,
            oversample=plan.oversample,
            uncertain_share=plan.uncertain_share,
            like=coarse,
        )


class _PointLayer(nn.Module):
    """A linear layer with ReLU, shared by all points; a 1x1 convolution in the checkpoints."""

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(in_channels, channels, 1)
        nn.init.kaiming_normal_(self.conv.weight, mode="fan_out", nonlinearity="relu")
        assert self.conv.bias is not None
        nn.init.zeros_(self.conv.bias)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.conv(x))


def uncertainty(logits: Tensor) -> Tensor:
    """Return minus the lead of the best class over the second, (N, P), for logits (N, classes, P)."""
    best = logits.topk(2, dim=1).values
    return best[:, 1] - best[:, 0]


@functools.lru_cache(maxsize=64)
def _covered(across: float, down: float, device: torch.device) -> Tensor:
    """Return both on the device, copied there once: a step that is captured as a graph cannot do it."""
    return torch.tensor([across, down], device=device)


def _needed(previous: Tensor | None) -> Tensor:
    if previous is None:
        raise ShapeError("point head", "no logits of a head before it", "put it second in a cascade")
    return previous
