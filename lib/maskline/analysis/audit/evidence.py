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
        quality: Label quality by the soft minimum, 0 (bad) to 1; nan where no pixel has a label.
        present: Classes that are labelled, P.
        sums: P x C sums of probabilities, float32: ``soft_confusion`` without its empty rows, which 20,000 images of
            150 classes would fill the memory with.
        shift: The translation of the labels that agrees best.
        swap: The two classes that agree better when exchanged; None: there are none.
        regions: Of disagreement, the largest first; not all of an image that is all wrong.
    """

    quality: float
    present: NDArray[np.intp]
    sums: NDArray[np.float32]
    shift: Shift
    swap: Swap | None
    regions: tuple[Region, ...]

    @property
    def confusion(self) -> NDArray[np.float64]:
        """C x C sums of probabilities, rows the given class."""
        whole = np.zeros((self.sums.shape[1],) * 2)
        whole[self.present] = self.sums
        return whole

    @property
    def num_classes(self) -> int:
        """C."""
        return int(self.sums.shape[1])

    @property
    def pixels(self) -> float:
        """How many pixels have a label."""
        return float(self.sums.sum(dtype=np.float64))

    @property
    def agreement(self) -> float:
        """Mean probability of the labelled class, 0..1; 1 where no pixel has a label."""
        own = self.sums[np.arange(len(self.present)), self.present]
        return float(own.sum(dtype=np.float64)) / self.pixels if len(own) else 1.0


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
    present = np.flatnonzero(confusion.sum(1))
    return Evidence(
        quality=soft_minimum(given, probabilities, ignore_index=ignore_index),
        present=present,
        sums=confusion[present].astype(np.float32),
        shift=find_shift(given, probabilities, ignore_index=ignore_index),
        swap=find_swap(confusion),
        regions=tuple(regions[:most_regions]),
    )
