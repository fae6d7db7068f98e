"""The threshold of two-class sets, chosen on images that are not scored."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch

from maskline.errors import DataError, ParamsError
from maskline.inference.pipeline import Inference
from maskline.inference.scoring import Split, labels_to_score

# Candidates are the edges of this many equal bins of the probability.
_BINS = 1000


def with_threshold(
    inference: Inference,
    *,
    tune: bool,
    num_classes: int,
    validation: Callable[[], Split] | None,
    ignore_index: int,
    within_valid: bool,
) -> Inference:
    """Return the inference with its threshold checked, or tuned where that is asked for.

    Args:
        inference: As built.
        tune: Choose the threshold.
        num_classes: Of the set.
        validation: Opens the images to tune on; only called to tune, None where there are none.
        ignore_index: As in ``tuned_threshold``.
        within_valid: As in ``tuned_threshold``.

    Raises:
        ParamsError: A threshold for a set of more than two classes.
        DataError: Nothing to tune on.
    """
    if num_classes != 2 and (tune or inference.threshold is not None):
        raise ParamsError("evaluate.threshold", f"set for {num_classes} classes", "set it to null: it is for two")
    if not tune:
        return inference
    assert validation is not None, "tuning needs images"
    found = tuned_threshold(inference, validation(), ignore_index=ignore_index, within_valid=within_valid)
    return replace(inference, threshold=found)


def tuned_threshold(inference: Inference, split: Split, *, ignore_index: int, within_valid: bool) -> float:
    """Return the probability from which class 1 has the highest Dice over all pixels of a split.

    Of a run of equally good ones the middle is returned.

    Args:
        inference: Of two classes; its own threshold and its clean-up are not used.
        split: Images with their labels.
        ignore_index: Label of pixels that do not count.
        within_valid: Count only pixels of the valid-area mask, where an image has one.

    Raises:
        DataError: No pixel of class 1 in the split.
    """
    plain = replace(inference, threshold=None, min_component_px=0, max_hole_px=0)
    counts = np.zeros((2, _BINS + 1), dtype=np.int64)
    for index in range(len(split.sizes)):
        sample = split.sample(index)
        target = labels_to_score(sample, ignore_index=ignore_index, within_valid=within_valid)
        device = next((parameter.device for parameter in plain.predictor.model.parameters()), torch.device("cpu"))
        images = torch.from_numpy(np.ascontiguousarray(sample.image))[None].to(device)
        field = plain.segment(images, probabilities=True).probabilities
        assert field is not None
        bins = np.floor(field[0, 1].cpu().numpy().astype(np.float64) * _BINS).astype(np.int64)
        for label in (0, 1):
            counts[label] += np.bincount(bins[target == label], minlength=_BINS + 1)
    if not counts[1].any():
        raise DataError("evaluate.threshold", "no foreground in the val split to tune it on", "give a number")
    return best_threshold(counts)


def best_threshold(counts: npt.NDArray[np.int64]) -> float:
    """Return the lower edge of the bin from which on Dice is highest; of a run of such bins that in the middle.

    Args:
        counts: 2 x (B + 1) pixels by actual class and bin of probability; bin b holds b/B and more, the last only 1.
    """
    false_alarms, hits = counts[:, ::-1].cumsum(axis=1)[:, ::-1]
    dice = 2 * hits / np.maximum(hits + false_alarms + counts[1].sum(), 1)
    first = last = int(np.argmax(dice))
    while last + 1 < len(dice) and dice[last + 1] == dice[first]:
        last += 1
    return float((first + last) // 2 / (counts.shape[1] - 1))
