"""ConvNeXt of timm (Apache-2.0) with a norm on each feature, as MMSegmentation's UPerNets have it.

Source: Liu et al., "A ConvNet for the 2020s", 2022; names of the norms as in mmpretrain (Apache-2.0).
"""

from torch import nn

from maskline.models.backbones.timm_stages import TimmStages
from maskline.runtime.libraries import declare_missing_operators


class ConvNeXt(TimmStages):
    """Features of strides 4 to 32; sides must be multiples of 32.

    Args:
        size: ``tiny``, ``small``, ``base``, ``large``, ``xlarge``, or another of timm's.
        in_channels: Channels of the images.
        drop_path: Largest share of residual branches left out while training.
    """

    def __init__(self, *, size: str, in_channels: int, drop_path: float = 0.0) -> None:
        super().__init__(
            f"convnext_{size}",
            norm=_norm,
            size_divisor=32,
            in_chans=in_channels,
            drop_path_rate=drop_path,
            ls_init_value=1.0,
        )


def _norm(width: int) -> nn.Module:
    declare_missing_operators()
    from timm.layers.norm import LayerNorm2d

    norm: nn.Module = LayerNorm2d(width, eps=1e-6)
    return norm
