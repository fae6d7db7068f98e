"""A training run from Python, without DVC: ``maskline.train``."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from maskline.builders.training import build_training, describe_training
from maskline.cli.entry import log
from maskline.engine import run
from maskline.params.base.reading import load_sections, validated
from maskline.params.stages.train import TrainStage
from maskline.predict.model import Model
from maskline.predict.model_sources import load
from maskline.runtime.processes import gpus


def train(
    params: str | Path | Mapping[str, Any] = "params.yaml",
    prepared: str | Path = "data/prepared",
    *,
    output: str | Path = "data/models",
    reports: str | Path = "reports/train",
) -> Model:
    """Train on prepared data as the train stage does, and return the model with the best validation score.

    The same params, data and machine give the same weights as the stage. A run that was stopped goes on from its
    journal when it is started again. It takes one process: ``train.devices`` is for the stage.

    Args:
        params: A params file, or its sections augment, model, optimizer, schedule and train as mappings.
        prepared: Prepared data, with a train split and best with a val split.
        output: Model folder to write.
        reports: Folder of metrics.json, curves.csv, classes.csv, steps.csv and timing.csv.

    Raises:
        MasklineError: The params are wrong, the data is not there, or the loss is not finite.
    """
    if isinstance(params, Mapping):
        sections = {name: values for name, values in params.items() if name in TrainStage.model_fields}
        stage = validated(sections, TrainStage, place="params")
    else:
        stage = load_sections(Path(params), TrainStage)
    gpus.take(1, device=stage.train.device)
    job = build_training(stage, Path(prepared))
    log.info("train: %s", describe_training(job))
    result = run.train(job)
    folder = Path(reports)
    run.write(
        result,
        job,
        model=Path(output),
        metrics=folder / "metrics.json",
        curves=folder / "curves.csv",
        classes=folder / "classes.csv",
        steps=folder / "steps.csv",
        timing=folder / "timing.csv",
    )
    log.info("train: %s", result.outcome(job.loop.best_metric))
    return load(output)
