"""Global context head. Source: Cao et al., "GCNet", 2019; names as in MMSegmentation (Apache-2.0)."""

from collections.abc import Sequence
from typing import Literal, Unpack

from torch import Tensor

from maskline.models.heads.attention import GlobalContext
from maskline.models.heads.base import HeadOptions, InputTransform
from maskline.models.heads.fcn_context import FCNContextHead


class GCHead(FCNContextHead):
    """All pixels see one mean over the image.

    Args:
        ratio: Share of the channels that the mean is reduced to in between.
        pooling: ``att``: a mean with learned weights; ``avg``: the plain one.
        fusion_types: How the mean changes each pixel; see ``GlobalContext``.
        concat_input: See ``FCNContextHead``.
        input_transform: See ``Head``.
        options: See ``HeadOptions``.
    """

    def __init__(
        self,
        *,
        ratio: float = 0.25,
        pooling: Literal["att", "avg"] = "att",
        fusion_types: Sequence[Literal["channel_add", "channel_mul"]] = ("channel_add",),
        concat_input: bool = True,
        input_transform: InputTransform | None = None,
        **options: Unpack[HeadOptions],
    ) -> None:
        super().__init__(concat_input=concat_input, input_transform=input_transform, **options)
        self.gc_block = GlobalContext(self.channels, ratio=ratio, pooling=pooling, fusion=fusion_types)

    def context(self, x: Tensor) -> Tensor:
        """See ``FCNContextHead``."""
        return self.gc_block(x)  # type: ignore[no-any-return]
