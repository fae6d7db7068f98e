"""Disentangled non-local head.

Source: Yin et al., "Disentangled Non-Local Neural Networks", 2020; names as in MMSegmentation (Apache-2.0).
"""

from typing import Unpack

from torch import Tensor

from maskline.models.heads.attention import NonLocal
from maskline.models.heads.base import HeadOptions, InputTransform
from maskline.models.heads.fcn_context import FCNContextHead


class DNLHead(FCNContextHead):
    """Each pixel sees what deviates from the mean as it does, and what all pixels look at.

    Args:
        reduction: What the block's inner channels are fewer by.
        scaled: Scores are divided by the root of the inner channels.
        temperature: What scores are divided by.
        concat_input: See ``FCNContextHead``.
        input_transform: See ``Head``.
        options: See ``HeadOptions``.
    """

    def __init__(
        self,
        *,
        reduction: int = 2,
        scaled: bool = True,
        temperature: float = 0.05,
        concat_input: bool = True,
        input_transform: InputTransform | None = None,
        **options: Unpack[HeadOptions],
    ) -> None:
        super().__init__(concat_input=concat_input, input_transform=input_transform, **options)
        self.dnl_block = NonLocal(
            self.channels, reduction=reduction, scaled=scaled, norm=self.norm, temperature=temperature
        )

    def context(self, x: Tensor) -> Tensor:
        """See ``FCNContextHead``."""
        return self.dnl_block(x)  # type: ignore[no-any-return]
