"""ICNet's neck: coarse features flow into finer ones in two steps.

Source: Zhao et al., "ICNet for Real-Time Semantic Segmentation on High-Resolution Images", 2018; names as in
MMSegmentation (Apache-2.0).
"""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from maskline.models.layers import BATCH_NORM, ConvNormAct, Norm, resize, size_of


class ICNeck(nn.Module):
    """Cascade feature fusion of three features.

    Args:
        in_channels: Channels of each chosen feature.
        indices: Positions of the three, finest first (negative: from the end).
        out_channels: Channels of each output.
        align_corners: How features are resized.
        norm: Norm after each convolution.
    """

    def __init__(
        self,
        *,
        in_channels: Sequence[int],
        indices: Sequence[int],
        out_channels: int = 128,
        align_corners: bool = False,
        norm: Norm | None = BATCH_NORM,
    ) -> None:
        super().__init__()
        fine, middle, coarse = in_channels
        self.indices = tuple(indices)
        self.cff_24 = _Fusion(coarse, middle, out_channels, align_corners=align_corners, norm=norm)
        self.cff_12 = _Fusion(out_channels, fine, out_channels, align_corners=align_corners, norm=norm)
        self.channels = (out_channels,) * 3

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Return what training compares at the middle and at the finest resolution, then the joined feature."""
        fine, middle, coarse = (features[i] for i in self.indices)
        joined, guide_middle = self.cff_24(coarse, middle)
        joined, guide_fine = self.cff_12(joined, fine)
        return [guide_middle, guide_fine, joined]


class _Fusion(nn.Module):
    """Returns the two features joined at the finer one's size, and the coarse one alone."""

    def __init__(
        self, low_channels: int, high_channels: int, out_channels: int, *, align_corners: bool, norm: Norm | None
    ) -> None:
        super().__init__()
        self.align_corners = align_corners
        self.conv_low = ConvNormAct(low_channels, out_channels, kernel_size=3, dilation=2, norm=norm)
        self.conv_high = ConvNormAct(high_channels, out_channels, norm=norm)

    def forward(self, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        low = self.conv_low(resize(low, size_of(high), align_corners=self.align_corners))
        return F.relu(low + self.conv_high(high)), low
