"""The threshold of two-class sets and the weights of the CRF, chosen on images that are not scored.

Several processes take the images in turn and add up their counts, so all choose what one would.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import product

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from maskline.core.errors import DataError, ParamsError
from maskline.evaluation.scoring import Split, labels_to_score
from maskline.inference.pipeline import Crf, Inference
from maskline.inference.predictor import most_likely
from maskline.metrics.confusion import confusion_matrix
from maskline.metrics.scores import foreground_scores, overall_scores
from maskline.runtime.processes import distributed

# Candidates are the edges of this many equal bins of the probability.
_BINS = 1000

# The CRF's own values come first: of equally good fields the first is taken.
_FACTORS = (1.0, 0.5, 2.0)
_TUNED = ("bilateral_weight", "bilateral_grey", "smooth_weight")


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
    threshold = tuned_threshold(inference, validation(), ignore_index=ignore_index, within_valid=within_valid)
    return replace(inference, threshold=threshold)


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
    for index in range(distributed.rank(), len(split.sizes), distributed.size()):
        sample = split.sample(index)
        target = labels_to_score(sample, ignore_index=ignore_index, within_valid=within_valid)
        _, field = seen(plain, sample.image)
        bins = np.floor(field[0, 1].cpu().numpy().astype(np.float64) * _BINS).astype(np.int64)
        for label in (0, 1):
            counts[label] += np.bincount(bins[target == label], minlength=_BINS + 1)
    counts = np.sum(distributed.everyones(counts), axis=0)
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


def with_crf(inference: Inference, split: Split, *, ignore_index: int, within_valid: bool) -> Inference:
    """Return the inference with the best of 27 fields around its own: weights and gray levels halved, kept, doubled.

    Best is the highest Dice of class 1 of two classes, else the highest mIoU, over all pixels of a split.

    Args:
        inference: With a CRF; its threshold and its clean-up are not used.
        split: Images with their labels.
        ignore_index: Label of pixels that do not count.
        within_valid: Count only pixels of the valid-area mask, where an image has one.

    Raises:
        DataError: No pixel of the split has a label.
    """
    assert inference.crf is not None, "nothing to tune"
    plain = replace(inference, crf=None, threshold=None, min_component_px=0, max_hole_px=0)
    fields = list(fields_around(inference.crf))
    own: list[npt.NDArray[np.int64]] | None = None
    for index in range(distributed.rank(), len(split.sizes), distributed.size()):
        sample = split.sample(index)
        target = labels_to_score(sample, ignore_index=ignore_index, within_valid=within_valid)
        images, probabilities = seen(plain, sample.image)
        matrices = [
            confusion_matrix(
                most_likely(field(probabilities, images.permute(0, 3, 1, 2))).cpu(),
                torch.tensor(target)[None],
                num_classes=probabilities.shape[1],
                ignore_index=ignore_index,
            )[0].numpy()
            for field in fields
        ]
        own = matrices if own is None else [one + more for one, more in zip(own, matrices, strict=True)]
    shares = [share for share in distributed.everyones(own) if share is not None]
    counts = np.sum(shares, axis=0)
    if not counts.any():
        raise DataError("evaluate.crf.tune", "no labelled pixel in the val split to tune it on", "set it to false")
    return replace(inference, crf=fields[best_field(counts)])


def fields_around(crf: Crf) -> Iterator[Crf]:
    """Yield the field itself, then those with weights and gray levels at half and twice their value."""
    for factors in product(_FACTORS, repeat=len(_TUNED)):
        values = {name: getattr(crf, name) * factor for name, factor in zip(_TUNED, factors, strict=True)}
        yield replace(crf, **values)


def best_field(counts: npt.NDArray[np.int64]) -> int:
    """Return the first of K matrices K x C x C with the highest Dice of class 1 of two classes, else mIoU."""
    scores = foreground_scores(counts)["Dice"] if counts.shape[-1] == 2 else overall_scores(counts, beta=1)["mIoU"]
    return int(np.argmax(np.nan_to_num(scores, nan=-1.0)))


def tuned_values(inference: Inference) -> dict[str, float]:
    """Return what ``with_crf`` chooses, by name."""
    return {name: getattr(inference.crf, name) for name in _TUNED}


def seen(inference: Inference, image: npt.NDArray[np.uint8]) -> tuple[Tensor, Tensor]:
    """Return an image HWC as NHWC of one on the network's device, and its probabilities NCHW."""
    images = torch.from_numpy(np.ascontiguousarray(image))[None].to(inference.predictor.device)
    field = inference.segment(images, probabilities=True).probabilities
    assert field is not None, "they were asked for"
    return images, field
