"""PoolFormer of timm (Apache-2.0) with a norm on each feature, as MMSegmentation's FPNs have it.

Source: Yu et al., "MetaFormer Is Actually What You Need for Vision", 2022; norms as in mmpretrain (Apache-2.0).
"""

from torch import nn

from maskline.models.backbones.timm_stages import TimmStages


class PoolFormer(TimmStages):
    """Features of strides 4 to 32; any input size.

    Args:
        size: ``s12``, ``s24``, ``s36``, ``m36`` or ``m48``.
        in_channels: Channels of the images.
        drop_path: Largest share of residual branches left out while training.
    """

    def __init__(self, *, size: str, in_channels: int, drop_path: float = 0.0) -> None:
        super().__init__(
            f"poolformer_{size}",
            norm=lambda width: nn.GroupNorm(1, width),
            size_divisor=1,
            in_chans=in_channels,
            drop_path_rate=drop_path,
        )
        self.deepest_stride = 34  # stages leave out what is no whole step: that many are still one pixel
