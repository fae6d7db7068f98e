"""What the stage augment-preview reads of params.yaml."""

from maskline.params.augment import AugmentParams
from maskline.params.base.types import Section
from maskline.params.input import InputOfModel
from maskline.params.preview import PreviewParams
from maskline.params.train import TrainParams


class PreviewStage(Section):
    """Sections of the stage."""

    augment: AugmentParams = AugmentParams()
    model: InputOfModel = InputOfModel()
    preview: PreviewParams = PreviewParams()
    train: TrainParams = TrainParams()
