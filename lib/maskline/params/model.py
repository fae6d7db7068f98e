"""The model section of params.yaml: backbone, neck, heads, whole architectures."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, model_validator

from maskline.params.base.reading import validated
from maskline.params.base.types import Count, Fraction, Positive, Section
from maskline.params.heads import FCNHeadParams, HeadParams
from maskline.params.input import InputParams
from maskline.params.losses import CrossEntropyParams, DiceParams, LossParams
from maskline.params.necks import NeckParams, NoNeckParams


class NormParams(Section):
    """The norm after every convolution of the backbone, and of those necks and heads that have one."""

    name: Literal["bn", "syncbn", "gn"] = Field(
        default="bn",
        description="Batch norm; batch norm over all processes (bn where there is one process); group norm.",
    )
    num_groups: Count = Field(default=32, description="Groups of gn; must divide every width.")
    eps: Positive = Field(default=1e-05, description="Added to the variance.")
    momentum: Fraction = Field(default=0.1, description="Share of a batch in the running statistics (bn, syncbn).")
    trainable: bool = Field(default=True, description="Whether weights and biases of norms are trained.")


class BackboneParams(Section):
    """The feature extractor; the knobs of all families stand side by side."""

    name: str = Field(
        default="unet",
        min_length=1,
        description=(
            "`unet`; `resnet18_v1c` (18 to 152; v1b: 7x7 stem, v1c: deep stem, v1d: also averaged shortcuts); "
            "`mixvit_b0` to `mixvit_b5` (SegFormer's); `hrnet18`, `hrnet18s`, `hrnet32`, `hrnet48`; or any encoder "
            "of segmentation-models-pytorch or timm."
        ),
    )
    pretrained: bool = Field(
        default=False, description="Start from ImageNet weights (encoders only): an installed package's, or downloaded."
    )
    output_stride: Literal[8, 16, 32] = Field(
        default=32, description="Stride of the deepest feature (resnet, encoders)."
    )
    strides: tuple[Count, ...] | None = Field(
        default=None,
        description="Stride of each stage (resnet, unet); null: those of output_stride, or 1 for unet, which pools.",
    )
    dilations: tuple[Count, ...] | None = Field(
        default=None,
        description="Dilation of each stage (resnet, unet's encoder); null: those of output_stride, or 1 for unet.",
    )
    contract_dilation: bool = Field(
        default=True, description="The first block of a dilated stage has half its dilation (resnet)."
    )
    multi_grid: tuple[Count, ...] | None = Field(
        default=None, description="Dilation of each block of the last stage (resnet)."
    )
    base_channels: Count = Field(default=16, description="Channels of the finest feature (unet).")
    num_stages: int = Field(default=4, ge=2, le=8, description="Resolutions, the finest counted (unet).")
    encoder_convs: tuple[Count, ...] | None = Field(
        default=None, description="Convolutions of each stage (unet); null: 2."
    )
    decoder_convs: tuple[Count, ...] | None = Field(
        default=None, description="Convolutions of each decoder block, shallow to deep (unet); null: 2."
    )
    decoder_dilations: tuple[Count, ...] | None = Field(
        default=None, description="Dilation of each decoder block, shallow to deep (unet); null: 1."
    )
    downsamples: tuple[bool, ...] | None = Field(
        default=None, description="Whether each stage but the first starts with max pooling (unet); null: all."
    )
    upsample: Literal["interp", "deconv"] = Field(
        default="interp", description="Bilinear and 1x1 convolution, or 4x4 transposed convolution (unet)."
    )
    drop_path: float = Field(
        default=0.1, ge=0, lt=1, description="Largest share of residual branches left out (mixvit)."
    )
    dropout: float = Field(default=0.0, ge=0, lt=1, description="Share of activations dropped (mixvit).")
    attention_dropout: float = Field(
        default=0.0, ge=0, lt=1, description="Share of attention weights dropped (mixvit)."
    )
    frozen_stages: int = Field(
        default=-1,
        ge=-1,
        description="-1: none; 0: the stem; k: the stem and the first k stages; an encoder is one stage.",
    )
    norm_eval: bool = Field(default=False, description="Batch norms of the backbone keep their running statistics.")


class SmpParams(Section):
    """A whole architecture of segmentation-models-pytorch."""

    architecture: str = Field(
        default="Unet", min_length=1, description="Unet, UnetPlusPlus, MAnet, Linknet, FPN, PSPNet, ..."
    )
    encoder: str = Field(default="resnet18", min_length=1, description="resnet18, mit_b0, tu-convnext_atto, ...")
    pretrained: bool = Field(
        default=False, description="Start from ImageNet weights: an installed package's, or downloaded."
    )
    losses: tuple[LossParams, ...] = Field(
        default=(CrossEntropyParams(name="cross_entropy"), DiceParams(name="dice")),
        min_length=1,
        description="Weighted sum.",
    )
    auxiliary_heads: tuple[HeadParams, ...] = Field(
        default=(), description="Heads on the encoder's features (position 0 is the image) that only training uses."
    )


class ModelParams(InputParams):
    """The network and what its input looks like."""

    type: Literal["encoder_decoder", "smp"] = Field(
        default="encoder_decoder", description="Which of the parts below make the network."
    )
    align_corners: bool = Field(default=False, description="How logits and features are resized.")
    weights: str | None = Field(default=None, description="A folder with model.safetensors to start from.")
    norm: NormParams = NormParams()
    backbone: BackboneParams = BackboneParams()
    neck: NeckParams = NoNeckParams(name="none")
    cascade_heads: tuple[HeadParams, ...] = Field(
        default=(), description="Heads before decode_head, in order; each head sees the logits of the one before."
    )
    decode_head: HeadParams = FCNHeadParams(name="fcn")
    auxiliary_heads: tuple[HeadParams, ...] = Field(
        default=(), description="Heads that only training uses; any number."
    )
    smp: SmpParams = SmpParams()

    @model_validator(mode="after")
    def _check_heads(self) -> "ModelParams":
        if not self.cascade_heads and self.decode_head.name in ("ocr", "point"):
            raise ValueError(f"decode_head {self.decode_head.name} refines logits: cascade_heads needs a head")
        return self


def validate_model(values: Mapping[str, Any], *, place: object) -> ModelParams:
    """Check the model section alone, as a trained model's card holds it.

    Raises:
        ParamsError: A value is wrong.
    """
    return validated(values, ModelParams, place=place)
