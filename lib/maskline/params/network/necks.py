"""The necks of params.yaml, told apart by their name."""

from typing import Annotated, Literal

from pydantic import Field

from maskline.params.base.types import Count, CountOrNone, Positive, Section
from maskline.params.base.variants import ByName

Indices = Annotated[tuple[int, ...], Field(min_length=1)]


class NoNeckParams(Section):
    """The heads see the backbone's features as they are."""

    name: Literal["none"] = Field(description="The neck.")


class FPNNeckParams(Section):
    """A feature pyramid."""

    name: Literal["fpn"] = Field(description="The neck.")
    out_channels: Count = Field(default=256, description="Channels of each output.")
    num_outs: Count | None = Field(
        default=None, description="Outputs; those beyond the inputs are coarser still; null: as many as inputs."
    )
    start_level: CountOrNone = Field(default=0, description="First feature that is used.")
    end_level: Count | None = Field(default=None, description="Feature before which to stop; null: all.")
    extra_convs: Literal["on_input", "on_lateral", "on_output"] | None = Field(
        default=None, description="Where further outputs are convolved from; null: the last output, subsampled."
    )
    relu_before_extra_convs: bool = Field(default=False, description="ReLU before further convolutions but the first.")
    with_norm: bool = Field(
        default=False, description="The model's norm after each convolution; else convolutions have a bias."
    )
    norm_on_lateral: bool = Field(default=True, description="Whether the 1x1 convolutions have the norm too.")
    activation: bool = Field(default=False, description="ReLU after each convolution.")
    upsample: Literal["nearest", "bilinear"] = Field(default="nearest", description="How a coarse feature is enlarged.")


class SelectNeckParams(Section):
    """Some of the features."""

    name: Literal["select"] = Field(description="The neck.")
    indices: Indices | None = Field(
        default=None, description="Positions in the backbone's list of features; null: all."
    )


class ResizeConcatNeckParams(Section):
    """Features resized to the first one's size and concatenated to one."""

    name: Literal["resize_concat"] = Field(description="The neck.")
    indices: Indices | None = Field(
        default=None, description="Positions in the backbone's list of features; null: all."
    )


class JPUNeckParams(Section):
    """Joint pyramid upsampling: two features as they are, and a fine one that has seen the coarse ones."""

    name: Literal["jpu"] = Field(description="The neck.")
    indices: Indices | None = Field(
        default=None, description="Positions of two or more features, finest first; null: the three coarsest."
    )
    mid_channels: Count = Field(default=512, description="Channels of each convolution's output.")
    dilations: Annotated[tuple[Count, ...], Field(min_length=1)] = Field(
        default=(1, 2, 4, 8), description="Dilation of each branch."
    )


class ICNeckParams(Section):
    """ICNet's neck: three features joined step by step; the last of its three outputs is the joined one."""

    name: Literal["ic"] = Field(description="The neck.")
    indices: Indices | None = Field(
        default=None, description="Positions of the three features, finest first; null: the three coarsest."
    )
    out_channels: Count = Field(default=128, description="Channels of each output.")


class MultiLevelNeckParams(Section):
    """Features of one resolution (vit, beit, mae) resized to several, with convolutions."""

    name: Literal["multi_level"] = Field(description="The neck.")
    out_channels: Count = Field(default=256, description="Channels of each output.")
    scales: Annotated[tuple[Positive, ...], Field(min_length=1)] = Field(
        default=(4.0, 2.0, 1.0, 0.5), description="Factor of each feature."
    )


class Feature2PyramidNeckParams(Section):
    """Four features of one resolution (vit, beit, mae) at 4, 2, 1 and 1/2 of it, by transposed convolutions."""

    name: Literal["feature2pyramid"] = Field(description="The neck.")


class MLANeckParams(Section):
    """SETR's: features of one resolution (vit, beit, mae), each with those that are deeper, the deepest first."""

    name: Literal["mla"] = Field(description="The neck.")
    out_channels: Count = Field(default=256, description="Channels of each output.")
    with_norm: bool = Field(
        default=True, description="The model's norm after each convolution; else convolutions have a bias."
    )
    activation: bool = Field(default=True, description="ReLU after each convolution.")


NeckParams = Annotated[
    NoNeckParams
    | FPNNeckParams
    | SelectNeckParams
    | ResizeConcatNeckParams
    | JPUNeckParams
    | ICNeckParams
    | MultiLevelNeckParams
    | Feature2PyramidNeckParams
    | MLANeckParams,
    ByName(),
]
