"""The section machine of params.yaml: what changes the speed and no bit of any output.

No stage depends on it, and neither does the resume journal: a run that died for memory goes on with other values.
"""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from maskline.params.base.types import CountOrNone, Section


class MachineParams(Section):
    """How this machine is used; any values give the same bits."""

    workers: Annotated[int, Field(ge=0, le=128)] = Field(
        default=0, description="Loader processes of training; for a network on the CPU they augment too."
    )
    convert_workers: Annotated[int, Field(ge=1, le=256)] = Field(default=1, description="Processes that convert.")
    cache: Literal["auto", "ram", "stream", "mmap", "device"] = Field(
        default="auto",
        description="ram: keep decoded images in memory. stream: decode each time. mmap: keep them decoded in a file "
        "of which a crop reads its part. device: keep the train images and masks on the GPU, without loader "
        "processes. auto: device where they fit into a third of the GPU's free memory, else ram.",
    )
    journal_every: CountOrNone = Field(
        default=100, description="Iterations between two entries of the resume journal; 0: none."
    )
    log_to: tuple[Literal["tensorboard", "mlflow", "trackio", "wandb"], ...] = Field(
        default=(),
        description="Who else gets the curves while training, each by an extra of its name (`pip install "
        "'maskline[tensorboard]'`). `.maskline/live` has them in any case, for `maskline watch`.",
    )
    evaluate_devices: Annotated[int, Field(ge=1, le=1024)] = Field(
        default=1,
        description="Processes that share evaluation's images, one a GPU (or any number on a CPU). Under torchrun its "
        "world size counts instead.",
    )
    tuned_memory: bool = Field(
        default=True,
        description="Huge pages and kept memory in training and evaluation (Linux, glibc); false: as the system does.",
    )
    wait: Literal["auto", "spin", "yield"] = Field(
        default="auto",
        description="How the CPU threads of training and evaluation wait for each other (Linux). spin: busily, fastest "
        "where nobody else wants the processor. yield: asleep. auto: yield where the machine is busy at the start. "
        "`GOMP_SPINCOUNT` in the environment counts more.",
    )

    @property
    def kept(self) -> Literal["ram", "stream", "mmap", "device"]:
        """Where decoded images are kept on this side of a GPU."""
        return "ram" if self.cache == "auto" else self.cache

    @model_validator(mode="after")
    def _check(self) -> "MachineParams":
        if self.cache == "device" and self.workers:
            raise ValueError("cache device needs workers 0: loader processes cannot share what is on a GPU")
        return self
