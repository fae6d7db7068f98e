"""Small components and holes of a class map, given to what surrounds them."""

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

Ids = npt.NDArray[Any]


def remove_small_components(ids: Ids, *, min_px: int) -> Ids:
    """Give components that are too small to the nearest class that is left.

    A component is a set of pixels of one class joined by their sides. Class 0, the background, keeps its own.

    Args:
        ids: Class ids, HW.
        min_px: Components of fewer pixels go.

    Returns:
        A new map of the same dtype.
    """
    small = np.zeros(ids.shape, dtype=bool)
    for value in np.unique(ids[ids != 0]):
        components, _ = ndimage.label(ids == value)
        sizes = np.bincount(components.reshape(-1))
        small |= (components > 0) & (sizes[components] < min_px)
    return _from_nearest(ids, small)


def fill_holes(ids: Ids, *, max_px: int) -> Ids:
    """Give components of class 0 that do not touch the edge, and are small, to the nearest other class.

    Args:
        ids: Class ids, HW.
        max_px: Holes of more pixels stay.

    Returns:
        A new map of the same dtype.
    """
    components, _ = ndimage.label(ids == 0)
    sizes = np.bincount(components.reshape(-1))
    fill = sizes <= max_px
    for edge in (components[0], components[-1], components[:, 0], components[:, -1]):
        fill[edge] = False
    fill[0] = False  # what is no background
    return _from_nearest(ids, fill[components])


def _from_nearest(ids: Ids, replaced: npt.NDArray[np.bool_]) -> Ids:
    """Return the map with the pixels replaced by the class of the nearest pixel that is not."""
    if not replaced.any() or replaced.all():
        return ids.copy()
    rows, columns = ndimage.distance_transform_edt(replaced, return_distances=False, return_indices=True)
    nearest: Ids = ids[rows, columns]
    return nearest
