"""What the network's input looks like: the part of the section model that augmentation reads too."""

from typing import Literal

from pydantic import ConfigDict, Field, model_validator

from maskline.core.errors import ParamsError
from maskline.params.base.types import Count, Positive, Section


class InputParams(Section):
    """Channels of the images, and how they are normalized."""

    in_channels: Count = Field(default=3, description="Channels of the images; mean and std have as many values.")
    mean: tuple[float, ...] | Literal["auto"] = Field(
        default=(123.675, 116.28, 103.53),
        description="Subtracted from each channel, gray levels of 255; auto: the mean of the train split.",
    )
    std: tuple[Positive, ...] | Literal["auto"] = Field(
        default=(58.395, 57.12, 57.375),
        description="Divides each channel, gray levels of 255; auto: the standard deviation of the train split.",
    )

    @model_validator(mode="after")
    def _check_channels(self) -> "InputParams":
        for key, value in (("mean", self.mean), ("std", self.std)):
            if value != "auto" and len(value) != self.in_channels:
                raise ValueError(f"{key} has {len(value)} values for {self.in_channels} channels")
        return self

    def numbers(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Return mean and std where both are numbers.

        Raises:
            ParamsError: One is auto, and there is no prepared data to ask.
        """
        if isinstance(self.mean, str) or isinstance(self.std, str):
            remedy = "give the numbers, as in the labels.json that convert writes"
            raise ParamsError("model.mean, model.std", "auto, and no prepared data here", remedy)
        return self.mean, self.std


class InputOfModel(InputParams):
    """The same, read out of the whole section model: its other keys are not looked at."""

    model_config = ConfigDict(extra="ignore")
