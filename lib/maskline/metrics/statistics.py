"""How far a score would move with other images: bootstrap intervals over images or groups.

Pixels of one image, and images of one patient or scene, are not independent; so whole groups are drawn.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr, stdtrit

from maskline.core.seeds import numpy_generator
from maskline.metrics.scores import Counts, flatten, to_counts

# Numbers of resampled matrices held at a time: bounds the memory to some 50 MB for any number of classes.
_CHUNK_VALUES = 1 << 20


def bootstrap_intervals(
    confusions: npt.ArrayLike,
    *,
    statistic: Callable[[Counts], dict[str, Any]],
    groups: Sequence[str],
    resamples: int,
    level: float,
    seed: int,
) -> dict[str, tuple[float, float]]:
    """Return an interval for each score of the summed matrix.

    Groups are drawn with replacement, as many as there are; their matrices are summed; the score is taken from
    the sum. The interval is the percentile interval, expanded for few groups: a plain one is too narrow by the
    factor sqrt((n - 1) / n) and by the normal in place of Student's t.

    Args:
        confusions: N x C x C counts, one matrix an image.
        statistic: Tree of scores of matrices R x C x C; each leaf has shape R.
        groups: N group names; give the image ids to draw images.
        resamples: Number of draws, at least 1.
        level: Coverage aimed at, e.g. 0.95.
        seed: The same seed draws the same groups.

    Returns:
        Dotted score name -> (low, high). Scores that no resample defines are left out; so is everything where
        there is only one group.

    Source: Hesterberg, "What Teachers Should Know About the Bootstrap", The American Statistician 69 (2015),
        section 5.3 (expanded percentile interval).
    """
    grouped = _sum_groups(to_counts(confusions), groups)
    if len(grouped) < 2:
        return {}
    draws = [flatten(statistic(sums)) for sums in _resampled_sums(grouped, resamples, seed)]
    values = {name: np.concatenate([draw[name] for draw in draws]) for name in draws[0]}
    return intervals_of(values, num_groups=len(grouped), level=level)


def intervals_of(
    draws: Mapping[str, npt.NDArray[np.float64]], *, num_groups: int, level: float
) -> dict[str, tuple[float, float]]:
    """Return the expanded percentile interval of each score.

    Args:
        draws: Score name -> its value in each resample; nan where it is not defined.
        num_groups: Independent units that were drawn from, at least 2.
        level: Coverage aimed at.

    Returns:
        Name -> (low, high); scores that no resample defines are left out.
    """
    tail, intervals = expanded_tail(num_groups, level=level), {}
    for name, drawn in draws.items():
        values = drawn[~np.isnan(drawn)]
        if values.size:
            low, high = np.quantile(values, (tail, 1 - tail))
            intervals[name] = (float(low), float(high))
    return intervals


def image_weights(groups: Sequence[str], *, resamples: int, seed: int) -> npt.NDArray[np.float64]:
    """Return how often each image is in each resample: the draws of ``bootstrap_intervals``.

    Args:
        groups: N group names.
        resamples: R.
        seed: Of the draws.

    Returns:
        R x N whole numbers; images of one group have the same.
    """
    names, index = _indexed(groups)
    return _group_weights(len(names), resamples, seed)[:, index]


def expanded_tail(num_groups: int, *, level: float) -> float:
    """Return the share that the expanded percentile interval leaves out on each side.

    Args:
        num_groups: Independent units, at least 2.
        level: Coverage aimed at.
    """
    quantile = stdtrit(num_groups - 1, (1 - level) / 2)
    return float(ndtr(math.sqrt(num_groups / (num_groups - 1)) * quantile))


def _sum_groups(confusions: Counts, groups: Sequence[str]) -> Counts:
    """Return G x C x C, groups in the order of their names."""
    assert len(groups) == len(confusions), "one group name an image"
    names, index = _indexed(groups)
    sums = np.zeros((len(names), *confusions.shape[1:]), dtype=np.int64)
    np.add.at(sums, index, confusions)
    return sums


def _indexed(groups: Sequence[str]) -> tuple[npt.NDArray[np.str_], npt.NDArray[np.intp]]:
    """Return the names of the groups in order, and which of them each image is of."""
    names, index = np.unique(np.asarray(groups, dtype=object).astype(str), return_inverse=True)
    return names, index


def _group_weights(num_groups: int, resamples: int, seed: int) -> npt.NDArray[np.float64]:
    """Return how often each group is drawn, R x G."""
    generator = numpy_generator(seed, "bootstrap")
    drawn = generator.multinomial(num_groups, np.full(num_groups, 1 / num_groups), size=resamples)
    return drawn.astype(np.float64)


def _resampled_sums(grouped: Counts, resamples: int, seed: int) -> Iterator[Counts]:
    """Yield R x C x C matrices in chunks; each is the sum of G groups drawn with replacement."""
    num_groups, size = len(grouped), grouped[0].size
    weights = _group_weights(num_groups, resamples, seed)
    # A product of float64 matrices is many times faster than one of int64, and exact below 2^53 pixels.
    assert int(grouped.sum(0).max()) * num_groups < 2**53, "too many pixels to resample exactly"
    flat = grouped.reshape(num_groups, size).astype(np.float64)
    step = max(1, _CHUNK_VALUES // size)
    for start in range(0, resamples, step):
        sums = weights[start : start + step] @ flat
        yield sums.astype(np.int64).reshape(-1, *grouped.shape[1:])
