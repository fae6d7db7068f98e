"""The section preview of params.yaml."""

from typing import Annotated

from pydantic import Field

from maskline.params.base.types import Section


class PreviewParams(Section):
    """The image of what augmentation does; only the stage augment-preview reads it."""

    samples: Annotated[int, Field(ge=1, le=64)] = Field(default=8, description="Samples in the image.")
