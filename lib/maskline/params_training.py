"""The sections optimizer, schedule and train of params.yaml."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from maskline.params_types import Count, CountOrNone, Fraction, NonNegative, Positive, Section, Seed

_Share = Annotated[float, Field(ge=0, lt=1)]


class CustomKeyParams(Section):
    """Factors for the tensors whose name contains a text; the longest text that fits a tensor counts."""

    key: str = Field(min_length=1, description="Part of the tensor's name.")
    lr_mult: NonNegative = Field(description="Factor on lr.")
    decay_mult: NonNegative = Field(description="Factor on weight_decay.")


class LayerDecayParams(Section):
    """Learning rates that fall towards the input; replaces the other rules."""

    kind: Literal["layer_wise", "stage_wise", "layer_wise_vit"] | None = Field(
        description="ConvNeXt by layer or stage, vision transformer by block; null: none."
    )
    num_layers: Count = Field(description="Depth over which the rates fall.")
    rate: Annotated[float, Field(gt=0, le=1)] = Field(description="Of each layer to the next deeper one.")


class ParamwiseParams(Section):
    """lr and weight_decay of single tensors. `maskline explain optimizer` shows what comes of it."""

    strict: bool = Field(description="A rule without effect is an error; false: a warning.")
    custom_keys: tuple[CustomKeyParams, ...] = Field(description="By name; these tensors see no other rule.")
    norm_decay_mult: NonNegative | None = Field(description="On weight_decay of norm layers.")
    bias_lr_mult: NonNegative | None = Field(description="On lr of biases outside norm layers.")
    bias_decay_mult: NonNegative | None = Field(description="On weight_decay of biases outside norm layers.")
    dwconv_decay_mult: NonNegative | None = Field(description="On weight_decay of depth-wise convolutions.")
    flat_decay_mult: NonNegative | None = Field(description="On weight_decay of other tensors of one dimension.")
    layer_decay: LayerDecayParams

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

    name: Literal["sgd", "adam", "adamw", "rmsprop", "adagrad", "adadelta", "nadam", "radam", "adamax", "asgd"] = Field(
        description="The optimizer."
    )
    lr: Positive = Field(description="Learning rate that the schedule scales.")
    weight_decay: NonNegative = Field(description="Weight decay; decoupled for adamw.")
    momentum: _Share = Field(description="sgd and rmsprop.")
    dampening: _Share = Field(description="Of sgd's momentum.")
    nesterov: bool = Field(description="sgd.")
    betas: tuple[_Share, _Share] = Field(description="adam, adamw, nadam, radam and adamax.")
    eps: Positive = Field(description="All but sgd and asgd.")
    alpha: _Share = Field(description="Smoothing of squared gradients: rmsprop, adadelta.")
    amsgrad: bool = Field(description="adam and adamw.")
    centered: bool = Field(description="rmsprop.")
    clip_norm: Positive | None = Field(description="Largest norm of all gradients together.")
    paramwise: ParamwiseParams

    @model_validator(mode="after")
    def _check(self) -> "OptimizerParams":
        if self.name == "sgd" and self.nesterov and self.momentum == 0:
            raise ValueError("nesterov needs momentum above 0")
        if self.name == "sgd" and self.nesterov and self.dampening > 0:
            raise ValueError("nesterov needs dampening 0")
        return self


class ScheduleParams(Section):
    """The learning rate as a function of the iteration."""

    name: Literal["poly", "cosine", "step", "exponential", "one_cycle", "constant"] = Field(
        description="The schedule after the warm-up."
    )
    unit: Literal["iterations", "epochs"] = Field(description="Of length, milestones, step_every and warmup_length.")
    length: Positive | None = Field(description="Where the decay ends; the rate then stays; null: the run's end.")
    power: Positive = Field(description="poly.")
    end_factor: Fraction = Field(description="Last learning rate over the first (poly, cosine, one_cycle).")
    end_lr: NonNegative | None = Field(
        description="Last learning rate of every group, instead of end_factor (poly, cosine)."
    )
    milestones: tuple[Positive, ...] = Field(description="Where the steps are (step).")
    step_every: NonNegative = Field(description="A step each time; 0: milestones (step).")
    gamma: Positive = Field(description="Factor of each step (step) or iteration (exponential).")
    cycle_start: Fraction = Field(description="First learning rate over lr (one_cycle).")
    cycle_peak: Annotated[float, Field(gt=0, lt=1)] = Field(description="Share of the run until lr (one_cycle).")
    warmup: Literal["linear", "exponential", "constant"] = Field(description="Shape of the warm-up.")
    warmup_length: NonNegative = Field(description="Length of the warm-up.")
    warmup_factor: Fraction = Field(description="First learning rate of the warm-up over lr.")

    @model_validator(mode="after")
    def _check(self) -> "ScheduleParams":
        if self.name == "step" and not self.milestones and not self.step_every:
            raise ValueError("step needs at least one milestone, or step_every")
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


class TrainParams(Section):
    """The training loop."""

    seed: Seed = Field(description="Weights, sample order, augmentation and dropout all derive from it.")
    iterations: Count = Field(description="Optimizer steps.")
    epochs: Positive | None = Field(description="Passes over the train split, instead of iterations.")
    batch_size: Count = Field(description="Samples a forward pass, those of all devices together.")
    accumulate: Count = Field(description="Batches whose gradients are added up to one optimizer step.")
    val_every: Count = Field(description="Iterations between validations; the last iteration is always validated.")
    preview_every: CountOrNone = Field(
        description="Iterations between two pictures of predictions under .maskline/predictions; 0: none."
    )
    preview_samples: Annotated[int, Field(ge=1, le=64)] = Field(
        description="Images of the val split in each: image, truth, prediction."
    )
    log_every: Count = Field(
        description="Iterations between two points of the curves of losses and of the gradients' norm."
    )
    best_metric: str = Field(min_length=1, description="Validation metric by which the best weights are kept.")
    early_stop: CountOrNone = Field(description="Ends after so many validations without a better score; 0: never.")
    ema_decay: _Share = Field(
        description="Validated and kept are the weights' moving average of this decay; 0: the weights themselves."
    )
    device: Literal["auto", "cpu", "cuda"] = Field(description="auto: cuda where there is one.")
    devices: Count = Field(
        description="Training processes, one a GPU (or any number on a CPU); each takes batch_size / devices samples "
        "of every batch. Under torchrun its world size counts instead."
    )
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        description="auto: bf16 where the device computes it. fp16: cuda only, with a loss scale."
    )
    compile: bool | Literal["auto"] = Field(
        description="Compile the network with torch.compile; needs a C++ compiler. auto: on a GPU, where there is one."
    )
    channels_last: bool = Field(description="Memory format of the convolutions.")
    threads: Annotated[int, Field(ge=1, le=256)] = Field(description="CPU threads; bits depend on it.")
    workers: Annotated[int, Field(ge=0, le=128)] = Field(
        description="Loader processes; for a network on the CPU they augment too. Any count gives the same samples."
    )
    cache: Literal["ram", "stream", "mmap", "device"] = Field(
        description="Keep decoded images in memory, decode each time, keep them decoded in a file of which a crop "
        "reads its part, or keep the train images on the GPU."
    )
    journal_every: CountOrNone = Field(description="Iterations between two entries of the resume journal; 0: none.")

    @model_validator(mode="after")
    def _check(self) -> "TrainParams":
        if self.batch_size % self.devices:
            raise ValueError(f"batch_size {self.batch_size} cannot be shared by {self.devices} devices")
        if self.cache == "device" and self.workers:
            raise ValueError("cache device needs workers 0: loader processes cannot share what is on a GPU")
        return self
