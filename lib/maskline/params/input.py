"""What the network's input looks like: the part of the section model that augmentation reads too."""

from pydantic import ConfigDict, Field, model_validator

from maskline.params.base.types import Count, Positive, Section


class InputParams(Section):
    """Channels of the images, and how they are normalized."""

    in_channels: Count = Field(default=3, description="Channels of the images; mean and std have as many values.")
    mean: tuple[float, ...] = Field(
        default=(123.675, 116.28, 103.53), description="Subtracted from each channel, gray levels of 255."
    )
    std: tuple[Positive, ...] = Field(
        default=(58.395, 57.12, 57.375), description="Divides each channel, gray levels of 255."
    )

    @model_validator(mode="after")
    def _check_channels(self) -> "InputParams":
        for key, value in (("mean", self.mean), ("std", self.std)):
            if len(value) != self.in_channels:
                raise ValueError(f"{key} has {len(value)} values for {self.in_channels} channels")
        return self


class InputOfModel(InputParams):
    """The same, read out of the whole section model: its other keys are not looked at."""

    model_config = ConfigDict(extra="ignore")
