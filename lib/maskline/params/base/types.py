"""What every section of params.yaml is made of: the base class and the ranges of numbers."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]
CountOrNone = Annotated[int, Field(ge=0)]
Size = tuple[Count, Count]
_Side = Annotated[int, Field(ge=16)]  # what every network takes
Scale = tuple[_Side, _Side]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Byte = Annotated[int, Field(ge=0, le=255)]


class Section(BaseModel):
    """A mapping in params.yaml: frozen, with a default for each key that can be left out, and no keys but its own."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)
