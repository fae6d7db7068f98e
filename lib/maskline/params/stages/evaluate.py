"""What the stage evaluate reads of params.yaml."""

from maskline.params.base.types import Section
from maskline.params.data import DataParams
from maskline.params.evaluate import EvaluateParams
from maskline.params.machine import MachineParams
from maskline.params.train import TrainParams


class EvaluateStage(Section):
    """Sections of the stage."""

    data: DataParams = DataParams()
    train: TrainParams = TrainParams()
    evaluate: EvaluateParams = EvaluateParams()
    machine: MachineParams = MachineParams()
