"""params.yaml as a whole: every section, and what must hold between them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import model_validator

from maskline.params.base.reading import read_yaml, validated
from maskline.params.data import DataParams
from maskline.params.evaluate import EvaluateParams
from maskline.params.export import ExportParams
from maskline.params.predict import PredictParams
from maskline.params.preview import PreviewParams
from maskline.params.stages.train import TrainStage

SECTIONS = (
    "data",
    "augment",
    "preview",
    "model",
    "optimizer",
    "schedule",
    "train",
    "evaluate",
    "export",
    "predict",
    "machine",
)
"""In the order in which people read them."""


class Params(TrainStage):
    """The whole file."""

    data: DataParams = DataParams()
    preview: PreviewParams = PreviewParams()
    evaluate: EvaluateParams = EvaluateParams()
    export: ExportParams = ExportParams()
    predict: PredictParams = PredictParams()

    @model_validator(mode="after")
    def _check_classes(self) -> "Params":
        named = self.data.classes or self.data.mask_values  # a map names classes too
        if self.data.name == "folder" and self.data.layout is None and len(named) < 2:
            raise ValueError("data.classes needs at least two classes for data.name: folder")
        return self


def load_params(path: Path) -> Params:
    """Read and check a params file.

    Raises:
        ParamsError: The file is missing, no YAML, or a value is wrong; names file, key, value and remedy.
    """
    return validate_params(read_yaml(path), place=path)


def validate_params(values: Mapping[str, Any], *, place: object = "params") -> Params:
    """Check a mapping of plain values.

    Raises:
        ParamsError: As ``load_params``.
    """
    return validated(values, Params, place=place)


def json_schema() -> dict[str, Any]:
    """Return the JSON schema that editors complete and check params.yaml with."""
    schema = Params.model_json_schema()
    schema["properties"] = {name: schema["properties"][name] for name in SECTIONS}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
