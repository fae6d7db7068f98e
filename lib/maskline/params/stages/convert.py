"""What the stage convert reads of params.yaml."""

from maskline.params.base.types import Section
from maskline.params.data import DataParams
from maskline.params.machine import MachineParams


class ConvertStage(Section):
    """Sections of the stage."""

    data: DataParams = DataParams()
    machine: MachineParams = MachineParams()
