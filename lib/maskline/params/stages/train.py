"""What the stage train reads of params.yaml."""

from pydantic import model_validator

from maskline.params.augment import AugmentParams
from maskline.params.base.types import Section
from maskline.params.machine import MachineParams
from maskline.params.network.model import ModelParams
from maskline.params.optimizer import OptimizerParams
from maskline.params.schedule import ScheduleParams
from maskline.params.train import TrainParams


class TrainStage(Section):
    """Sections of the stage, and what must hold between them."""

    augment: AugmentParams = AugmentParams()
    model: ModelParams = ModelParams()
    optimizer: OptimizerParams = OptimizerParams()
    schedule: ScheduleParams = ScheduleParams()
    train: TrainParams = TrainParams()
    machine: MachineParams = MachineParams()

    @model_validator(mode="after")
    def _check_warmup(self) -> "TrainStage":
        warmup = self.schedule.warmup_length
        if self.schedule.unit == "iterations" and self.train.epochs is None and warmup >= self.train.iterations:
            raise ValueError(f"schedule.warmup_length {warmup:g} is not below train.iterations {self.train.iterations}")
        return self
