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


def near_pairs(fingerprints: Mapping[str, Fingerprint]) -> list[tuple[str, str]]:
    """Return pairs of ids whose images are nearly the same, each in order and all in order.

    Args:
        fingerprints: id -> ``fingerprint``.
    """
    ids = sorted(fingerprints)
    if not ids:
        return []
    rows = np.stack([fingerprints[id_] for id_ in ids])
    pairs = []
    for start in range(0, len(ids), _BLOCK):
        alike = np.argwhere(rows[start : start + _BLOCK] @ rows.T > _ALIKE)
        pairs += [(ids[start + int(i)], ids[int(j)]) for i, j in alike if start + int(i) < int(j)]
    return pairs
