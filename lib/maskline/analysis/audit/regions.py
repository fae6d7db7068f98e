"""Regions of an image whose labels and prediction disagree, each with what the disagreement looks like."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.measure import label as connected

MISSING, SUPERFLUOUS, WRONG_CLASS, OUTLINE = "missing object", "superfluous object", "wrong class", "outline"

# Half of a region is enough to say which object it is of; a region is a small part of what surrounds it from three on.
_MOST = 0.5
_SURROUNDED = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """A connected region of one given and one predicted class.

    Args:
        box: left, top, right, bottom, px; right and bottom are outside.
        given: Class id of the label.
        predicted: Class id of the prediction.
        area_px: Pixels.
        depth_px: Radius of the largest disk inside, about: how far it is from being a sliver along an outline.
        confidence: Mean probability of the predicted class, 0..1.
        margin: The same less that of the given class, 0..1.
        reason: missing object, superfluous object, wrong class or outline.
    """

    box: tuple[int, int, int, int]
    given: int
    predicted: int
    area_px: int
    depth_px: float
    confidence: float
    margin: float
    reason: str


def find_regions(
    given: NDArray[Any],
    probabilities: NDArray[np.float32],
    *,
    ignore_index: int,
    has_background: bool,
    min_area_px: int = 1,
    min_depth_px: float = 1.0,
) -> list[Region]:
    """Return the regions of disagreement, from top to bottom and left to right.

    A region is connected by its sides, and of one pair of classes. A given object that is mostly such a region is
    superfluous where background is predicted, else of a wrong class; a predicted object that is mostly such a region,
    within background or a larger object, is missing; the rest is an outline that lies elsewhere.

    Args:
        given: Class ids, HW, with ``ignore_index``.
        probabilities: CHW, 0..1.
        ignore_index: Label of pixels that do not count.
        has_background: Class 0 is what lies around the objects.
        min_area_px: Smaller regions are left out.
        min_depth_px: So are slimmer ones.
    """
    predicted = probabilities.argmax(0)
    differs = (predicted != given) & (given != ignore_index)
    if not differs.any():
        return []
    pairs = np.where(differs, given.astype(np.int64) * len(probabilities) + predicted + 1, 0)
    numbered: NDArray[np.int64] = connected(pairs, background=0, connectivity=1)
    areas = np.bincount(numbered.reshape(-1))
    # Padded, since an image's edge is no outline.
    depth = ndimage.distance_transform_edt(np.pad(differs, 1, mode="edge"))[1:-1, 1:-1]
    depths = ndimage.maximum(depth, numbered, np.arange(len(areas)))
    given_objects, predicted_objects = (connected(ids + 1, connectivity=1) for ids in (given.astype(int), predicted))
    sizes = [np.bincount(objects.reshape(-1)) for objects in (given_objects, predicted_objects)]
    regions = []
    for number, window in enumerate(ndimage.find_objects(numbered), 1):
        if areas[number] < min_area_px or depths[number] < min_depth_px:
            continue
        inside = numbered[window] == number
        one, other = int(given[window][inside][0]), int(predicted[window][inside][0])
        mean, confidence = (float(probabilities[i][window][inside].mean(dtype=np.float64)) for i in (one, other))
        own = [
            int(size[np.bincount(objects[window][inside]).argmax()])
            for objects, size in zip((given_objects, predicted_objects), sizes, strict=True)
        ]
        background = (one == 0, other == 0) if has_background else (False, False)
        regions.append(
            Region(
                box=(window[1].start, window[0].start, window[1].stop, window[0].stop),
                given=one,
                predicted=other,
                area_px=int(areas[number]),
                depth_px=float(depths[number]),
                confidence=confidence,
                margin=confidence - mean,
                reason=_reason(int(areas[number]), *own, background=background),
            )
        )
    return regions


def _reason(area: int, given_object: int, predicted_object: int, *, background: tuple[bool, bool]) -> str:
    """Say what a region looks like, by its area and those of the objects that it is part of, px."""
    whole_given, whole_predicted = area >= _MOST * given_object, area >= _MOST * predicted_object
    if background[0]:
        return MISSING if whole_predicted else OUTLINE
    if background[1]:
        return SUPERFLUOUS if whole_given else OUTLINE
    if whole_given:
        return WRONG_CLASS
    return MISSING if whole_predicted and given_object >= _SURROUNDED * area else OUTLINE
