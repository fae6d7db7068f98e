"""The section train of params.yaml."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from maskline.params.base.types import Count, CountOrNone, Positive, Section, Seed

SECOND_ANNOTATOR = "second_annotator"

_FORM = rf"^({SECOND_ANNOTATOR}|(.*/)?soft_labels-[0-9a-f]{{16}}/?)$"


def _checked_soft(text: str) -> str:
    if re.fullmatch(_FORM, text) is None:
        remedy = f"give {SECOND_ANNOTATOR}, or a folder soft_labels-... with the name that maskline folds gave it"
        raise ValueError(f"{text!r} says not which soft labels; {remedy}")
    return text


_SoftLabels = Annotated[str, AfterValidator(_checked_soft), Field(json_schema_extra={"pattern": _FORM})]
_Share = Annotated[float, Field(ge=0, lt=1)]


class TrainParams(Section):
    """The training loop."""

    seed: Seed = Field(default=0, description="Weights, sample order, augmentation and dropout all derive from it.")
    iterations: Count = Field(default=1200, description="Optimizer steps.")
    epochs: Positive | None = Field(default=None, description="Passes over the train split, instead of iterations.")
    batch_size: Count = Field(default=8, description="Samples a forward pass, those of all devices together.")
    accumulate: Count = Field(default=1, description="Batches whose gradients are added up to one optimizer step.")
    val_every: Count = Field(
        default=200, description="Iterations between validations; the last iteration is always validated."
    )
    preview_every: CountOrNone = Field(
        default=0, description="Iterations between two images of predictions under .maskline/predictions; 0: none."
    )
    preview_samples: Annotated[int, Field(ge=1, le=64)] = Field(
        default=4, description="Images of the val split in each: image, truth, prediction."
    )
    log_every: Count = Field(
        default=20, description="Iterations between two points of the curves of losses and of the gradients' norm."
    )
    best_metric: str = Field(
        default="mDice",
        min_length=1,
        description="Validation metric by which the best weights are kept: `aAcc`, `mIoU`, `mAcc`, `mDice`, or the IoU "
        "of a class, such as `IoU_leaf`.",
    )
    early_stop: CountOrNone = Field(
        default=0, description="Ends after so many validations without a better score; 0: never."
    )
    ema_decay: _Share = Field(
        default=0.0,
        description="Validated and kept are the weights' moving average of this decay; 0: the weights themselves.",
    )
    ema_ramp: bool = Field(
        default=True,
        description="The decay of iteration t is at most (1 + t) / (10 + t): the start is soon forgotten; false: "
        "ema_decay from the second iteration on, as MMEngine has it.",
    )
    swa_from: Annotated[float, Field(gt=0, lt=1)] | None = Field(
        default=None,
        description="Share of the run from which on the plain mean of the weights is validated and kept, with the "
        "statistics of batch norms taken anew; null: no mean. For a learning rate that stays up to the end, such as "
        "schedule.end_factor 0.1 and more.",
    )
    swa_every: Count = Field(default=1, description="Iterations between two weights of that mean.")
    swa_batches: Count = Field(
        default=32, description="Train batches that those statistics are taken from, before each validation."
    )
    soft_labels: _SoftLabels | None = Field(
        default=None,
        description="Soft labels to learn from beside the masks: `second_annotator`, the other masks of a set that has "
        "two; or a folder `soft_labels-...` that `maskline folds --soft-labels` wrote, whose name holds its hash; "
        "null: the masks alone. Only with losses cross_entropy, dice, jaccard, tversky and focal_tversky.",
    )
    soft_weight: Annotated[float, Field(gt=0, le=1)] = Field(
        default=0.5,
        description="Share of the soft labels in the target of a pixel that has some; the mask has the rest.",
    )
    device: Literal["auto", "cpu", "cuda"] = Field(default="auto", description="auto: cuda where there is one.")
    devices: Count = Field(
        default=1,
        description="Training processes, one a GPU (or any number on a CPU); each takes batch_size / devices samples "
        "of every batch. Under torchrun its world size counts instead.",
    )
    precision: Literal["auto", "fp32", "tf32", "bf16", "fp16"] = Field(
        default="auto",
        description="auto: bf16 where the device computes it. Cuda only: fp16, with a loss scale; tf32, which is fp32 "
        "whose convolutions and matrix products keep ten binary digits. fp32 never does so.",
    )
    deterministic: bool = Field(
        default=True,
        description="On a GPU: the same bits twice on one card, which costs time; false: torch and cuDNN choose what "
        "is fastest, and a run cannot be repeated to the bit. A CPU always gives the same bits.",
    )
    graph: bool | Literal["auto"] = Field(
        default="auto",
        description="On a GPU: a step is captured as one graph after three iterations and replayed, which saves the "
        "launching of its kernels one by one and changes no bit. The log says where a part cannot be captured. auto: "
        "where there is a GPU, unless the model has code of your own, whose numbers a graph might keep from iteration "
        "to iteration; true: then too.",
    )
    compile: bool | Literal["auto"] = Field(
        default=False,
        description="Compile the network with torch.compile; needs a C++ compiler. auto: on a GPU, where there is one.",
    )
    channels_last: bool = Field(default=True, description="Memory format of the convolutions.")
    threads: Annotated[int, Field(ge=1, le=256)] = Field(default=2, description="CPU threads; bits depend on it.")
    fast_layers: bool = Field(
        default=True,
        description="On a CPU, batch norms of few channels and depthwise convolutions of bf16 are computed by faster "
        "forms of our own; false: by torch's, with other last bits.",
    )

    @model_validator(mode="after")
    def _check(self) -> "TrainParams":
        if self.batch_size % self.devices:
            raise ValueError(f"batch_size {self.batch_size} cannot be shared by {self.devices} devices")
        if self.swa_from is not None and self.ema_decay:
            raise ValueError(f"swa_from {self.swa_from:g} and ema_decay {self.ema_decay:g} are two averages; set one")
        return self
