"""Dual attention head.

Source: Fu et al., "Dual Attention Network for Scene Segmentation", 2019; names as in MMSegmentation (Apache-2.0).
"""

from typing import Unpack

import torch
from torch import Tensor, nn

from maskline.models.heads.attention import Scale, SelfAttention
from maskline.models.heads.base import Features, Head, HeadOptions, InputTransform, Pair, classifier
from maskline.models.layers import ConvNormAct


class DAHead(Head):
    """Attention among pixels and attention among channels, added; training compares each of them too.

    Args:
        pam_channels: Channels of queries and keys of the attention among pixels.
        input_transform: See ``Head``.
        options: See ``HeadOptions``.
    """

    def __init__(
        self, *, pam_channels: int = 64, input_transform: InputTransform | None = None, **options: Unpack[HeadOptions]
    ) -> None:
        super().__init__(options, input_transform=input_transform)
        width, channels, norm = self.in_channels, self.channels, self.norm
        self.pam_in_conv = ConvNormAct(width, channels, kernel_size=3, norm=norm)
        self.pam = _PositionAttention(channels, pam_channels)
        self.pam_out_conv = ConvNormAct(channels, channels, kernel_size=3, norm=norm)
        self.pam_conv_seg = classifier(channels, self.num_classes)
        self.cam_in_conv = ConvNormAct(width, channels, kernel_size=3, norm=norm)
        self.cam = _ChannelAttention()
        self.cam_out_conv = ConvNormAct(channels, channels, kernel_size=3, norm=norm)
        self.cam_conv_seg = classifier(channels, self.num_classes)

    def forward(self, features: Features, previous: Tensor | None = None) -> Tensor:
        """Map features to logits at the feature's resolution."""
        del previous
        position, channel = self._branches(features)
        return self.classify(position + channel)

    def supervise_outputs(
        self, features: Features, previous: Tensor | None, target: Tensor, *, padded: tuple[int, int]
    ) -> tuple[Tensor, dict[str, Pair]]:
        """See ``Head``: ``.position`` and ``.channel`` are the two attentions by themselves."""
        del previous
        position, channel = self._branches(features)
        outputs = {
            ".position": self.pam_conv_seg(self.dropout(position)),
            ".channel": self.cam_conv_seg(self.dropout(channel)),
            "": self.classify(position + channel),
        }
        return outputs[""], {name: self.pair(logits, target, padded=padded) for name, logits in outputs.items()}

    def _branches(self, features: Features) -> tuple[Tensor, Tensor]:
        x = self.select(features)
        return self.pam_out_conv(self.pam(self.pam_in_conv(x))), self.cam_out_conv(self.cam(self.cam_in_conv(x)))


class _PositionAttention(SelfAttention):
    """Each pixel and what those that resemble it have, added."""

    def __init__(self, channels: int, inner: int) -> None:
        super().__init__(
            query_channels=channels,
            key_channels=channels,
            channels=inner,
            out_channels=channels,
            norm=None,
            scaled=False,
        )
        self.gamma = Scale()

    def forward(self, x: Tensor, source: Tensor | None = None) -> Tensor:
        return x + self.gamma(super().forward(x, x if source is None else source))  # type: ignore[no-any-return]


class _ChannelAttention(nn.Module):
    """Each channel and what those that differ from it have, added."""

    def __init__(self) -> None:
        super().__init__()
        self.gamma = Scale()

    def forward(self, x: Tensor) -> Tensor:
        flat = x.flatten(2)
        scores = flat @ flat.transpose(1, 2)
        weights = torch.softmax(scores.amax(dim=2, keepdim=True) - scores, dim=2)
        return x + self.gamma((weights @ flat).reshape(x.shape))  # type: ignore[no-any-return]
