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
from scipy import ndimage

Fingerprint = NDArray[np.float32]

_CELLS = 32
_COARSE = 2.0  # cells; standard deviation of what is taken away
_LEAST_CONTRAST = 0.5  # gray levels; flatter images have no fingerprint
_ALIKE = 0.985  # different eyes on the same dark ground reach 0.965, copies saved as JPEG 0.99
_BLOCK = 1024  # rows compared at a time
_MOST_PAIRS = 20  # of an image with those before it in a split


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
    return bool(fingerprints[one] @ fingerprints[other] > _ALIKE)


def near_pairs(
    fingerprints: Mapping[str, Fingerprint], splits: Mapping[str, str] | None = None
) -> list[tuple[str, str]]:
    """Return pairs of ids whose images are nearly the same, each in order and all in order.

    Of an image that is like very many, as those of a fixed camera are, pairs with the first of each split are returned,
    and those that join images into one group: the number of pairs grows with the number of images, not with its square.

    Args:
        fingerprints: id -> ``fingerprint``.
        splits: id -> split; None: all are in one.
    """
    ids = sorted(fingerprints)
    if not ids:
        return []
    rows = np.stack([fingerprints[id_] for id_ in ids])
    numbers = {split: i for i, split in enumerate(sorted(set((splits or {}).values())))}
    kind = np.array([numbers[splits[id_]] if splits else 0 for id_ in ids])
    taken = np.zeros((max(len(numbers), 1), len(ids)), dtype=np.int32)
    group = np.arange(len(ids))  # of images that pairs join
    pairs: list[tuple[int, int]] = []
    for start in range(0, len(ids), _BLOCK):
        alike = rows[start : start + _BLOCK] @ rows.T > _ALIKE
        for i in range(start, min(start + _BLOCK, len(ids))):
            others = np.flatnonzero(alike[i - start, i + 1 :]) + i + 1
            if not len(others):
                continue
            few = taken[kind[i], others] < _MOST_PAIRS
            taken[kind[i], others[few]] += 1
            for j in others[few].tolist():
                pairs.append((i, j))
                if group[j] != group[i]:
                    group[group == group[j]] = group[i]
            apart = others[~few][group[others[~few]] != group[i]]
            for j in apart[np.unique(group[apart], return_index=True)[1]].tolist():
                pairs.append((i, j))
                group[group == group[j]] = group[i]
    return [(ids[i], ids[j]) for i, j in sorted(pairs)]
