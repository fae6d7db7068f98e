"""Linear head: a norm and a 1x1 convolution, for features that are good already and stay as they are.

Source: Oquab et al., "DINOv2: Learning Robust Visual Features without Supervision", 2023, whose linear probes for
segmentation have a batch norm before the classifier, on the last block's patches or on those of several blocks.
"""

from typing import Unpack

from torch import Tensor, nn

from maskline.models.heads.base import Features, Head, HeadOptions, InputTransform


class LinearHead(Head):
    """The classifier sees the features themselves; ``channels`` has no effect.

    Args:
        input_transform: See ``Head``; ``resize_concat`` for several features.
        options: See ``HeadOptions``; the norm is that before the classifier.
    """

    def __init__(self, *, input_transform: InputTransform | None = None, **options: Unpack[HeadOptions]) -> None:
        width = options["in_channels"]
        options["channels"] = width if isinstance(width, int) else sum(width)
        super().__init__(options, input_transform=input_transform)
        self.bn = nn.Identity() if self.norm is None else self.norm.build(self.channels)

    def forward(self, features: Features, previous: Tensor | None = None) -> Tensor:
        """Map features to logits at the feature's resolution."""
        del previous
        return self.classify(self.embed(features))

    def embed(self, features: Features) -> Tensor:
        """See ``Head``."""
        return self.bn(self.select(features))  # type: ignore[no-any-return]
