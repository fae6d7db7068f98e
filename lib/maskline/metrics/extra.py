"""Measures beyond the confusion matrix, chosen by name, as they are kept of one image.

A measure is a function of its name in a file of ``maskline.metrics.measures``; see ``maskline.metrics.measure``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array

from maskline.metrics import measures
from maskline.metrics.measure import CountedMeasure, Measure, Score, ShapeMeasure

Floats = npt.NDArray[np.float64]
Ids = npt.NDArray[Any]


@cache
def known_measures() -> dict[str, Measure]:
    """Return all measures by name."""
    modules = [import_module(f"{measures.__name__}.{info.name}") for info in iter_modules(measures.__path__)]
    return {
        name: value
        for module in modules
        for name, value in vars(module).items()
        if isinstance(value, ShapeMeasure | CountedMeasure)
    }


def known_scores() -> dict[str, Score]:
    """Return the scores of all measures by their key."""
    return {score.key: score for measure in known_measures().values() for score in measure.scores}


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """What a ``CountedMeasure`` keeps of one image.

    Args:
        values: Its counts; where it has scores by class, sparse, C x the size of ``shape``: most are 0.
        shape: Of the counts of one class, or of all that there are.
    """

    values: Any
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageExtras:
    """What is kept of one image.

    Args:
        shapes: Key of a score -> its value for each class, nan where it is not defined; of two classes, class 0 is
            left out as nan.
        counts: Name of a measure -> its counts; empty without probabilities.
    """

    shapes: dict[str, Floats]
    counts: dict[str, Counts]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measures:
    """What to measure.

    Args:
        names: Which, in the order of the scores.
        options: A value for each keyword that they have.
    """

    names: tuple[str, ...]
    options: Mapping[str, Any]

    @property
    def need_probabilities(self) -> bool:
        """Whether class maps are not enough."""
        return bool(self._counted())

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
        counts: dict[str, Counts] = {}
        if probabilities is not None:
            kept, labels = probabilities[:, scored], target[scored].astype(np.int64)
            counts = {name: _counts(measure, kept, labels) for name, measure in self._counted().items()}
        shapes: dict[str, Floats] = {}
        for c in range(1 if num_classes == 2 else 0, num_classes):
            for key, value in self._shape_scores((prediction == c) & scored, (target == c) & scored).items():
                shapes.setdefault(key, np.full(num_classes, np.nan))[c] = value
        return ImageExtras(shapes=shapes, counts=counts)

    def _counted(self) -> dict[str, CountedMeasure]:
        chosen = {name: known_measures()[name] for name in self.names}
        return {name: measure for name, measure in chosen.items() if isinstance(measure, CountedMeasure)}

    def _shape_scores(self, prediction: npt.NDArray[np.bool_], target: npt.NDArray[np.bool_]) -> dict[str, float]:
        scores: dict[str, float] = {}
        for name in self.names:
            measure = known_measures()[name]
            if isinstance(measure, ShapeMeasure):
                scores |= measure(prediction, target, **{key: self.options[key] for key in measure.options})
        return scores


def _counts(measure: CountedMeasure, probabilities: npt.NDArray[np.float32], target: npt.NDArray[np.int64]) -> Counts:
    values = measure(probabilities, target)
    if not measure.by_class:
        return Counts(values=values, shape=values.shape)
    return Counts(values=csr_array(values.reshape(len(values), -1)), shape=values.shape[1:])
