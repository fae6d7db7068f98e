"""SETR's multi-level aggregation: each feature also sees those that are deeper.

Source: Zheng et al., "Rethinking Semantic Segmentation from a Sequence-to-Sequence Perspective with Transformers",
2021; names as in MMSegmentation (Apache-2.0).
"""

from collections.abc import Sequence

from torch import Tensor, nn

from maskline.models.layers import BATCH_NORM, ConvNormAct, Norm
from maskline.models.transformer import norm_map


class MLANeck(nn.Module):
    """Features of one resolution, added up from the deepest to the shallowest.

    Args:
        in_channels: Channels of each feature.
        out_channels: Channels of each output.
        norm: Norm after each convolution; None: convolutions with bias.
        activation: ReLU after each convolution.
    """

    def __init__(
        self,
        *,
        in_channels: Sequence[int],
        out_channels: int = 256,
        norm: Norm | None = BATCH_NORM,
        activation: bool = True,
    ) -> None:
        super().__init__()
        self.norm = nn.ModuleList(nn.LayerNorm(width, eps=1e-6) for width in in_channels)
        self.mla = _Convolutions(in_channels, out_channels, norm=norm, activation=activation)
        self.channels = (out_channels,) * len(in_channels)

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Return one output a feature, the deepest one's first."""
        normed = [norm_map(x, norm) for x, norm in zip(features, self.norm, strict=True)]
        projected = [step(x) for step, x in zip(self.mla.channel_proj, normed, strict=True)][::-1]
        for i in range(1, len(projected)):
            projected[i] = projected[i] + projected[i - 1]
        return [step(x) for step, x in zip(self.mla.feat_extract, projected, strict=True)]


class _Convolutions(nn.Module):
    """Holds the convolutions under MMSegmentation's names."""

    def __init__(self, in_channels: Sequence[int], out_channels: int, *, norm: Norm | None, activation: bool) -> None:
        super().__init__()
        self.channel_proj = nn.ModuleList(
            ConvNormAct(width, out_channels, norm=norm, activation=activation) for width in in_channels
        )
        self.feat_extract = nn.ModuleList(
            ConvNormAct(out_channels, out_channels, kernel_size=3, norm=norm, activation=activation)
            for _ in in_channels
        )
