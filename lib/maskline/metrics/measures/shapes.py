"""How well the outlines and the skeletons of two masks agree, image by image.

A mask's outline is its pixels with a neighbour (by a side) outside the mask; the image ends where nothing counts, so
the mask's pixels at the edge are outline too. Distances are Euclidean, between pixel centres, in px.

Sources: Boundary IoU of Cheng et al., "Boundary IoU: Improving Object-Centric Image Segmentation Evaluation" (2021),
    within the Euclidean distance that the paper defines; boundary F of Csurka et al., "What is a good evaluation
    measure for semantic segmentation?" (2013); Hausdorff and average surface distance as MONAI (Apache-2.0) defines
    them; clDice of Shit et al., "clDice - a Novel Topology-Preserving Loss Function for Tubular Structure
    Segmentation" (2021). All written anew.
"""

import math

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from skimage.morphology import skeletonize

from maskline.metrics.measure import Mask, Score, shape_measure

Floats = npt.NDArray[np.float64]


def outline(mask: Mask) -> Mask:
    """Return the mask's pixels that have a neighbour outside it, HW."""
    edge: Mask = mask & ~ndimage.binary_erosion(mask)
    return edge


@shape_measure(
    Score(
        key="boundary_IoU",
        title="Boundary IoU",
        text="IoU of the pixels of each mask that are near its own outline, within boundary_px.",
    ),
    Score(
        key="boundary_F",
        title="Boundary F",
        text="Harmonic mean of the shares of each outline that are near the other's, within boundary_px.",
    ),
)
def boundary(prediction: Mask, target: Mask, *, boundary_px: float) -> dict[str, float]:
    """Return boundary IoU and boundary F.

    Args:
        prediction: HW.
        target: HW.
        boundary_px: Tolerance: width of the boundary (IoU), and how far an outline may be off (F), px.

    Returns:
        boundary_IoU: of the pixels of each mask within the tolerance of its own outline. boundary_F: harmonic mean of
        the shares of each outline within the tolerance of the other. 0..1; nan where both masks are empty.
    """
    if not prediction.any() and not target.any():
        return {"boundary_IoU": math.nan, "boundary_F": math.nan}
    bands = [mask & (_distance_to(outline(mask)) <= boundary_px) for mask in (prediction, target)]
    union = (bands[0] | bands[1]).sum()
    forth, back = _surface_distances(prediction, target)
    if not forth.size or not back.size:
        return {"boundary_IoU": 0.0, "boundary_F": 0.0}
    precision, recall = float((forth <= boundary_px).mean()), float((back <= boundary_px).mean())
    return {
        "boundary_IoU": float((bands[0] & bands[1]).sum() / union),
        "boundary_F": 2 * precision * recall / (precision + recall) if precision + recall else 0.0,
    }


@shape_measure(
    Score(
        key="HD95",
        title="95 % Hausdorff distance, px",
        text="Distance from outline to outline, px, that 95 % of the pixels keep in either direction.",
        better="lower",
        highest=math.inf,
    ),
    Score(
        key="ASD",
        title="Average surface distance, px",
        text="Mean distance from outline to outline, px, of both directions together.",
        better="lower",
        highest=math.inf,
    ),
)
def surface(prediction: Mask, target: Mask) -> dict[str, float]:
    """Return HD95 and ASD, in px.

    HD95 is the larger of the two directions' 95th percentiles (linear between ranks) of the distances from outline
    to outline; ASD the mean of the distances of both directions together.

    Args:
        prediction: HW.
        target: HW.

    Returns:
        0 or more; nan where a mask is empty.
    """
    forth, back = _surface_distances(prediction, target)
    if not forth.size or not back.size:
        return {"HD95": math.nan, "ASD": math.nan}
    return {
        "HD95": float(max(np.percentile(forth, 95), np.percentile(back, 95))),
        "ASD": float(np.concatenate([forth, back]).mean()),
    }


@shape_measure(
    Score(
        key="clDice",
        title="clDice",
        text="Harmonic mean of the shares of each mask's skeleton that lie in the other mask: gaps in thin structures "
        "count, their width does not.",
    ),
)
def cldice(prediction: Mask, target: Mask) -> dict[str, float]:
    """Return clDice: harmonic mean of the shares of each mask's skeleton that lie in the other mask.

    Args:
        prediction: HW.
        target: HW.

    Returns:
        0..1; nan where both masks are empty.
    """
    ours, theirs = skeletonize(prediction), skeletonize(target)
    if not ours.any() and not theirs.any():
        return {"clDice": math.nan}
    if not ours.any() or not theirs.any():
        return {"clDice": 0.0}
    precision, sensitivity = float(target[ours].mean()), float(prediction[theirs].mean())
    total = precision + sensitivity
    return {"clDice": 2 * precision * sensitivity / total if total else 0.0}


def _surface_distances(prediction: Mask, target: Mask) -> tuple[Floats, Floats]:
    """Return the distance of each outline pixel to the other outline; both empty where a mask is."""
    if not prediction.any() or not target.any():
        return np.zeros(0), np.zeros(0)
    ours, theirs = outline(prediction), outline(target)
    return _distance_to(theirs)[ours], _distance_to(ours)[theirs]


def _distance_to(pixels: Mask) -> Floats:
    """Return each pixel's distance to the nearest of the given ones; infinite where there is none."""
    if not pixels.any():
        return np.full(pixels.shape, math.inf)
    distances: Floats = ndimage.distance_transform_edt(~pixels)
    return distances
