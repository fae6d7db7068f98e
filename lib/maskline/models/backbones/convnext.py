"""ConvNeXt of timm (Apache-2.0) with a norm on each feature, as MMSegmentation's UPerNets have it.

Source: Liu et al., "A ConvNet for the 2020s", 2022; names of the norms as in mmpretrain (Apache-2.0).
"""

from typing import Any

from torch import Tensor, nn

from maskline.models.backbones.base import BackboneBase
from maskline.models.torchvision_ops import declare_missing_operators


class ConvNeXt(BackboneBase):
    """Features of strides 4 to 32; sides must be multiples of 32.

    Args:
        size: ``tiny``, ``small``, ``base``, ``large``, ``xlarge``, or another of timm's.
        in_channels: Channels of the images.
        drop_path: Largest share of residual branches left out while training.
    """

    def __init__(self, *, size: str, in_channels: int, drop_path: float = 0.0) -> None:
        super().__init__()
        declare_missing_operators()
        import timm
        from timm.layers.norm import LayerNorm2d

        model: Any = timm.create_model(
            f"convnext_{size}", in_chans=in_channels, num_classes=0, drop_path_rate=drop_path, ls_init_value=1.0
        )
        model.head = nn.Identity()  # which has a norm of its own
        self.model = model
        self.channels = tuple(info["num_chs"] for info in model.feature_info)
        self.strides = (4, 8, 16, 32)
        self.size_divisor = 32
        for i, width in enumerate(self.channels):
            self.add_module(f"norm{i}", LayerNorm2d(width, eps=1e-6))

    def forward(self, images: Tensor) -> list[Tensor]:
        """Map images (NCHW) to features, finest first."""
        x = self.model.stem(images)
        outputs = []
        for i, stage in enumerate(self.model.stages):
            x = stage(x)
            outputs.append(self.get_submodule(f"norm{i}")(x))
        return outputs

    def stages(self) -> list[list[nn.Module]]:
        """See ``BackboneBase``."""
        stages = [[stage, self.get_submodule(f"norm{i}")] for i, stage in enumerate(self.model.stages)]
        return [[self.model.stem], *stages]
