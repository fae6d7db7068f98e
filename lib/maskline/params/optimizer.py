"""The section optimizer of params.yaml."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from maskline.params.base.types import Count, NonNegative, Positive, Section
from maskline.params.base.variants import read_by

_Share = Annotated[float, Field(ge=0, lt=1)]


class CustomKeyParams(Section):
    """Factors for the tensors whose name contains a text; the longest text that fits a tensor counts."""

    key: str = Field(min_length=1, description="Part of the tensor's name.")
    lr_mult: NonNegative = Field(default=1.0, description="Factor on lr.")
    decay_mult: NonNegative = Field(default=1.0, description="Factor on weight_decay.")


class LayerDecayParams(Section):
    """Learning rates that fall towards the input; replaces the other rules."""

    kind: Literal["layer_wise", "stage_wise", "layer_wise_vit"] | None = Field(
        default=None, description="ConvNeXt by layer or stage, vision transformer by block; null: none."
    )
    num_layers: Count = Field(default=12, description="Depth over which the rates fall.")
    rate: Annotated[float, Field(gt=0, le=1)] = Field(default=0.9, description="Of each layer to the next deeper one.")


class ParamwiseParams(Section):
    """lr and weight_decay of single tensors. `maskline explain optimizer` shows what comes of it."""

    strict: bool = Field(default=True, description="A rule without effect is an error; false: a warning.")
    custom_keys: tuple[CustomKeyParams, ...] = Field(
        default=(), description="By name; these tensors see no other rule."
    )
    norm_decay_mult: NonNegative | None = Field(default=None, description="On weight_decay of norm layers.")
    bias_lr_mult: NonNegative | None = Field(default=None, description="On lr of biases outside norm layers.")
    bias_decay_mult: NonNegative | None = Field(
        default=None, description="On weight_decay of biases outside norm layers."
    )
    dwconv_decay_mult: NonNegative | None = Field(
        default=None, description="On weight_decay of depth-wise convolutions."
    )
    flat_decay_mult: NonNegative | None = Field(
        default=None, description="On weight_decay of other tensors of one dimension."
    )
    layer_decay: LayerDecayParams = LayerDecayParams()

    @model_validator(mode="after")
    def _check(self) -> "ParamwiseParams":
        keys = [custom.key for custom in self.custom_keys]
        if len(set(keys)) < len(keys):
            raise ValueError("custom_keys has one key twice")
        others = [
            name for name in type(self).model_fields if name.endswith("_mult") and getattr(self, name) is not None
        ]
        others += ["custom_keys"] * bool(keys)
        if self.layer_decay.kind is not None and others:
            raise ValueError(f"layer_decay replaces all other rules, and {others[0]} is set")
        return self


class OptimizerParams(Section):
    """The optimizer and its knobs, side by side."""

    name: Literal[
        "sgd", "adam", "adamw", "muon", "rmsprop", "adagrad", "adadelta", "nadam", "radam", "adamax", "asgd"
    ] = Field(default="adamw", description="The optimizer; docs/choose/schedule.md says when muon.")
    lr: Positive = Field(default=0.002, description="Learning rate that the schedule scales.")
    weight_decay: NonNegative = Field(default=0.01, description="Weight decay; decoupled for adamw and muon.")
    momentum: _Share = Field(
        default=0.9,
        description="sgd, rmsprop and muon, which usually has 0.95.",
        json_schema_extra=read_by("sgd", "muon", "rmsprop"),
    )
    dampening: _Share = Field(default=0.0, description="Of sgd's momentum.", json_schema_extra=read_by("sgd"))
    nesterov: bool = Field(default=False, description="sgd and muon.", json_schema_extra=read_by("sgd", "muon"))
    betas: tuple[_Share, _Share] = Field(
        default=(0.9, 0.999),
        description="adam, adamw, nadam, radam, adamax, and muon where it takes AdamW's step.",
        json_schema_extra=read_by("adam", "adamw", "muon", "nadam", "radam", "adamax"),
    )
    eps: Positive = Field(
        default=1e-08,
        description="All but sgd and asgd.",
        json_schema_extra=read_by("ada.*", "muon", "rmsprop", "nadam", "radam"),
    )
    alpha: _Share = Field(
        default=0.99,
        description="Smoothing of squared gradients: rmsprop, adadelta.",
        json_schema_extra=read_by("rmsprop", "adadelta"),
    )
    amsgrad: bool = Field(default=False, description="adam and adamw.", json_schema_extra=read_by("adam", "adamw"))
    centered: bool = Field(default=False, description="rmsprop.", json_schema_extra=read_by("rmsprop"))
    clip_norm: Positive | None = Field(default=None, description="Largest norm of all gradients together.")
    paramwise: ParamwiseParams = ParamwiseParams()

    @model_validator(mode="after")
    def _check(self) -> "OptimizerParams":
        if self.name == "sgd" and self.nesterov and self.momentum == 0:
            raise ValueError("nesterov needs momentum above 0")
        if self.name == "sgd" and self.nesterov and self.dampening > 0:
            raise ValueError("nesterov needs dampening 0")
        return self
