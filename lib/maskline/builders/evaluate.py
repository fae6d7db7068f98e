"""An evaluation from its params: the model's use, with what is tuned on the val split, and its scores."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from maskline.builders.inference import build_inference
from maskline.core.errors import ParamsError
from maskline.data.dataset import PreparedSplit
from maskline.data.manifest import Split, scored_split
from maskline.evaluation import evaluate, guarantee, tuning
from maskline.inference.pipeline import Inference
from maskline.metrics.extra import Measures
from maskline.params.evaluate import EvaluateParams
from maskline.params.measures import MEASURES
from maskline.params.stages.evaluate import EvaluateStage
from maskline.runtime import checkpoint, device


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluated:
    """A model, scored.

    Args:
        result: All scores; None in every process but the first.
        split: The images.
        card: The model's.
    """

    result: evaluate.Evaluation | None
    split: PreparedSplit
    card: dict[str, Any]


def evaluated(params: EvaluateStage, prepared: Path, model: Path) -> Evaluated:
    """Score a trained model on the split that the section names.

    Args:
        params: Those of the stage.
        prepared: Folder of the prepared data.
        model: Folder of the trained model.

    Raises:
        MasklineError: See ``tuned_inference``; or the model was trained on other classes, or on images read otherwise.
    """
    section = params.evaluate
    device.set_deterministic(params.train.threads)
    name = scored_split(prepared, section.split)
    split = PreparedSplit.open(prepared, name, cache="stream")
    card = checkpoint.read_card(model)
    evaluate.check_labels(split.labels, card, place=model / checkpoint.CARD_FILE)
    evaluate.check_reading(split.rule, card, place=model / checkpoint.CARD_FILE)
    validation = partial(PreparedSplit.open, prepared, "val", cache="stream")
    use = tuned_inference(section, model, split, scored=name, validation=validation)
    result = evaluate.evaluate(
        use.inference,
        split,
        data_name=params.data.name,
        name=name,
        within_valid=section.within_valid,
        measures=measures(section),
        resamples=section.bootstrap,
        seed=params.train.seed,
        tuned_crf=use.crf,
        promise=use.promise,
    )
    return Evaluated(result=result, split=split, card=card)


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """The use of a model, with what was chosen for it on the val split.

    Args:
        inference: The network and what follows it.
        crf: Values of the CRF that were chosen; empty: none were.
        promise: That the threshold was chosen to keep; None: none.
    """

    inference: Inference
    crf: dict[str, float]
    promise: guarantee.Promise | None


def tuned_inference(
    params: EvaluateParams,
    model: Path,
    split: PreparedSplit,
    *,
    scored: Split,
    validation: Callable[[], PreparedSplit],
) -> Chosen:
    """Return the use of a model, with what is to be chosen on the val split.

    Args:
        params: The section.
        model: Folder of the trained model.
        split: What is to be scored.
        scored: Its name.
        validation: Opens the val split; called where something is to be tuned.

    Raises:
        CheckpointError: The model cannot be read.
        DataError: There is no val split to tune on.
        ParamsError: The val split is the one to be scored: it cannot choose and score.
    """
    check_tuning(params, scored=scored)
    inference, tuned = build_inference(params, model), {}
    ignore_index, within_valid = split.labels.ignore_index, params.within_valid
    if params.crf.enabled and params.crf.tune:
        inference = tuning.with_crf(inference, validation(), ignore_index=ignore_index, within_valid=within_valid)
        tuned = tuning.tuned_values(inference)
    inference = tuning.with_threshold(
        inference,
        tune=params.threshold == "tune",
        num_classes=split.labels.num_classes,
        validation=validation,
        ignore_index=ignore_index,
        within_valid=within_valid,
    )
    promise = None
    if params.guarantee.at_most is not None:
        inference, promise = guarantee.with_promise(
            inference,
            at_most=params.guarantee.at_most,
            num_classes=split.labels.num_classes,
            validation=validation,
            ignore_index=ignore_index,
            within_valid=within_valid,
        )
    return Chosen(inference=inference, crf=tuned, promise=promise)


def check_tuning(params: EvaluateParams, *, scored: Split) -> None:
    """Refuse to choose on the images that are scored.

    Raises:
        ParamsError: The val split is scored, and something is to be tuned on it.
    """
    asked = {
        "evaluate.threshold": params.threshold == "tune",
        "evaluate.crf.tune": params.crf.enabled and params.crf.tune,
        "evaluate.guarantee": params.guarantee.at_most is not None,
    }
    for key, tuned in asked.items():
        if tuned and scored == "val":
            problem = "it would be chosen on the val split, which is the one that is scored"
            remedy = "give numbers (no guarantee), or a test split (data.test_fraction, data.split_lists)"
            raise ParamsError(key, problem, remedy)


def measures(params: EvaluateParams) -> Measures:
    """Return what is measured beyond the confusion matrix, in the table's order; keywords are keys of the section."""
    names = tuple(name for name in MEASURES if name in params.extra_metrics)
    return Measures(names=names, options=params.model_dump())
