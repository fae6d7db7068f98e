"""The scores of an evaluation as a tree: rounded, finite, each with its interval."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from maskline.core.errors import DataError
from maskline.data.labels import LabelSet
from maskline.evaluation.scoring import ImageScore, Reading
from maskline.metrics.extra_scores import extra_scores
from maskline.metrics.scores import all_scores, flatten
from maskline.metrics.scores_table import SECOND, UNCERTAINTY
from maskline.metrics.statistics import bootstrap_intervals, image_weights, intervals_of

LEVEL = 0.95
STEPS = "steps"
EXTRA = "measures"
AREAS = "valid_area"

_DECIMALS = 6
_MAIN = ("foreground.Dice", "mDice", "mIoU")

Counts = npt.NDArray[np.int64]
Tree = dict[str, Any]


def metrics_tree(
    scores: Sequence[ImageScore], labels: LabelSet, *, resamples: int, seed: int, settings: Mapping[str, Any]
) -> Tree:
    """Return all scores, as ``maskline.metrics.scores_table`` writes them.

    Overall scores come first, then the foreground's (two-class sets), ``per_class``, ``second_annotator`` (the
    second observer against the first, where a set has one), ``steps`` (main scores after the network and after each
    step that follows it, where any does), ``measures`` (the measures asked for), ``uncertainty_95``: the same tree
    with ``low`` and ``high`` of each score's interval, and ``valid_area`` (main scores and measures inside the
    valid-area mask and on the whole image, where a set has masks). ``second_annotator`` has ``measures`` and
    ``valid_area`` of its own. Scores that are not defined are left
    out.

    Args:
        scores: One an image.
        labels: Classes of the set.
        resamples: Bootstrap resamples behind each interval; 0: no intervals.
        seed: Of the resampling.
        settings: Numbers that the inference used and that were not known before, as ``threshold``; shown as they are.

    Raises:
        DataError: No pixel of the split has a label.
    """
    if not total_confusion(scores).any():
        raise DataError("evaluate", "no pixel of the split has a label", "check the masks and data.ignore_index")
    drawing = _Drawing(labels=labels, groups=[one.group for one in scores], resamples=resamples, seed=seed)
    main, areas = _reading([one.own for one in scores], drawing)
    annotated = [(one.second, one.group) for one in scores if one.second is not None]
    second = _Block(scores={}, intervals={})
    if annotated:
        theirs = _Drawing(labels=labels, groups=[group for _, group in annotated], resamples=resamples, seed=seed)
        block, their_areas = _reading([reading for reading, _ in annotated], theirs)
        second = _joined({"": block, AREAS: their_areas})
    blocks = {"": main, SECOND: second, STEPS: _steps(scores, drawing), AREAS: areas}
    whole = _joined(blocks)
    # What people look for comes first.
    tree = {name: value for name, value in whole.scores.items() if name not in {EXTRA, STEPS, AREAS}}
    tree |= {name: whole.scores[name] for name in (EXTRA, STEPS) if name in whole.scores}
    tree |= _plain(settings)
    if whole.intervals:
        tree[UNCERTAINTY] = whole.intervals
    return tree | {name: whole.scores[name] for name in (AREAS,) if name in whole.scores}


def total_confusion(scores: Sequence[ImageScore]) -> Counts:
    """Return the C x C matrix of all images."""
    return _summed([one.confusion for one in scores])


def reliability(scores: Sequence[ImageScore]) -> npt.NDArray[np.float64] | None:
    """Return the counts of the reliability diagram over all images; None where they were not asked for."""
    kept = [one.own.extras.counts for one in scores]
    parts = [counts["calibration"].values for counts in kept if "calibration" in counts]
    return np.sum(parts, axis=0) if parts else None


def rounded(value: Any) -> float | None:
    """Return a plain float of six decimals, None for nan."""
    number = float(value)
    return None if math.isnan(number) else round(number, _DECIMALS)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Drawing:
    """How intervals are drawn, and of which images."""

    labels: LabelSet
    groups: list[str]
    resamples: int
    seed: int

    def intervals(self, matrices: Sequence[Counts], statistic: Any) -> Tree:
        """Return the tree of ``{"low": ..., "high": ...}``; empty without resamples."""
        if not self.resamples:
            return {}
        intervals = bootstrap_intervals(
            np.stack(matrices),
            statistic=statistic,
            groups=self.groups,
            resamples=self.resamples,
            level=LEVEL,
            seed=self.seed,
        )
        return _ends(intervals)

    def extra(self, readings: Sequence[Reading]) -> "_Block":
        """Return the measures beyond the counts, with intervals from the same draws."""
        score = partial(extra_scores, [one.extras for one in readings], class_keys=self.labels.keys)
        values = score(weights=np.ones((1, len(readings))))
        number = len(set(self.groups))
        if not values or not self.resamples or number < 2:
            return _Block(scores=_plain(values), intervals={})
        weights = image_weights(self.groups, resamples=self.resamples, seed=self.seed)
        intervals = intervals_of(flatten(score(weights=weights)), num_groups=number, level=LEVEL)
        return _Block(scores=_plain(values), intervals=_ends(intervals))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Block:
    """Scores, and the same tree with ``low`` and ``high``."""

    scores: Tree
    intervals: Tree


def _reading(readings: Sequence[Reading], drawing: _Drawing) -> tuple[_Block, _Block]:
    """Return all scores of a reading, and its main ones by area; the latter empty without masks."""
    statistic = partial(all_scores, class_keys=drawing.labels.keys)
    matrices = [one.confusion for one in readings]
    counted = _Block(scores=_plain(statistic(_summed(matrices))), intervals=drawing.intervals(matrices, statistic))
    whole = _joined({"": counted, EXTRA: drawing.extra(readings)})
    areas = {}
    if any(one.areas for one in readings):
        for name in ("inside", "whole"):
            parts = [one.areas.get(name, one) for one in readings]
            main = _main([part.confusion for part in parts], drawing)
            areas[name] = _joined({"": main, EXTRA: drawing.extra(parts)})
    return whole, _joined(areas)


def _steps(scores: Sequence[ImageScore], drawing: _Drawing) -> _Block:
    """Return the main scores after each step of the inference, ``1_network`` first: what each step is worth."""
    return _joined(
        {
            f"{number}_{name}": _main([one.steps[name] for one in scores], drawing)
            for number, name in enumerate(scores[0].steps, 1)
        }
    )


def _main(matrices: Sequence[Counts], drawing: _Drawing) -> _Block:
    statistic = partial(_main_scores, labels=drawing.labels)
    return _Block(scores=_plain(statistic(_summed(matrices))), intervals=drawing.intervals(matrices, statistic))


def _main_scores(counts: Counts, *, labels: LabelSet) -> Tree:
    flat = flatten(all_scores(counts, class_keys=labels.keys))
    return {key.rsplit(".", maxsplit=1)[-1]: flat[key] for key in _MAIN if key in flat}


def _joined(blocks: Mapping[str, _Block]) -> _Block:
    """Return one block with the others as branches; the one without a name gives its own leaves. Empty ones go."""
    joined = _Block(scores={}, intervals={})
    for name, block in blocks.items():
        for whole, part in ((joined.scores, block.scores), (joined.intervals, block.intervals)):
            whole.update(part if not name else {name: part} if part else {})
    return joined


def _summed(matrices: Sequence[Counts]) -> Counts:
    total: Counts = np.sum(matrices, axis=0)
    return total


def _ends(found: Mapping[str, tuple[float, float]]) -> Tree:
    """Return intervals by dotted name as a tree."""
    tree: Tree = {}
    for name, (low, high) in found.items():
        *parents, leaf = name.split(".")
        branch = tree
        for parent in parents:
            branch = branch.setdefault(parent, {})
        branch[leaf] = {"low": rounded(low), "high": rounded(high)}
    return tree


def _plain(tree: Mapping[str, Any]) -> Tree:
    """Return the tree with rounded floats, without what is nan and without branches left empty."""
    plain: Tree = {}
    for name, value in tree.items():
        kept = _plain(value) if isinstance(value, Mapping) else rounded(np.squeeze(value))
        if kept is not None and kept != {}:
            plain[name] = kept
    return plain
