"""Non-local head. Source: Wang et al., "Non-local Neural Networks", 2018; names as in MMSegmentation (Apache-2.0)."""

from typing import Unpack

from torch import Tensor

from maskline.models.heads.attention import NonLocal
from maskline.models.heads.base import HeadOptions, InputTransform
from maskline.models.heads.fcn_context import FCNContextHead


class NonLocalHead(FCNContextHead):
    """Each pixel sees all others, by how much they resemble it.

    Args:
        reduction: What the block's inner channels are fewer by.
        scaled: Scores are divided by the root of the inner channels.
        concat_input: See ``FCNContextHead``.
        input_transform: See ``Head``.
        options: See ``HeadOptions``.
    """

    def __init__(
        self,
        *,
        reduction: int = 2,
        scaled: bool = True,
        concat_input: bool = True,
        input_transform: InputTransform | None = None,
        **options: Unpack[HeadOptions],
    ) -> None:
        super().__init__(concat_input=concat_input, input_transform=input_transform, **options)
        self.nl_block = NonLocal(self.channels, reduction=reduction, scaled=scaled, norm=self.norm)

    def context(self, x: Tensor) -> Tensor:
        """See ``FCNContextHead``."""
        return self.nl_block(x)  # type: ignore[no-any-return]
