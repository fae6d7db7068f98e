"""The evaluation of a trained model: score a split, then write numbers, images and the page."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from rich.console import Console
from rich.progress import track

from maskline.core.errors import CheckpointError
from maskline.data.labels import LabelSet
from maskline.data.reading_rule import ReadingRule
from maskline.evaluation.conventions import Conventions
from maskline.evaluation.guarantee import Promise
from maskline.evaluation.page import tree
from maskline.evaluation.scoring import Counting, ImageScore, Split, Use, score_split
from maskline.metrics import scores_table
from maskline.metrics.extra import Measures
from maskline.metrics.scores import flatten
from maskline.metrics.scores_table import UNCERTAINTY
from maskline.runtime.processes import distributed


class LabelledSplit(Split, Protocol):
    """Images by position, with the classes of their masks."""

    @property
    def labels(self) -> LabelSet:
        """Classes of the masks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """A scored split.

    Args:
        data_name: Of the data set.
        name: Of the split: train, val or test.
        scores: One an image, in the split's order.
        metrics: All scores, as a tree.
        within_valid: Whether only valid areas were scored.
    """

    data_name: str
    name: str
    scores: Sequence[ImageScore]
    metrics: Mapping[str, Any]
    within_valid: bool

    def __str__(self) -> str:
        """Return the result in a line."""
        return headline(self)


def check_labels(labels: LabelSet, card: Mapping[str, Any], *, place: object) -> None:
    """Compare the classes of the data with those that the model was trained for.

    Raises:
        CheckpointError: They differ.
    """
    trained, prepared = LabelSet.from_dict(card["labels"], place=place).to_dict(), labels.to_dict()
    for key, value in prepared.items():
        if trained[key] != value:
            raise CheckpointError(
                place,
                f"was trained with {key} {trained[key]}, the prepared data has {value}",
                "train again (dvc repro train)",
            )


def check_reading(rule: ReadingRule | None, card: Mapping[str, Any], *, place: object) -> None:
    """Compare how the images of the data were read with what the model was trained on, where both are known.

    Raises:
        CheckpointError: They differ.
    """
    if rule is None or "reading" not in card:
        return
    trained = ReadingRule.from_dict(card["reading"], place=place)
    key = trained.difference(rule)
    if key is not None:
        problem = f"was trained with {key} {getattr(trained, key)}, the prepared data has {getattr(rule, key)}"
        raise CheckpointError(place, problem, "train again (dvc repro train)")


def evaluate(
    inference: Use,
    split: LabelledSplit,
    *,
    data_name: str,
    name: str,
    within_valid: bool,
    measures: Measures,
    resamples: int,
    seed: int,
    tuned_crf: Mapping[str, float],
    promise: Promise | None = None,
    conventions: Conventions | None = None,
) -> Evaluation | None:
    """Score every image of a split at its own size, and return it in the first of several processes.

    Args:
        inference: The network and what follows it.
        split: Images with their labels.
        data_name: Of the data set.
        name: Of the split.
        within_valid: Score only inside the valid-area mask, where an image has one.
        measures: What to measure beyond the confusion matrix.
        resamples: Bootstrap resamples behind each interval; 0: no intervals.
        seed: Of the resampling.
        tuned_crf: Settings of the CRF that were chosen on other images; empty: none were.
        promise: That the threshold was chosen to keep; None: none.
        conventions: Further ways to count; None: none.

    Raises:
        DataError: A label is no class, or nothing can be scored.
        CheckpointError: The network gives nan.
    """
    labels = split.labels
    counting = Counting(
        num_classes=labels.num_classes,
        ignore_index=labels.ignore_index,
        within_valid=within_valid,
        measures=measures,
        conventions=conventions,
    )
    scored = score_split(inference, split, counting)
    shown = track(
        scored,
        description=f"evaluate {name}",
        total=len(split.sizes) / distributed.size(),
        console=Console(stderr=True),
        transient=True,
        disable=not sys.stderr.isatty() or distributed.rank() > 0,
    )
    shares = distributed.gathered(list(shown))
    if shares is None:
        return None
    scores = sorted((score for share in shares for score in share), key=lambda score: score.index)
    chosen: dict[str, Any] = {} if inference.threshold is None else {"threshold": inference.threshold}
    chosen |= {"tuned_crf": dict(tuned_crf)} if tuned_crf else {}
    chosen |= {} if promise is None else {scores_table.PROMISE: promise.held_against(scores)}
    metrics = tree.metrics_tree(scores, labels, resamples=resamples, seed=seed, settings=chosen)
    return Evaluation(data_name=data_name, name=name, scores=scores, metrics=metrics, within_valid=within_valid)


def headline(evaluation: Evaluation) -> str:
    """Return the result in a line: images, Dice of the foreground where there is one, mIoU, with intervals."""
    flat = flatten(dict(evaluation.metrics))
    parts = []
    for name in ("foreground.Dice", "mIoU"):
        if name in flat:
            low, high = (flat.get(f"{UNCERTAINTY}.{name}.{end}") for end in ("low", "high"))
            parts.append(f"{name} {flat[name]:.4f}" + (f" ({low:.3f} to {high:.3f})" if low is not None else ""))
    if scores_table.PROMISE in evaluation.metrics:
        promise = evaluation.metrics[scores_table.PROMISE]
        parts.append(f"miss rate {promise['miss_rate']:.3f} (promised: {promise['at_most']:g} at most)")
    return f"{len(evaluation.scores)} images of {evaluation.name}, " + ", ".join(parts)
