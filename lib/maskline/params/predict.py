"""The section predict of params.yaml."""

from pydantic import Field

from maskline.params.base.types import Count, Section


class PredictParams(Section):
    """What `maskline predict` reads; no stage does."""

    stream_mib: Count = Field(
        default=512,
        description="`--stream`: sums of overlapping windows up to this size are held in memory, MiB; larger ones lie "
        "in a file beside the results.",
    )
