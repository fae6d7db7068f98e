"""PIDNet's head: a classifier for the joined feature; while training, one for detail and one for boundaries too.

Source: Xu, Xiong, Bhattacharyya, "PIDNet: A Real-time Semantic Segmentation Network Inspired by PID Controllers", 2023
(MIT); names as in MMSegmentation (Apache-2.0).
"""

from typing import Unpack

import torch
from torch import Tensor, nn

from maskline.models.heads.base import Features, Head, HeadOptions, Pair, classifier
from maskline.models.heads.ddr import norm_act_conv
from maskline.models.layers import Norm


class PIDHead(Head):
    """A convolution and a classifier on each of three features: detail, boundaries, both joined with context.

    Training also compares ``.detail``, ``.boundary`` (one channel) and ``.at_boundary``: the main logits and, as one
    more channel, the boundary's, by which ``maskline.losses.edges`` chooses pixels.

    Args:
        options: See ``HeadOptions``; the last feature is the joined one. Of fewer than three, one serves as several.
    """

    def __init__(self, **options: Unpack[HeadOptions]) -> None:
        super().__init__(options, input_transform="multiple_select")
        detail, boundary, joint = self.in_widths[0], self.in_widths[-2:][0], self.in_widths[-1]
        inner = max(1, joint // 4)
        self.i_head = _Part(joint, self.channels, norm=self.norm)
        self.p_head = _Part(detail, self.channels, norm=self.norm)
        self.d_head = _Part(boundary, inner, norm=self.norm)
        self.p_cls_seg = classifier(self.channels, self.num_classes)
        self.d_cls_seg = classifier(inner, 1)

    def forward(self, features: Features, previous: Tensor | None = None) -> Tensor:
        """Map the joined feature to logits at its resolution."""
        del previous
        return self.classify(self.i_head(self.select_all(features)[-1]))

    def supervise_outputs(
        self, features: Features, previous: Tensor | None, target: Tensor, *, padded: tuple[int, int]
    ) -> tuple[Tensor, dict[str, Pair]]:
        """See ``Head``."""
        logits = self(features, previous)
        chosen = self.select_all(features)
        detail = self.p_cls_seg(self.p_head(chosen[0]))
        boundary = self.d_cls_seg(self.d_head(chosen[-2:][0]))
        main, _ = self.pair(logits, target, padded=padded)
        edge, _ = self.pair(boundary, target, padded=padded)
        return logits, {
            ".detail": self.pair(detail, target, padded=padded),
            ".boundary": (edge, target),
            ".at_boundary": (torch.cat([main, edge], dim=1), target),
            "": (main, target),
        }


class _Part(nn.Module):
    """Norm, ReLU, convolution, norm, ReLU."""

    def __init__(self, in_channels: int, channels: int, *, norm: Norm | None) -> None:
        super().__init__()
        self.conv, self.norm, self.act = norm_act_conv(in_channels, channels, norm=norm)

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.norm(self.conv(x)))  # type: ignore[no-any-return]
