"""What the stage export reads of params.yaml."""

from maskline.params.base.types import Section
from maskline.params.data import DataParams
from maskline.params.evaluate import EvaluateParams
from maskline.params.export import ExportParams
from maskline.params.train import TrainParams


class ExportStage(Section):
    """Sections of the stage."""

    data: DataParams = DataParams()
    train: TrainParams = TrainParams()
    evaluate: EvaluateParams = EvaluateParams()
    export: ExportParams = ExportParams()
