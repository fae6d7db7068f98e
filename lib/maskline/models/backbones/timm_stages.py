"""Networks of timm (Apache-2.0) that are a stem and four stages, with a norm on each feature.

The licence of published weights is that of each model's authors.
"""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from maskline.models.backbones.base import BackboneBase
from maskline.runtime.libraries import declare_missing_operators


class TimmStages(BackboneBase):
    """Features of strides 4 to 32.

    Args:
        name: timm's.
        norm: Makes the norm of a feature, given its channels.
        size_divisor: Both sides of the input must be multiples of it; 1: any size.
        options: Keywords of timm's model.
    """

    def __init__(self, name: str, *, norm: Callable[[int], nn.Module], size_divisor: int, **options: Any) -> None:
        super().__init__()
        declare_missing_operators()
        import timm

        model: Any = timm.create_model(name, num_classes=0, **options)
        model.head = nn.Identity()  # which has a norm of its own
        self.model = model
        self.channels = tuple(info["num_chs"] for info in model.feature_info)
        self.strides = (4, 8, 16, 32)
        self.size_divisor = size_divisor
        for i, width in enumerate(self.channels):
            self.add_module(f"norm{i}", norm(width))

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
