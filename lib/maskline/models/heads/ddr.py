"""DDRNet's head: one classifier for the joined feature, one, while training, for the fine branch.

Source: Hong et al., "Deep Dual-resolution Networks for Real-time and Accurate Semantic Segmentation of Road Scenes",
2021 (MIT); names as in MMSegmentation (Apache-2.0).
"""

from typing import Unpack

from torch import Tensor, nn

from maskline.models.heads.base import Features, Head, HeadOptions, Pair, classifier
from maskline.models.layers import Norm, NormActConv


class DDRHead(Head):
    """A convolution and a classifier on the last feature; training also compares the first one, as ``.fine``.

    Args:
        options: See ``HeadOptions``.
    """

    def __init__(self, **options: Unpack[HeadOptions]) -> None:
        super().__init__(options, input_transform="multiple_select")
        self.head = nn.Sequential(*norm_act_conv(self.in_widths[-1], self.channels, norm=self.norm))
        self.aux_head = nn.Sequential(*norm_act_conv(self.in_widths[0], self.channels, norm=self.norm))
        self.aux_cls_seg = classifier(self.channels, self.num_classes)

    def forward(self, features: Features, previous: Tensor | None = None) -> Tensor:
        """Map the last feature to logits at its resolution."""
        del previous
        return self.classify(self.head(self.select_all(features)[-1]))

    def supervise_outputs(
        self, features: Features, previous: Tensor | None, target: Tensor, *, padded: tuple[int, int]
    ) -> tuple[Tensor, dict[str, Pair]]:
        """See ``Head``."""
        logits = self(features, previous)
        fine = self.aux_cls_seg(self.aux_head(self.select_all(features)[0]))
        return logits, {".fine": self.pair(fine, target, padded=padded), "": self.pair(logits, target, padded=padded)}


def norm_act_conv(in_channels: int, channels: int, *, norm: Norm | None) -> list[nn.Module]:
    """Return norm, ReLU, a 3x3 convolution, norm, ReLU."""
    first = NormActConv(in_channels, channels, kernel_size=3, norm=norm)
    return [first, nn.Identity() if norm is None else norm.build(channels), nn.ReLU()]
