"""The section schedule of params.yaml."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from maskline.params.base.types import Count, Fraction, NonNegative, Positive, Section
from maskline.params.base.variants import read_by


class ScheduleParams(Section):
    """The learning rate as a function of the iteration."""

    name: Literal["poly", "cosine", "step", "exponential", "one_cycle", "constant"] = Field(
        default="poly", description="The schedule after the warm-up."
    )
    unit: Literal["iterations", "epochs"] = Field(
        default="iterations", description="Of length, milestones, step_every and warmup_length."
    )
    length: Positive | None = Field(
        default=None,
        description="Where the decay ends; the rate then stays; null: the run's end.",
        json_schema_extra=read_by("poly", "cosine", "step", "exponential", "one_cycle"),
    )
    power: Positive = Field(default=0.9, description="poly.", json_schema_extra=read_by("poly"))
    end_factor: Fraction = Field(
        default=0.0,
        description="Last learning rate over the first (poly, cosine, one_cycle).",
        json_schema_extra=read_by("poly", "cosine", "one_cycle"),
    )
    end_lr: NonNegative | None = Field(
        default=None,
        description="Last learning rate of every group, instead of end_factor (poly, cosine).",
        json_schema_extra=read_by("poly", "cosine"),
    )
    cycles: Count = Field(
        default=1,
        description="Times that the decay is gone through within the length, each from the full rate (cosine).",
        json_schema_extra=read_by("cosine"),
    )
    milestones: tuple[Positive, ...] = Field(
        default=(),
        description="Where the steps are (step); none, and step_every 0: at 2/3 and 8/9 of the length.",
        json_schema_extra=read_by("step"),
    )
    step_every: NonNegative = Field(
        default=0, description="A step each time; 0: milestones (step).", json_schema_extra=read_by("step")
    )
    gamma: Positive | None = Field(
        default=None,
        description="Factor of each step (step), null: 0.1; or of each iteration (exponential), null: what leaves a "
        "hundredth at the end.",
        json_schema_extra=read_by("step", "exponential"),
    )
    cycle_start: Fraction = Field(
        default=0.04, description="First learning rate over lr (one_cycle).", json_schema_extra=read_by("one_cycle")
    )
    cycle_peak: Annotated[float, Field(gt=0, lt=1)] = Field(
        default=0.3, description="Share of the run until lr (one_cycle).", json_schema_extra=read_by("one_cycle")
    )
    warmup: Literal["linear", "exponential", "constant"] = Field(default="linear", description="Shape of the warm-up.")
    warmup_length: NonNegative = Field(default=50, description="Length of the warm-up.")
    warmup_factor: Fraction = Field(default=0.1, description="First learning rate of the warm-up over lr.")

    @model_validator(mode="after")
    def _check(self) -> "ScheduleParams":
        if self.step_every and self.milestones:
            raise ValueError("step_every and milestones exclude each other")
        if list(self.milestones) != sorted(set(self.milestones)):
            raise ValueError("milestones must rise")
        if self.warmup == "exponential" and self.warmup_length and not self.warmup_factor:
            raise ValueError("an exponential warm-up needs warmup_factor above 0")
        for value in (self.length or 0, self.step_every, self.warmup_length, *self.milestones):
            if self.unit == "iterations" and value != int(value):
                raise ValueError(f"{value:g} is no whole number of iterations")
        return self
