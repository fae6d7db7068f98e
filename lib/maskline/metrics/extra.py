"""Measures beyond the confusion matrix, chosen by name, as they are kept of one image."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array

from maskline.metrics.probabilities import rank_counts, reliability_counts
from maskline.metrics.shapes import boundary_scores, centerline_dice, surface_distances

Measure = Literal["boundary", "surface", "cldice", "ranking", "calibration"]

Floats = npt.NDArray[np.float64]
Ids = npt.NDArray[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageExtras:
    """What is kept of one image.

    Args:
        shapes: Name of a score -> its value for each class, nan where it is not defined; of two classes, class 0 is
            left out as nan.
        ranks: ``rank_counts`` as C x (2 x bins), sparse: most bins of most classes are empty; None where not asked
            for, or without probabilities.
        reliability: As ``reliability_counts`` returns them; None likewise.
    """

    shapes: dict[str, Floats]
    ranks: Any | None
    reliability: Floats | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Measures:
    """What to measure.

    Args:
        names: Which.
        boundary_px: Tolerance of the boundary scores, px.
    """

    names: tuple[Measure, ...]
    boundary_px: float

    @property
    def need_probabilities(self) -> bool:
        """Whether class maps are not enough."""
        return bool({"ranking", "calibration"} & set(self.names))

    def measure(
        self,
        prediction: Ids,
        target: Ids,
        probabilities: npt.NDArray[np.float32] | None,
        *,
        ignore_index: int,
        num_classes: int,
    ) -> ImageExtras:
        """Measure one image; pixels that do not count are outside of every mask.

        Args:
            prediction: Class ids, HW.
            target: Class ids or ``ignore_index``, HW.
            probabilities: CHW; None: measures that need them are left out.
            ignore_index: Label of pixels that do not count.
            num_classes: C.
        """
        scored = target != ignore_index
        ranks = reliability = None
        if self.need_probabilities and probabilities is not None:
            kept, labels = probabilities[:, scored], target[scored].astype(np.int64)
            ranks = csr_array(rank_counts(kept, labels).reshape(num_classes, -1)) if "ranking" in self.names else None
            reliability = reliability_counts(kept, labels) if "calibration" in self.names else None
        shapes: dict[str, Floats] = {}
        for c in range(1 if num_classes == 2 else 0, num_classes):
            for name, value in self._shape_scores((prediction == c) & scored, (target == c) & scored).items():
                shapes.setdefault(name, np.full(num_classes, np.nan))[c] = value
        return ImageExtras(shapes=shapes, ranks=ranks, reliability=reliability)

    def _shape_scores(self, ours: npt.NDArray[np.bool_], theirs: npt.NDArray[np.bool_]) -> dict[str, float]:
        found: dict[str, float] = {}
        if "boundary" in self.names:
            found |= boundary_scores(ours, theirs, tolerance=self.boundary_px)
        if "surface" in self.names:
            found |= surface_distances(ours, theirs)
        if "cldice" in self.names:
            found |= centerline_dice(ours, theirs)
        return found
