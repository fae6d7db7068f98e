"""What the stage download reads of params.yaml."""

from maskline.params.base.types import Section
from maskline.params.data import DataParams


class DownloadStage(Section):
    """Sections of the stage."""

    data: DataParams = DataParams()
