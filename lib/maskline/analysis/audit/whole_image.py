"""What says that the labels of a whole image are wrong: its label quality, a shift, two classes exchanged."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft

# Sums of a shift are made at this size at most: they cost classes x three Fourier transforms.
_SHIFT_PX = 256
# Of the sides. Labels that are off by more are of another image.
_FARTHEST = 0.15


@dataclass(frozen=True, slots=True, kw_only=True)
class Shift:
    """The translation of the labels that agrees best.

    Args:
        step: Rows and columns, px, by which the labels are to be moved.
        gain: By how much the mean probability of the labelled class rises over the image, 0..1.
    """

    step: tuple[int, int]
    gain: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Swap:
    """The two classes that agree better when they are exchanged.

    Args:
        classes: Both ids, the smaller first.
        gain: By how much the mean probability of the labelled class rises over the image, 0..1.
    """

    classes: tuple[int, int]
    gain: float


def soft_minimum(given: NDArray[Any], probabilities: NDArray[np.float32], *, ignore_index: int) -> float:
    """Return the label quality of an image, 0 (bad) to 1 (good); nan where no pixel has a label.

    Each pixel's score is the probability of its label; the image's is their mean with weights softmax((1 - score) / T),
    T = 0.1, so that the worst pixels count most.

    Source: V. Lad and J. Mueller, Estimating label quality and errors in semantic segmentation data via any model
    (2023), from the paper's description. There it did best of seven scores.

    Args:
        given: Class ids, HW.
        probabilities: CHW, 0..1.
        ignore_index: Label of pixels that do not count.
    """
    scores = self_confidence(given, probabilities, ignore_index=ignore_index)
    if not scores.size:
        return float("nan")
    exponents = (1 - scores) / 0.1
    weights = np.exp(exponents - exponents.max())
    return float((scores * weights).sum() / weights.sum())


def self_confidence(
    given: NDArray[Any], probabilities: NDArray[np.float32], *, ignore_index: int
) -> NDArray[np.float64]:
    """Return the probability of each labelled pixel's class, in reading order."""
    counts = given != ignore_index
    ids = np.where(counts, given, 0).astype(np.int64)
    chosen = np.take_along_axis(probabilities, ids[None], axis=0)[0]
    scores: NDArray[np.float64] = chosen[counts].astype(np.float64)
    return scores


def soft_confusion(given: NDArray[Any], probabilities: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return C x C sums of probabilities: row a, column b is that of class b over the pixels labelled a.

    What is no class id does not count. It is the confident joint of C. Northcutt, L. Jiang and I. Chuang, Confident
    learning (2021), with probabilities for counts.
    """
    flat = probabilities.reshape(len(probabilities), -1)
    ids = given.reshape(-1)
    sums = np.zeros((len(probabilities),) * 2)
    for one in np.unique(ids[ids < len(probabilities)]):
        sums[one] = flat[:, ids == one].sum(axis=1, dtype=np.float64)
    return sums


def find_swap(confusion: NDArray[np.float64]) -> Swap | None:
    """Return the exchange of two classes with the largest gain; both classes must gain. None: there is none.

    Args:
        confusion: As ``soft_confusion`` gives it.
    """
    gains = confusion - np.diagonal(confusion)[:, None]
    both = np.where((gains > 0) & (gains.T > 0), gains + gains.T, 0)
    first, second = np.unravel_index(int(np.triu(both, 1).argmax()), both.shape)
    gain = float(both[first, second] / max(confusion.sum(), 1e-12))
    return Swap(classes=(int(first), int(second)), gain=gain) if gain > 0 else None


def find_shift(given: NDArray[Any], probabilities: NDArray[np.float32], *, ignore_index: int) -> Shift:
    """Return the translation of the labels that agrees best with the probabilities; (0, 0) where none is better.

    The gain is counted where both the image and the moved labels are, by cross-correlation with Fourier transforms,
    each translation against the labels as they lie there.

    Args:
        given: Class ids, HW.
        probabilities: CHW, 0..1.
        ignore_index: Label of pixels that do not count.
    """
    classes, height, width = probabilities.shape
    step = -(-max(height, width) // _SHIFT_PX)
    given, probabilities = given[step // 2 :: step, step // 2 :: step], _reduced(probabilities, step)
    counts = (given != ignore_index).astype(np.float32)
    own = np.zeros_like(counts)
    shape = tuple(fft.next_fast_len(size + round(_FARTHEST * size) + 1, real=True) for size in given.shape)
    spectrum: Any = 0
    for one in range(classes):
        labelled = (given == one).astype(np.float32)
        field = probabilities[one] * counts
        own += labelled * field
        spectrum = spectrum + fft.rfft2(field, shape) * np.conj(fft.rfft2(labelled, shape))
    spectrum = spectrum - fft.rfft2(own, shape) * np.conj(fft.rfft2(counts, shape))
    gains = fft.irfft2(spectrum, shape)
    reach = [round(_FARTHEST * size) for size in given.shape]
    rows, columns = (np.arange(-far, far + 1) for far in reach)
    near = gains[np.ix_(rows, columns)]
    row, column = np.unravel_index(int(near.argmax()), near.shape)
    gain = float(near[row, column] / max(float(counts.sum()), 1.0))
    if gain <= 1e-6:
        return Shift(step=(0, 0), gain=0.0)
    return Shift(step=(int(rows[row]) * step, int(columns[column]) * step), gain=gain)


def _reduced(probabilities: NDArray[np.float32], step: int) -> NDArray[np.float32]:
    """Return each ``step``-th pixel, those in the middle of their block."""
    return probabilities[:, step // 2 :: step, step // 2 :: step]
