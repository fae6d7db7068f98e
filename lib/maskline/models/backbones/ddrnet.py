"""DDRNet: a branch of stride 8 and a deeper one of stride 64, which exchange what they see.

Source: Hong et al., "Deep Dual-resolution Networks for Real-time and Accurate Semantic Segmentation of Road Scenes",
2021 (MIT); names as in MMSegmentation (Apache-2.0).
"""

from functools import partial

from torch import Tensor, nn
from torch.nn import functional as F

from maskline.models.backbones.base import BackboneBase
from maskline.models.backbones.dual import DEEPEST_STRIDE, StepwisePyramid, plain_shortcut, residual_layer, stem
from maskline.models.layers import BATCH_NORM, ConvNormAct, Norm, resize, size_of

_BLOCKS = 2


class DDRNet(BackboneBase):
    """Features, both of stride 8: the fine branch's, halfway, then both branches joined; any input size.

    Args:
        in_channels: Channels of the images.
        channels: Width of the stem: 32 for 23-slim, 64 for 23.
        ppm_channels: Channels of each branch of the pooling pyramid.
        norm: Norm after each convolution.
    """

    def __init__(
        self, *, in_channels: int, channels: int = 32, ppm_channels: int = 128, norm: Norm = BATCH_NORM
    ) -> None:
        super().__init__()
        layer = partial(residual_layer, shortcut=plain_shortcut, norm=norm)
        plain = partial(ConvNormAct, norm=norm, activation=False)
        c = channels
        self.stem = stem(in_channels, c, count=_BLOCKS, shortcut=plain_shortcut, norm=norm)
        self.context_branch_layers = nn.ModuleList(
            [
                layer("basic", 2 * c, 4 * c, count=_BLOCKS, stride=2),
                layer("basic", 4 * c, 8 * c, count=_BLOCKS, stride=2),
                layer("bottleneck", 8 * c, 8 * c, count=1, stride=2),
            ]
        )
        self.spatial_branch_layers = nn.ModuleList(
            [
                layer("basic", 2 * c, 2 * c, count=_BLOCKS),
                layer("basic", 2 * c, 2 * c, count=_BLOCKS),
                layer("bottleneck", 2 * c, 2 * c, count=1),
            ]
        )
        self.compression_1 = plain(4 * c, 2 * c)
        self.compression_2 = plain(8 * c, 2 * c)
        self.down_1 = plain(2 * c, 4 * c, kernel_size=3, stride=2)
        self.down_2 = nn.Sequential(
            ConvNormAct(2 * c, 4 * c, kernel_size=3, stride=2, norm=norm),
            plain(4 * c, 8 * c, kernel_size=3, stride=2),
        )
        self.spp = StepwisePyramid(16 * c, ppm_channels, 4 * c, norm=norm)
        self.channels = (2 * c, 4 * c)
        self.strides = (8, 8)
        self.size_divisor = 1
        self.deepest_stride = DEEPEST_STRIDE

    def forward(self, images: Tensor) -> list[Tensor]:
        """Map images (NCHW, any size) to the two features."""
        x = self.stem(images)
        size = size_of(x)
        context, fine = self.context_branch_layers[0](x), self.spatial_branch_layers[0](x)
        halfway, context = self._exchange(context, fine, self.compression_1, self.down_1)
        context, fine = self.context_branch_layers[1](F.relu(context)), self.spatial_branch_layers[1](F.relu(halfway))
        fine, context = self._exchange(context, fine, self.compression_2, self.down_2)
        fine = self.spatial_branch_layers[2](F.relu(fine))
        context = self.spp(self.context_branch_layers[2](F.relu(context)))
        return [halfway, fine + resize(context, size, align_corners=False)]

    def _exchange(self, context: Tensor, fine: Tensor, up: nn.Module, down: nn.Module) -> tuple[Tensor, Tensor]:
        """Return the fine branch with the context, and the context with the fine branch."""
        seen = resize(up(F.relu(context)), size_of(fine), align_corners=False)
        return fine + seen, context + down(F.relu(fine))

    def stages(self) -> list[list[nn.Module]]:
        """See ``BackboneBase``: the stem, both branches and what is between them."""
        branches = [self.context_branch_layers, self.spatial_branch_layers]
        between = [self.compression_1, self.compression_2, self.down_1, self.down_2, self.spp]
        return [[self.stem], [*branches, *between]]
