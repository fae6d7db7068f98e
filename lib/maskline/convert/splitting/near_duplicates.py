"""Images that are nearly the same: saved again, made smaller, brighter or darker.

Each image becomes a fingerprint: 32x32 gray values without what is coarser than some cells (so that a shared ground,
such as the dark rim of a microscope's or an eye's image, does not count), of length 1. Two images are alike where
the scalar product of their fingerprints is near 1.

Source: own; the idea of comparing small high-passed copies is that of perceptual hashes.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import linalg, ndimage

Fingerprint = NDArray[np.float32]

_CELLS = 32
_COARSE = 2.0  # cells; standard deviation of what is taken away
_LEAST_CONTRAST = 0.5  # gray levels; flatter images have no fingerprint
_ALIKE = 0.985  # different eyes on the same dark ground reach 0.965, copies saved as JPEG 0.99
_MOST_PAIRS = 20  # of an image with those before it in a split

_FEW = 2048  # images that are compared as they are
_SHORT = 48  # numbers of a short fingerprint: of white noise, one pair in a million passes
_SAMPLED = 4096  # fingerprints that the short ones are fitted to
_ROWS, _COLUMNS = 256, 1024  # compared at a time
_MOST_CELLS = 1 << 25  # of the table of a block of rows
_ROUNDING = 1e-4  # of a float32 product of unit vectors, at most 1024 x 2^-24


def fingerprint(pixels: NDArray[np.uint8]) -> Fingerprint | None:
    """Return (1024,) of unit length for an image; None for one that is too flat to be told from others.

    Args:
        pixels: (h, w, channels); three are taken as RGB, of others the first counts.
    """
    image = Image.fromarray(pixels).convert("L") if pixels.shape[2] == 3 else Image.fromarray(pixels[:, :, 0])
    gray = image.resize((_CELLS, _CELLS), Image.Resampling.BOX)
    values = np.asarray(gray, dtype=np.float64)
    fine = values - ndimage.gaussian_filter(values, _COARSE, mode="nearest")
    if fine.std() < _LEAST_CONTRAST:
        return None
    fine -= fine.mean()
    return np.asarray((fine / np.linalg.norm(fine)).ravel(), dtype=np.float32)


def are_alike(fingerprints: Mapping[str, Fingerprint], *, one: str, other: str) -> bool:
    """Return whether two images are nearly the same; false where one of them is too flat to tell.

    Args:
        fingerprints: id -> ``fingerprint``.
        one: An id.
        other: Another one.
    """
    if one not in fingerprints or other not in fingerprints:
        return False
    return bool(_products(fingerprints[one][None], fingerprints[other][None])[0] > _ALIKE)


def near_pairs(
    fingerprints: Mapping[str, Fingerprint], splits: Mapping[str, str] | None = None
) -> list[tuple[str, str]]:
    """Return pairs of ids whose images are nearly the same, each in order and all in order.

    Of an image that is like very many, as those of a fixed camera are, pairs with the first of each split are returned,
    and those that join images into one group: the number of pairs grows with the number of images, not with its square.

    The pairs are those of a comparison of each two fingerprints. Most of them are ruled out by 48 numbers instead of
    1,024: projected on any orthonormal vectors, here the principal components, two fingerprints are no farther apart
    than before. The time still grows with the square of the number of images, at a seventh for 20,000 of them. A tree
    of these numbers was tried and saves little: images are alike up to 10 degrees, too far for its boxes in so many
    dimensions.

    Args:
        fingerprints: id -> ``fingerprint``.
        splits: id -> split; None: all are in one.
    """
    ids = sorted(fingerprints)
    if not ids:
        return []
    rows = np.stack([fingerprints[id_] for id_ in ids])
    numbers = {split: i for i, split in enumerate(sorted(set((splits or {}).values())))}
    taken = _Taken(np.array([numbers[splits[id_]] if splits else 0 for id_ in ids]), kinds=max(len(numbers), 1))
    short = _short(rows) if len(rows) > _FEW else None
    step = min(_ROWS, max(1, _MOST_CELLS // len(rows)))
    for start in range(0, len(rows), step):
        alike = np.zeros((len(rows[start : start + step]), len(rows) - start), dtype=np.bool_)
        for first in range(start, len(rows), _COLUMNS):
            places = (slice(start, start + step), slice(first, first + _COLUMNS))
            one, other = (rows[place] for place in places)
            near = np.ones((len(one), len(other)), dtype=np.bool_)
            if short is not None:
                near = _may_be_alike(*(short[place] for place in places))
            if first == start:
                near = np.triu(near, 1)  # each with later ones
            if _are_many(near):
                near &= taken.matters(*places)
            _confirm(near, one, other)
            alike[:, first - start : first - start + _COLUMNS] = near
        for i in np.flatnonzero(alike.any(axis=1)).tolist():
            taken.add(start + i, np.flatnonzero(alike[i]) + start)
    return [(ids[i], ids[j]) for i, j in sorted(taken.pairs)]


class _Taken:
    """The pairs that are taken, of those that are found image by image.

    Args:
        kind: Number of each image's split.
        kinds: How many splits there are.

    Attributes:
        pairs: So far.
    """

    def __init__(self, kind: NDArray[np.intp], *, kinds: int) -> None:
        self.pairs: list[tuple[int, int]] = []
        self._kind = kind
        self._counts = np.zeros((kinds, len(kind)), dtype=np.int32)  # pairs of an image with those before it
        self._group = np.arange(len(kind))  # of images that pairs join
        self._members = [[i] for i in range(len(kind))]

    def matters(self, rows: slice, columns: slice) -> NDArray[np.bool_]:
        """Return (rows, columns): whether a pair of the two would still be taken; if not, then never more."""
        full = self._counts[self._kind[rows], columns] >= _MOST_PAIRS
        joined: NDArray[np.bool_] = self._group[rows][:, None] == self._group[None, columns]
        return ~(full & joined)

    def add(self, i: int, others: NDArray[np.intp]) -> None:
        """Take what is to be taken of an image's pairs with later ones."""
        few = self._counts[self._kind[i], others] < _MOST_PAIRS
        self._counts[self._kind[i], others[few]] += 1
        for j in others[few].tolist():
            self._take(i, j)
        apart = others[~few][self._group[others[~few]] != self._group[i]]
        for j in apart[np.unique(self._group[apart], return_index=True)[1]].tolist():
            self._take(i, j)

    def _take(self, i: int, j: int) -> None:
        self.pairs.append((i, j))
        small, large = sorted((self._group[i], self._group[j]), key=lambda group: len(self._members[group]))
        if small != large:
            self._group[self._members[small]] = large
            self._members[large] += self._members[small]
            self._members[small] = []


def _short(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return (n, 49): fingerprints on their first principal components, and the half of the square of their length."""
    sample = rows[:: max(1, len(rows) // _SAMPLED)]
    size = rows.shape[1]
    _, basis = linalg.eigh(sample.T @ sample, subset_by_index=(size - _SHORT, size - 1))
    short = rows @ basis.astype(np.float32)
    return np.hstack([short, np.square(short).sum(axis=1, keepdims=True) / 2])


def _may_be_alike(one: NDArray[np.float32], other: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Return (m, n): whether short fingerprints are no farther from each other than those of images that are alike."""
    products = one[:, :-1] @ other[:, :-1].T
    products -= other[:, -1]
    near: NDArray[np.bool_] = products > one[:, -1:] - (1 - _ALIKE + _ROUNDING)
    return near


def _confirm(near: NDArray[np.bool_], one: NDArray[np.float32], other: NDArray[np.float32]) -> None:
    """Leave only those pairs of ``near``, (m, n), that are alike."""
    doubtful = near
    if _are_many(near):
        products = one @ other.T
        near &= products > _ALIKE - _ROUNDING
        doubtful = near & (products < _ALIKE + _ROUNDING)
    i, j = np.divmod(np.flatnonzero(doubtful), len(other))
    for start in range(0, len(i), _COLUMNS):
        some = i[start : start + _COLUMNS], j[start : start + _COLUMNS]
        near[some] = _products(one[some[0]], other[some[1]]) > _ALIKE


def _are_many(near: NDArray[np.bool_]) -> bool:
    """Return whether one product of matrices is quicker than one of each pair."""
    return int(np.count_nonzero(near)) > near.size // 16


def _products(one: NDArray[np.float32], other: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the scalar product of each two rows, to more digits than theirs."""
    products: NDArray[np.float64] = np.einsum("nk,nk->n", one, other, dtype=np.float64)
    return products
