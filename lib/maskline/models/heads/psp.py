"""PSP head. Source: Zhao et al., "Pyramid Scene Parsing Network", 2017; names as in MMSegmentation."""

from collections.abc import Sequence
from typing import Unpack

import torch
from torch import Tensor

from maskline.models.heads.base import Features, Head, HeadOptions, InputTransform
from maskline.models.heads.pyramid_pooling import PyramidPooling
from maskline.models.layers import ConvNormAct


class PSPHead(Head):
    """The feature beside its means over grids of several sizes.

    Args:
        bins: Rows and columns of each grid.
        input_transform: See ``Head``.
        options: See ``HeadOptions``.
    """

    def __init__(
        self,
        *,
        bins: Sequence[int] = (1, 2, 3, 6),
        input_transform: InputTransform | None = None,
        **options: Unpack[HeadOptions],
    ) -> None:
        super().__init__(options, input_transform=input_transform)
        self.psp_modules = PyramidPooling(
            bins,
            in_channels=self.in_channels,
            channels=self.channels,
            align_corners=self.align_corners,
            norm=self.norm,
        )
        self.bottleneck = ConvNormAct(
            self.in_channels + len(bins) * self.channels, self.channels, kernel_size=3, norm=self.norm
        )

    def forward(self, features: Features, previous: Tensor | None = None) -> Tensor:
        """Map features to logits at the feature's resolution."""
        del previous
        return self.classify(self.embed(features))

    def embed(self, features: Features) -> Tensor:
        """See ``Head``."""
        x = self.select(features)
        return self.bottleneck(torch.cat([x, *self.psp_modules(x)], dim=1))  # type: ignore[no-any-return]
