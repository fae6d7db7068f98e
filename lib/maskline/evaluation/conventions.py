"""One evaluation under every convention that papers score by, side by side: rules, areas, sizes, ways to average.

Whoever compares a score with a published one finds the row whose convention the paper used; the same predictions of
vessels may differ by some hundredths between two of them.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from maskline.metrics.scores import all_scores, flatten

AS_EVALUATED, LIKELY = "as evaluated", "the more likely class"  # of two: threshold 0.5
INSIDE, WHOLE = "inside the valid area", "whole image"
NATIVE = "native"
POOLED, EACH = "pooled over pixels", "mean over images"

Key = tuple[str, str, str]
"""Rule, area and size."""

_LabelMap = npt.NDArray[Any]
_Matrix = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Conventions:
    """What is counted beside the way of the evaluation itself.

    Args:
        thresholds: Two classes: name of a further rule -> probability from which a pixel is class 1.
        size: Height and width that label maps and masks are resized to as well (nearest neighbour); None: native alone.
        as_evaluated: Whether the evaluation's own label maps are none of these rules: it has a threshold or clean-up.
    """

    thresholds: Mapping[str, float]
    size: tuple[int, int] | None
    as_evaluated: bool

    def count(
        self,
        labels: _LabelMap,
        likely: _LabelMap,
        probabilities: npt.NDArray[np.float32] | None,
        targets: Mapping[str, _LabelMap],
        count: Callable[[_LabelMap, _LabelMap], _Matrix],
    ) -> dict[Key, _Matrix]:
        """Return the confusion matrix of one image under each rule, area and size.

        Args:
            labels: Class ids that the evaluation gives, HW.
            likely: The more likely class of each pixel, before threshold and clean-up, HW.
            probabilities: CHW; None where there are no thresholds.
            targets: Area -> class ids of the mask, ignored outside of the area, HW.
            count: Label map and target -> C x C counts.
        """
        rules = {AS_EVALUATED: labels} if self.as_evaluated else {}
        rules[LIKELY] = likely
        for name, value in self.thresholds.items():
            assert probabilities is not None, "thresholds need them"
            rules[name] = (probabilities[1] >= value).astype(labels.dtype)
        sizes = {NATIVE: None} if self.size is None else {NATIVE: None, size_name(self.size): self.size}
        return {
            (rule, area, size): count(_resized(values, shape), _resized(target, shape))
            for rule, values in rules.items()
            for area, target in targets.items()
            for size, shape in sizes.items()
        }


def size_name(size: tuple[int, int]) -> str:
    """Return a height and width as text."""
    return f"{size[0]} x {size[1]} px"


def _resized(values: _LabelMap, size: tuple[int, int] | None) -> _LabelMap:
    if size is None:
        return values
    image = Image.fromarray(values.astype(np.int32))
    return np.asarray(image.resize((size[1], size[0]), Image.Resampling.NEAREST)).astype(values.dtype)


def rows(images: Sequence[Mapping[Key, _Matrix]], *, class_keys: tuple[str, ...]) -> list[dict[str, Any]]:
    """Return one row a rule, area, size and way to average, with the scores under it; None where one is not defined.

    The mean over images leaves out images for which a score is not defined (no pixel of the class, say); ``images`` is
    the number of all.

    Args:
        images: One an image, all with the same keys.
        class_keys: C names; of two, Dice, IoU, sensitivity and specificity are those of the second.
    """
    table = []
    for rule, area, size in images[0]:
        stacked = np.stack([one[rule, area, size] for one in images])
        for way, values in ((POOLED, _scores(stacked.sum(0), class_keys)), (EACH, _scores(stacked, class_keys))):
            row: dict[str, Any] = {"rule": rule, "area": area, "size": size, "average": way, "images": len(images)}
            table.append(row | {name: _mean(value) for name, value in values.items()})
    return [{"convention": ", ".join(str(row[name]) for name in list(row)[:4]), **row} for row in table]


def _scores(matrices: _Matrix, class_keys: tuple[str, ...]) -> dict[str, Any]:
    flat = flatten(all_scores(matrices, class_keys=class_keys))
    overall = {name: flat[name] for name in ("mIoU", "mDice", "mAcc", "aAcc")}
    if len(class_keys) != 2:
        return overall
    foreground = {name: flat[f"foreground.{name}"] for name in ("Dice", "sensitivity", "specificity")}
    return {"Dice": foreground.pop("Dice"), "IoU": flat[f"per_class.{class_keys[1]}.IoU"], **foreground, **overall}


def _mean(values: npt.ArrayLike) -> float | None:
    known = np.asarray(values, dtype=np.float64)
    known = known[~np.isnan(known)]
    return round(float(known.mean()), 6) if known.size else None
