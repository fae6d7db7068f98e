"""Criss-cross head. Source: Huang et al., "CCNet", 2019; names as in MMSegmentation (Apache-2.0)."""

from typing import Unpack

from torch import Tensor

from maskline.models.heads.attention import CrissCross
from maskline.models.heads.base import HeadOptions, InputTransform
from maskline.models.heads.fcn_context import FCNContextHead


class CCHead(FCNContextHead):
    """Each pixel sees its row and column; done twice, the whole image.

    Args:
        recurrence: How often the one block is applied.
        concat_input: See ``FCNContextHead``.
        input_transform: See ``Head``.
        options: See ``HeadOptions``.
    """

    def __init__(
        self,
        *,
        recurrence: int = 2,
        concat_input: bool = True,
        input_transform: InputTransform | None = None,
        **options: Unpack[HeadOptions],
    ) -> None:
        super().__init__(concat_input=concat_input, input_transform=input_transform, **options)
        self.recurrence = recurrence
        self.cca = CrissCross(self.channels)

    def context(self, x: Tensor) -> Tensor:
        """See ``FCNContextHead``."""
        for _ in range(self.recurrence):
            x = self.cca(x)
        return x
