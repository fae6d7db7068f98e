"""A promise on misses: the threshold of a two-class set, chosen on images that are not scored, to keep it.

Several processes take the images in turn and join what they counted, so all choose what one would.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from maskline.core.errors import DataError, ParamsError
from maskline.evaluation.scoring import ImageScore, Split, labels_to_score
from maskline.evaluation.tuning import seen
from maskline.inference.pipeline import Inference
from maskline.metrics.risk_control import CANDIDATES, certified, check_number, miss_rate, miss_rates
from maskline.runtime.processes import distributed


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """What was promised, and by how many images.

    Args:
        at_most: Mean miss rate of new images, 0..1.
        images: Number of images that chose the threshold.
    """

    at_most: float
    images: int

    def held_against(self, scores: Sequence[ImageScore]) -> dict[str, Any]:
        """Return what metrics.json says of it, with the mean miss rate of scored images."""
        rates = [miss_rate(one.confusion) for one in scores]
        return {"at_most": self.at_most, "images": self.images, "miss_rate": float(np.mean(rates))}


def with_promise(
    inference: Inference,
    *,
    at_most: float,
    num_classes: int,
    validation: Callable[[], Split],
    ignore_index: int,
    within_valid: bool,
) -> tuple[Inference, Promise]:
    """Return the inference with the highest threshold whose misses can be promised, and the promise.

    Args:
        inference: As built, without a threshold and without clean-up.
        at_most: See ``certified``.
        num_classes: Of the set: two.
        validation: Opens the images that choose.
        ignore_index: Label of pixels that do not count.
        within_valid: Count only pixels of the valid-area mask, where an image has one.

    Raises:
        ParamsError: Not two classes.
        DataError: Too few images, or the network misses too much at every threshold.
    """
    if num_classes != 2:
        remedy = "set at_most to null: it is for two"
        raise ParamsError("evaluate.guarantee", f"set for {num_classes} classes", remedy)
    split = validation()
    check_number(len(split.sizes), at_most=at_most)
    rates = []
    for index in range(distributed.rank(), len(split.sizes), distributed.size()):
        sample = split.sample(index)
        target = labels_to_score(sample, ignore_index=ignore_index, within_valid=within_valid)
        _, field = seen(inference, sample.image)
        rates.append((index, miss_rates(field[0, 1].cpu().numpy()[target == 1])))
    # In the split's order: a sum in another order could end on another number.
    ordered = sorted((each for share in distributed.everyones(rates) for each in share), key=lambda each: each[0])
    threshold = certified(np.stack([each for _, each in ordered]), at_most=at_most)
    if threshold is None:
        raise DataError(
            "evaluate.guarantee",
            f"the val images do not bear a miss rate of at most {at_most:g} even from probability {CANDIDATES[0]:.0e} "
            "on",
            "train longer, or allow more (at_most)",
        )
    return replace(inference, threshold=threshold), Promise(at_most=at_most, images=len(ordered))
