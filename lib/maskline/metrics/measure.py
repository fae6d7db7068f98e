"""What a measure beyond the confusion matrix is: a function that measures one image, and the scores that it gives."""

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Mask = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """A number that a measure gives.

    Args:
        key: Its name in scores.csv and in the columns of per_image.csv; never changed once it is there.
        title: Its name on the page.
        text: What it says, for the page: a sentence or two.
        better: Which way a model improves.
        highest: Its largest value; the smallest is 0.
    """

    key: str
    title: str
    text: str
    better: Literal["higher", "lower"] = "higher"
    highest: float = 1.0

    @property
    def note(self) -> str:
        """What it says, its range, and which way is better."""
        values = "0 or more" if math.isinf(self.highest) else f"0 to {self.highest:g}"
        return f"{self.text} {values}, {self.better} is better."


@dataclass(frozen=True, slots=True, kw_only=True)
class ShapeMeasure:
    """A measure of two masks of one class; over images, the mean of those in which it is defined.

    Args:
        scores: What it gives.
        function: Prediction and target (HW, bool) to a value for each score's key, nan where it is not defined. Each
            keyword of its own is a key of the section evaluate of params.yaml, from where it gets its value.
    """

    scores: tuple[Score, ...]
    function: Callable[..., dict[str, float]]

    def __call__(self, prediction: Mask, target: Mask, **options: Any) -> dict[str, float]:
        """Measure one class of one image."""
        return self.function(prediction, target, **options)

    @property
    def options(self) -> tuple[str, ...]:
        """Keywords of the function."""
        parameters = inspect.signature(self.function).parameters.values()
        return tuple(parameter.name for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY)


@dataclass(frozen=True, slots=True, kw_only=True)
class CountedMeasure:
    """A measure of probabilities by counts that add up: over images it is of all pixels together.

    Args:
        scores: What it gives.
        function: Probabilities (C x P float32, 0..1) and class ids (P int64) to counts: C x ... where ``by_class``.
        score: Sums of counts, R x ..., to R values for each score's key, nan where it is not defined.
        by_class: Whether each class has scores of its own.
    """

    scores: tuple[Score, ...]
    function: Callable[[npt.NDArray[np.float32], npt.NDArray[np.int64]], npt.NDArray[Any]]
    score: Callable[[npt.NDArray[Any]], Mapping[str, Floats]]
    by_class: bool

    def __call__(self, probabilities: npt.NDArray[np.float32], target: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
        """Count one image."""
        return self.function(probabilities, target)

    @property
    def options(self) -> tuple[str, ...]:
        """Keywords of the function: none."""
        return ()


Measure = ShapeMeasure | CountedMeasure


def shape_measure(*scores: Score) -> Callable[[Callable[..., dict[str, float]]], ShapeMeasure]:
    """Make a function a ``ShapeMeasure`` that is chosen by the function's name."""
    return lambda function: ShapeMeasure(scores=scores, function=function)


def counted_measure(
    *scores: Score, score: Callable[[npt.NDArray[Any]], Mapping[str, Floats]], by_class: bool
) -> Callable[[Callable[[npt.NDArray[np.float32], npt.NDArray[np.int64]], npt.NDArray[Any]]], CountedMeasure]:
    """Make a function a ``CountedMeasure`` that is chosen by the function's name."""
    return lambda function: CountedMeasure(scores=scores, function=function, score=score, by_class=by_class)
