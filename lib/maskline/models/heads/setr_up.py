"""SETR's naive and progressive head: convolutions, each followed by an enlargement.

Source: Zheng et al., "Rethinking Semantic Segmentation from a Sequence-to-Sequence Perspective with Transformers",
2021; names as in MMSegmentation (Apache-2.0).
"""

from typing import Unpack

from torch import Tensor, nn

from maskline.models.heads.base import Features, Head, HeadOptions, InputTransform
from maskline.models.layers import ConvNormAct, enlarge
from maskline.models.transformer import norm_map


class SETRUpHead(Head):
    """Takes a feature of a plain transformer: one convolution and a large step, or several with small steps.

    Args:
        num_convs: Convolutions.
        scale: Factor of the enlargement after each.
        kernel_size: Side of the kernels, px.
        input_transform: See ``Head``.
        options: See ``HeadOptions``.
    """

    def __init__(
        self,
        *,
        num_convs: int = 1,
        scale: int = 4,
        kernel_size: int = 3,
        input_transform: InputTransform | None = None,
        **options: Unpack[HeadOptions],
    ) -> None:
        super().__init__(options, input_transform=input_transform)
        recipe, self.scale = self.norm, scale
        self.norm = nn.LayerNorm(self.in_channels, eps=1e-6)  # type: ignore[assignment]  # its name in checkpoints
        self.up_convs = nn.ModuleList(
            nn.Sequential(
                ConvNormAct(
                    self.in_channels if i == 0 else self.channels,
                    self.channels,
                    kernel_size=kernel_size,
                    norm=recipe,
                )
            )
            for i in range(num_convs)
        )

    def forward(self, features: Features, previous: Tensor | None = None) -> Tensor:
        """Map features to logits at ``scale ** num_convs`` times the feature's resolution."""
        del previous
        x = norm_map(self.select(features), self.get_submodule("norm"))
        for step in self.up_convs:
            x = enlarge(step(x), self.scale, align_corners=self.align_corners)
        return self.classify(x)
