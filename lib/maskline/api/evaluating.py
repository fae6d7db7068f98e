"""Scores of a model in use, from Python: ``maskline.evaluate``."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from maskline.builders.evaluate import measures
from maskline.core.errors import CheckpointError
from maskline.data.dataset import PreparedSplit
from maskline.data.manifest import scored_split
from maskline.evaluation import evaluate as evaluation
from maskline.evaluation.evaluate import Evaluation
from maskline.inference.pipeline import Segmentation
from maskline.params.evaluate import EvaluateParams
from maskline.predict.model import Model, Runtime
from maskline.predict.model_sources import load


def evaluate(
    model: Model | str | Path | Sequence[str | Path],
    folder: str | Path = "data/prepared",
    *,
    split: Literal["auto", "train", "val", "test"] = "auto",
    extra_metrics: Sequence[str] = (),
    within_valid: bool = False,
    bootstrap: int = 1000,
    seed: int = 0,
) -> Evaluation:
    """Score a model on a split of prepared data, as the evaluate stage does.

    Args:
        model: From ``maskline.load``, with its windows, test-time augmentation and CRF; or what that takes.
        folder: Prepared data.
        split: auto: test, or val where there is no test split.
        extra_metrics: Measures beyond the confusion matrix, as ``evaluate.extra_metrics`` has them.
        within_valid: Score only inside the valid-area mask.
        bootstrap: Resamples behind each interval; 0: no intervals.
        seed: Of the resampling.

    Returns:
        All scores as a tree (``.metrics``), and those of each image (``.scores``); its text is the result in a line.

    Raises:
        DataError: No such data, or a label that is no class.
        CheckpointError: The model is of other classes, or was trained on images read otherwise.
        ParamsError: A measure that there is none of.
    """
    used = model if isinstance(model, Model) else load(model)
    name = scored_split(Path(folder), split)
    images = PreparedSplit.open(Path(folder), name, cache="stream")
    if used.labels != images.labels:
        problem = f"of classes {used.class_names}, the prepared data has {images.labels.class_names}"
        raise CheckpointError("model", problem, "name prepared data of the set that it was trained on")
    if images.rule is not None and (key := used.reading.difference(images.rule)) is not None:
        problem = f"was trained with {key} {getattr(used.reading, key)}, the data has {getattr(images.rule, key)}"
        raise CheckpointError("model", problem, "name prepared data that was read alike")
    section = EvaluateParams.model_validate({"extra_metrics": tuple(extra_metrics), "bootstrap": bootstrap})
    result = evaluation.evaluate(
        _Use(used.runtime),
        images,
        data_name=Path(folder).name,
        name=name,
        within_valid=within_valid,
        measures=measures(section),
        resamples=bootstrap,
        seed=seed,
        tuned_crf={},
    )
    assert result is not None, "there is one process"
    return result


class _Use:
    """A runtime as the evaluation takes one: one image at a time, without a look at the steps in between."""

    device = torch.device("cpu")
    images_at_once = 1
    threshold = None

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def segment(self, images: Tensor, *, probabilities: bool) -> Segmentation:
        """Segment images NHWC uint8 of one size."""
        prediction = self._runtime.predict(images.numpy())
        labels = prediction.labels
        return Segmentation(
            labels=torch.from_numpy(labels if labels.dtype == np.uint8 else labels.astype(np.int32)),
            steps={},
            probabilities=torch.from_numpy(prediction.probabilities) if probabilities else None,
        )
