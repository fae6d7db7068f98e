"""Whether two models differ on the same images: paired bootstrap and permutation test, groups kept whole."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from maskline.core.seeds import numpy_generator
from maskline.metrics.scores import Counts, class_scores_of, flatten, overall_scores_of
from maskline.metrics.statistics import expanded_tail

Floats = npt.NDArray[np.float64]
Statistic = Callable[[Floats], dict[str, Floats]]

# A difference this small is rounding.
_NOTHING = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One score of two models.

    Args:
        name: Dotted.
        a: Of the first.
        b: Of the second.
        difference: b - a.
        low: Lower end of the difference's 95 % interval; None with one group.
        high: Upper end.
        p: How often a difference at least as large comes from swapping the two models by chance.
    """

    name: str
    a: float
    b: float
    difference: float
    low: float | None
    high: float | None
    p: float

    def as_dict(self) -> dict[str, Any]:
        """Return plain types, numbers of six decimals."""
        return {key: round(value, 6) if isinstance(value, float) else value for key, value in asdict(self).items()}


def count_scores(counts: Floats, *, class_keys: Sequence[str]) -> dict[str, Floats]:
    """Return every score of pixel counts by dotted name: overall, foreground of two classes, by class.

    Args:
        counts: ... x 3 x C: pixels right, labelled and predicted.
        class_keys: C names.

    Returns:
        Name -> ..., 0..1 or nan.
    """
    hits, labelled, predicted = (np.rint(counts[..., i, :]).astype(np.int64) for i in range(3))
    tree: dict[str, Any] = dict(overall_scores_of(hits, labelled, predicted, beta=1))
    by_class = class_scores_of(hits, labelled, predicted, beta=1)
    if len(class_keys) == 2:
        recall = by_class["Recall"]
        tree["foreground"] = {
            "Dice": by_class["Dice"][..., 1],
            "sensitivity": recall[..., 1],
            "specificity": recall[..., 0],
        }
    tree["per_class"] = {
        key: {name: by_class[name][..., i] for name in ("IoU", "Dice", "Acc", "Precision")}
        for i, key in enumerate(class_keys)
    }
    return flatten(tree)


def mean_image_scores(counts: Floats, *, class_keys: Sequence[str]) -> Floats:
    """Return each image's scores as columns of sums, so that sums over images give their means.

    Args:
        counts: N x 3 x C.
        class_keys: C names.

    Returns:
        N x 2 x S: value (0 where undefined) and whether it is defined, for the S names of ``count_scores``.
    """
    values = np.stack(list(count_scores(counts, class_keys=class_keys).values()), axis=-1)
    defined = ~np.isnan(values)
    return np.stack([np.where(defined, values, 0), defined.astype(np.float64)], axis=1)


def compare(
    a: Floats, b: Floats, *, groups: Sequence[str], statistic: Statistic, resamples: int, seed: int
) -> list[Difference]:
    """Compare two models on the same images.

    The bootstrap draws groups and takes both models on them; its interval is expanded for few groups as that of
    a single score. The permutation test swaps the models in whole groups: in every way where there are few enough,
    else at random.

    Args:
        a: N x ..., sums over images of which ``statistic`` takes.
        b: The same of the second model.
        groups: N names.
        statistic: R x ... sums -> name -> R scores.
        resamples: Draws, and swaps.
        seed: Of both.

    Returns:
        One a score that is defined for both.
    """
    groups_a, groups_b = _group_sums(a, groups), _group_sums(b, groups)
    scores_a, scores_b = statistic(groups_a.sum(0)[None]), statistic(groups_b.sum(0)[None])
    number = len(groups_a)
    draws = _bootstrap(groups_a, groups_b, statistic, resamples, seed) if number > 1 else {}
    swaps = _permutations(groups_a, groups_b, statistic, resamples, seed)
    differences = []
    for name, (value_a,) in scores_a.items():
        (value_b,) = scores_b[name]
        if np.isnan(value_a) or np.isnan(value_b):
            continue
        low = high = None
        drawn = draws.get(name, np.zeros(0))
        drawn = drawn[~np.isnan(drawn)]
        if drawn.size:
            tail = expanded_tail(number, level=0.95)
            low, high = (float(end) for end in np.quantile(drawn, (tail, 1 - tail)))
        difference = float(value_b - value_a)
        swapped = swaps[name][~np.isnan(swaps[name])]
        extreme = np.abs(swapped) >= abs(difference) - _NOTHING
        p = float(extreme.mean()) if swapped.size else 1.0
        differences.append(
            Difference(name=name, a=float(value_a), b=float(value_b), difference=difference, low=low, high=high, p=p)
        )
    return differences


def _group_sums(values: Floats, groups: Sequence[str]) -> Floats:
    names, index = np.unique(np.asarray(groups, dtype=object).astype(str), return_inverse=True)
    sums = np.zeros((len(names), *values.shape[1:]))
    np.add.at(sums, index, values)
    return sums


def _bootstrap(a: Floats, b: Floats, statistic: Statistic, resamples: int, seed: int) -> dict[str, Floats]:
    number = len(a)
    generator = numpy_generator(seed, "compare bootstrap")
    weights = generator.multinomial(number, np.full(number, 1 / number), size=resamples).astype(np.float64)
    return _differences(np.tensordot(weights, a, axes=1), np.tensordot(weights, b, axes=1), statistic)


def _permutations(a: Floats, b: Floats, statistic: Statistic, resamples: int, seed: int) -> dict[str, Floats]:
    """Return the differences after swaps; the models as they are come first."""
    number = len(a)
    if 2**number <= resamples:
        swap = (np.arange(2**number)[:, None] >> np.arange(number)) & 1
    else:
        swap = numpy_generator(seed, "compare permutation").integers(0, 2, size=(resamples, number))
        swap[0] = 0
    chosen = swap.astype(np.float64)
    moved = np.tensordot(chosen, b - a, axes=1)
    return _differences(a.sum(0) + moved, b.sum(0) - moved, statistic)


def _differences(a: Floats, b: Floats, statistic: Statistic) -> dict[str, Floats]:
    first, second = statistic(a), statistic(b)
    return {name: second[name] - first[name] for name in first}


def spread(values: Sequence[float]) -> dict[str, float]:
    """Return mean, standard deviation (of a sample; nan of one), lowest and highest of a score over runs."""
    array = np.asarray(values, dtype=np.float64)
    return {
        "mean": float(array.mean()),
        "std": float(array.std(ddof=1)) if len(array) > 1 else float("nan"),
        "min": float(array.min()),
        "max": float(array.max()),
    }


def to_floats(counts: Counts) -> Floats:
    """Return counts as float64, exact below 2^53."""
    assert not counts.size or int(counts.sum(axis=0).max()) * max(len(counts), 1) < 2**53, "too many pixels"
    return counts.astype(np.float64)
