"""A plain vision transformer of timm as a backbone, as a project's own code would be: ``tools/vit.py:ViT``.

Source: timm (Apache-2.0).
"""

from collections.abc import Sequence

from torch import Tensor, nn

from maskline.models.backbones.base import BackboneBase
from maskline.models.layers import Norm
from maskline.runtime.libraries import declare_missing_operators


class ViT(BackboneBase):
    """The last feature of a vision transformer, stride 16.

    Args:
        in_channels: Channels of the images.
        norm: Not used; the transformer has its own.
        name: As timm calls it.
        depth: Blocks; 0: as many as the network of that name has.
    """

    def __init__(self, *, in_channels: int, norm: Norm, name: str = "vit_base_patch16_224", depth: int = 0) -> None:
        super().__init__()
        declare_missing_operators()
        import timm

        shape = {"depth": depth} if depth else {}
        self.vit = timm.create_model(name, in_chans=in_channels, num_classes=0, dynamic_img_size=True, **shape)
        self.channels = (int(self.vit.embed_dim),)
        self.strides = (16,)
        self.size_divisor = 16

    def forward(self, images: Tensor) -> list[Tensor]:
        """Map NCHW to one feature, N x channels x H/16 x W/16."""
        tokens = self.vit.forward_features(images)[:, self.vit.num_prefix_tokens :]
        rows, columns = images.shape[2] // 16, images.shape[3] // 16
        return [tokens.transpose(1, 2).reshape(len(images), -1, rows, columns)]

    def stages(self) -> Sequence[Sequence[nn.Module]]:
        """See ``BackboneBase``."""
        return [[], [self.vit]]
