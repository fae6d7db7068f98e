"""Context encoding head.

Source: Zhang et al., "Context Encoding for Semantic Segmentation", 2018; names as in MMSegmentation (Apache-2.0).
"""

from typing import Unpack

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from maskline.models.heads.base import Features, Head, HeadOptions, Pair
from maskline.models.layers import ConvNormAct, Norm, resize, size_of


class EncHead(Head):
    """Channels scaled by how the image's pixels lie around learned codewords; which classes are there is predicted too.

    Args:
        num_codes: Number of codewords.
        with_presence: Training also compares which classes an image has, as ``.presence``.
        add_lateral: The other features are joined to the coarsest one.
        options: See ``HeadOptions``; the last feature is the coarsest.
    """

    def __init__(
        self,
        *,
        num_codes: int = 32,
        with_presence: bool = True,
        add_lateral: bool = False,
        **options: Unpack[HeadOptions],
    ) -> None:
        super().__init__(options, input_transform="multiple_select")
        *fine, coarse = self.in_widths
        channels, norm = self.channels, self.norm
        self.bottleneck = ConvNormAct(coarse, channels, kernel_size=3, norm=norm)
        self.lateral_convs = nn.ModuleList(ConvNormAct(width, channels, norm=norm) for width in fine * add_lateral)
        if add_lateral:
            self.fusion = ConvNormAct(len(self.in_widths) * channels, channels, kernel_size=3, norm=norm)
        self.enc_module = _EncodingModule(channels, num_codes, norm=norm)
        self.se_layer = nn.Linear(channels, self.num_classes) if with_presence else None

    def forward(self, features: Features, previous: Tensor | None = None) -> Tensor:
        """Map features to logits at the coarsest feature's resolution."""
        del previous
        return self.classify(self._encoded(features)[1])

    def supervise_outputs(
        self, features: Features, previous: Tensor | None, target: Tensor, *, padded: tuple[int, int]
    ) -> tuple[Tensor, dict[str, Pair]]:
        """See ``Head``: ``.presence`` has logits (N, classes, 1, 1), beside the whole target."""
        del previous
        encoding, x = self._encoded(features)
        logits = self.classify(x)
        main = {"": self.pair(logits, target, padded=padded)}
        if self.se_layer is None:
            return logits, main
        return logits, {".presence": (self.se_layer(encoding).unsqueeze(2).unsqueeze(3), target), **main}

    def _encoded(self, features: Features) -> tuple[Tensor, Tensor]:
        *fine, coarse = self.select_all(features)
        x = self.bottleneck(coarse)
        if len(self.lateral_convs):
            sides = [step(y) for step, y in zip(self.lateral_convs, fine, strict=True)]
            same = [resize(y, size_of(x), align_corners=self.align_corners) for y in sides]
            x = self.fusion(torch.cat([x, *same], dim=1))
        return self.enc_module(x)  # type: ignore[no-any-return]


class _EncodingModule(nn.Module):
    """Returns the image's encoding (N, C), and the feature with its channels scaled by it."""

    def __init__(self, channels: int, num_codes: int, *, norm: Norm | None) -> None:
        super().__init__()
        self.encoding_project = ConvNormAct(channels, channels, norm=norm)
        self.encoding = nn.Sequential(_Encoding(channels, num_codes), _code_norm(num_codes, norm), nn.ReLU())
        self.fc = nn.Sequential(nn.Linear(channels, channels), nn.Sigmoid())

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        encoding = self.encoding(self.encoding_project(x)).squeeze(3).mean(dim=1)
        scale = self.fc(encoding).unsqueeze(2).unsqueeze(3)
        return encoding, F.relu(x + x * scale)


def _code_norm(num_codes: int, norm: Norm | None) -> nn.Module:
    return nn.Identity() if norm is None else norm.build(num_codes)


class _Encoding(nn.Module):
    """What pixels differ by from each codeword, summed by how near they are: NCHW to (N, codes, C, 1)."""

    def __init__(self, channels: int, num_codes: int) -> None:
        super().__init__()
        bound = (num_codes * channels) ** -0.5
        self.codewords = nn.Parameter(torch.empty(num_codes, channels).uniform_(-bound, bound))
        self.scale = nn.Parameter(torch.empty(num_codes).uniform_(-1, 0))

    def forward(self, x: Tensor) -> Tensor:
        # Squares of distances are differences of large numbers, too large for 16 bits.
        with torch.autocast(x.device.type, enabled=False):
            pixels, words = x.float().flatten(2).transpose(1, 2), self.codewords.float()
            # Without a tensor of pixels times codes times channels.
            product = F.linear(pixels, words)
            distance = pixels.square().sum(dim=2, keepdim=True) - 2 * product + words.square().sum(dim=1)
            share = torch.softmax(self.scale * distance, dim=2).transpose(1, 2)  # N, codes, pixels
            total = share @ pixels - share.sum(dim=2, keepdim=True) * words
        return total.unsqueeze(3)
