"""What is kept of an image that a model has judged: small, so that a set of any size fits into memory."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskline.analysis.audit.regions import Region, find_regions
from maskline.analysis.audit.whole_image import Shift, Swap, find_shift, find_swap, soft_confusion, soft_minimum


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """An image's labels against its prediction.

    Args:
        quality: Label quality by the soft minimum, 0 (bad) to 1.
        confusion: C x C sums of probabilities, rows the given class.
        shift: The translation of the labels that agrees best.
        swap: The two classes that agree better when exchanged; None: there are none.
        regions: Of disagreement, the largest first; not all of an image that is all wrong.
    """

    quality: float
    confusion: NDArray[np.float64]
    shift: Shift
    swap: Swap | None
    regions: tuple[Region, ...]

    @property
    def agreement(self) -> float:
        """Mean probability of the labelled class, 0..1; 1 where no pixel has a label."""
        total = float(self.confusion.sum())
        return float(np.trace(self.confusion)) / total if total else 1.0


def examine(
    given: NDArray[Any],
    probabilities: NDArray[np.float32],
    *,
    ignore_index: int,
    has_background: bool,
    min_area_px: int,
    most_regions: int = 50,
) -> Evidence:
    """Hold an image's labels against its prediction.

    Args:
        given: Class ids, HW, with ``ignore_index``.
        probabilities: CHW, 0..1.
        ignore_index: Label of pixels that do not count.
        has_background: Class 0 is what lies around the objects.
        min_area_px: Smaller regions of disagreement are left out.
        most_regions: How many are kept, the largest.
    """
    confusion = soft_confusion(given, probabilities)
    regions = find_regions(
        given,
        probabilities,
        ignore_index=ignore_index,
        has_background=has_background,
        min_area_px=min_area_px,
        min_depth_px=2.0,
    )
    regions.sort(key=lambda region: -region.area_px * region.margin)
    return Evidence(
        quality=soft_minimum(given, probabilities, ignore_index=ignore_index),
        confusion=confusion,
        shift=find_shift(given, probabilities, ignore_index=ignore_index),
        swap=find_swap(confusion),
        regions=tuple(regions[:most_regions]),
    )
