"""What the project's own backbones share: freezing of stages, and norms that stay in eval mode."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Self

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


class BackboneBase(nn.Module, ABC):
    """A feature extractor: images NCHW -> list of NCHW features.

    Attributes:
        channels: Channels of each feature, in the order of the list.
        strides: Input pixels per feature pixel, in the same order.
        size_divisor: Both sides of the input must be multiples of it; 1: any size.
        min_side: Smallest side of the input, px.
        deepest_stride: Input pixels per pixel of the coarsest map inside, what a pyramid pools included; per window
            where the map is taken in windows.
    """

    channels: tuple[int, ...]
    strides: tuple[int, ...]
    size_divisor: int
    min_side: int = 1
    deepest_stride: int = 32

    def __init__(self) -> None:
        super().__init__()
        self._frozen_stages = -1
        self._norm_eval = False
        self._whole = False

    @abstractmethod
    def forward(self, images: Tensor) -> list[Tensor]:
        """Map images to features."""

    @abstractmethod
    def stages(self) -> Sequence[Sequence[nn.Module]]:
        """Return the modules of the stem, then of each stage."""

    def freeze(self, *, stages: int, norm_eval: bool, whole: bool = False) -> Self:
        """Keep the first stages, or all that there is, as they are, and return the backbone.

        Args:
            stages: -1: none; 0: the stem; k: the stem and the first k stages. Their weights get no gradient and
                their norms keep their running statistics.
            norm_eval: Batch norms of all stages keep their running statistics.
            whole: Nothing of the backbone is trained, what is in no stage included, and it stays in eval mode: without
                a weight that wants a gradient, nothing is kept for a backward pass.
        """
        self._frozen_stages, self._norm_eval, self._whole = stages, norm_eval, whole
        if whole:
            self.requires_grad_(False)
        for module in self._frozen():
            module.requires_grad_(False)
        return self.train(self.training)

    def train(self, mode: bool = True) -> Self:
        """Switch to training but for what is frozen."""
        super().train(mode and not self._whole)
        for module in self._frozen():
            module.eval()
        if self._norm_eval:
            for module in self.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self

    def _frozen(self) -> list[nn.Module]:
        return [module for stage in self.stages()[: self._frozen_stages + 1] for module in stage]
