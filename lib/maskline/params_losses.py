"""The losses of params.yaml, told apart by their name."""

from typing import Annotated, Literal

from pydantic import Field

from maskline.params_types import NonNegative, Positive, Section


class CrossEntropyParams(Section):
    """Cross-entropy: the mean over pixels that count."""

    name: Literal["cross_entropy"] = Field(description="The loss.")
    weight: NonNegative = Field(description="Factor in the weighted sum.")


class DiceParams(Section):
    """One minus the mean soft Dice score of the classes in the batch."""

    name: Literal["dice"] = Field(description="The loss.")
    weight: NonNegative = Field(description="Factor in the weighted sum.")
    smooth: Positive = Field(description="Added to both sides of the fraction, px.")


LossParams = Annotated[CrossEntropyParams | DiceParams, Field(discriminator="name")]
