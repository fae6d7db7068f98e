"""Score a split: predict each image at its own size and count its confusion matrix."""

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from maskline.evaluation import conventions
from maskline.evaluation.conventions import Conventions, Key
from maskline.inference.pipeline import Segmentation
from maskline.metrics.confusion import confusion_matrix
from maskline.metrics.extra import ImageExtras, Measures
from maskline.runtime.processes import distributed


class Sample(Protocol):
    """One image with its labels."""

    @property
    def id(self) -> str:
        """Name of the image."""

    @property
    def group(self) -> str:
        """Patient, scene: what is independent of other groups."""

    @property
    def image(self) -> npt.NDArray[np.uint8]:
        """HWC, 3 channels."""

    @property
    def mask(self) -> npt.NDArray[Any]:
        """Class ids, HW, unsigned."""

    @property
    def valid(self) -> npt.NDArray[np.bool_] | None:
        """Where the image holds anything, HW; None: everywhere."""

    @property
    def second(self) -> npt.NDArray[Any] | None:
        """The second observer's class ids, HW."""


class Use(Protocol):
    """What segments: ``maskline.inference.pipeline.Inference`` is one."""

    @property
    def device(self) -> torch.device:
        """Where images must be."""

    @property
    def images_at_once(self) -> int:
        """How many images of one size are segmented together."""

    @property
    def threshold(self) -> float | None:
        """Two-class sets: class 1 from this probability on; None: the more likely class."""

    def segment(self, images: Tensor, *, probabilities: bool) -> Segmentation:
        """Segment images NHWC uint8 of one size."""


class Split(Protocol):
    """Images by position."""

    @property
    def sizes(self) -> Sequence[tuple[int, int]]:
        """Height and width of each image."""

    def sample(self, index: int, /) -> Sample:
        """Return one image with its labels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One reading of an image, the network's or the second observer's, held against the labels.

    Args:
        confusion: C x C counts, int64, rows actual.
        extras: Measures beyond the counts.
        areas: ``inside`` the valid-area mask and on the ``whole`` image -> the same; empty without a mask.
    """

    confusion: npt.NDArray[np.int64]
    extras: ImageExtras
    areas: dict[str, "Reading"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageScore:
    """What is kept of one scored image.

    Args:
        index: Position in the split.
        id: Name of the image.
        group: Patient, scene.
        size: Height and width, px.
        own: What the inference made of it.
        second: The second observer, who gives no probabilities; None without one.
        packed: The class map, compressed; see ``prediction``.
        steps: Step of the inference -> C x C counts after it, the network first; empty where nothing follows it.
        conventions: Rule, area and size -> C x C counts; of the evaluation itself where no others were asked for.
    """

    index: int
    id: str
    group: str
    size: tuple[int, int]
    own: Reading
    second: Reading | None
    packed: bytes
    steps: dict[str, npt.NDArray[np.int64]]
    conventions: dict[Key, npt.NDArray[np.int64]] = field(default_factory=dict)

    @property
    def confusion(self) -> npt.NDArray[np.int64]:
        """C x C counts of the inference, int64, rows actual."""
        return self.own.confusion

    @property
    def prediction(self) -> npt.NDArray[np.int32]:
        """Predicted class ids, HW."""
        values = np.frombuffer(zlib.decompress(self.packed), dtype="<i4")
        return values.reshape(self.size)


@dataclass(frozen=True, slots=True, kw_only=True)
class Counting:
    """What counts.

    Args:
        num_classes: C.
        ignore_index: Label of pixels that do not count.
        within_valid: Count only pixels of the valid-area mask, where an image has one.
        measures: What to measure beyond the counts.
        conventions: Further ways to count; None: none.
    """

    num_classes: int
    ignore_index: int
    within_valid: bool
    measures: Measures
    conventions: Conventions | None = None

    @property
    def need_probabilities(self) -> bool:
        """Whether label maps alone are not enough."""
        return self.measures.need_probabilities or bool(self.conventions and self.conventions.thresholds)


def score_split(inference: Use, split: Split, counting: Counting) -> Iterator[ImageScore]:
    """Yield each image's score, images of one size together; order them by ``index``.

    Several processes take the batches in turn, each as one process would make it.

    Args:
        inference: The network and what follows it.
        split: Images with their labels.
        counting: What counts.

    Raises:
        DataError: A label is neither a class nor ``ignore_index``.
        CheckpointError: The network gives nan.
    """
    batches = same_size_batches(split.sizes, batch_size=inference.images_at_once)
    for indices in islice(batches, distributed.rank(), None, distributed.size()):
        samples = [split.sample(index) for index in indices]
        images = torch.from_numpy(np.stack([sample.image for sample in samples])).to(inference.device)
        segmented = inference.segment(images, probabilities=counting.need_probabilities)
        for i, (index, sample) in enumerate(zip(indices, samples, strict=True)):
            seen = _Seen(
                labels=segmented.labels[i].cpu().numpy(),
                steps={name: labels[i].cpu().numpy() for name, labels in segmented.steps.items()},
                probabilities=None if segmented.probabilities is None else segmented.probabilities[i].cpu().numpy(),
            )
            yield _score(index, sample, seen, counting)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """What the inference sees in one image."""

    labels: npt.NDArray[Any]
    steps: dict[str, npt.NDArray[Any]]
    probabilities: npt.NDArray[np.float32] | None


def _score(index: int, sample: Sample, seen: _Seen, counting: Counting) -> ImageScore:
    target = labels_to_score(sample, ignore_index=counting.ignore_index, within_valid=counting.within_valid)
    return ImageScore(
        index=index,
        id=sample.id,
        group=sample.group,
        size=(seen.labels.shape[0], seen.labels.shape[1]),
        own=_read(sample, seen.labels, seen.probabilities, counting),
        second=None if sample.second is None else _read(sample, sample.second, None, counting),
        packed=zlib.compress(seen.labels.astype("<i4").tobytes(), level=1),
        steps={name: _count(labels, target, counting) for name, labels in seen.steps.items()},
        conventions=_under_conventions(sample, seen, counting),
    )


def _under_conventions(sample: Sample, seen: _Seen, counting: Counting) -> dict[Key, npt.NDArray[np.int64]]:
    """Count an image under each convention; without any, in the evaluation's own way."""

    def target(within_valid: bool) -> npt.NDArray[Any]:
        return labels_to_score(sample, ignore_index=counting.ignore_index, within_valid=within_valid)

    def count(labels: npt.NDArray[Any], mask: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
        return _count(labels, mask, counting)

    if counting.conventions is None:
        area = conventions.INSIDE if counting.within_valid and sample.valid is not None else conventions.WHOLE
        return {(conventions.AS_EVALUATED, area, conventions.NATIVE): count(seen.labels, target(counting.within_valid))}
    before = [labels for name, labels in seen.steps.items() if name not in ("threshold", "cleanup")]
    targets = {conventions.WHOLE: target(within_valid=False)}
    if sample.valid is not None:
        targets = {conventions.INSIDE: target(within_valid=True), **targets}
    return counting.conventions.count(seen.labels, (before or [seen.labels])[-1], seen.probabilities, targets, count)


def _read(
    sample: Sample, labels: npt.NDArray[Any], probabilities: npt.NDArray[np.float32] | None, counting: Counting
) -> Reading:
    """Hold a class map against the labels; what it leaves open does not count."""
    ignore_index = counting.ignore_index
    open_px = labels == ignore_index  # no class id, so the network never says it
    closed = np.where(open_px, np.zeros_like(labels), labels) if open_px.any() else labels
    by_area = {}
    for area, within_valid in (("inside", True), ("whole", False)):
        if sample.valid is None and within_valid:
            continue
        target = labels_to_score(sample, ignore_index=ignore_index, within_valid=within_valid)
        if closed is not labels:
            target = np.where(open_px, np.asarray(ignore_index, dtype=target.dtype), target)
        extras = counting.measures.measure(
            closed, target, probabilities, ignore_index=ignore_index, num_classes=counting.num_classes
        )
        by_area[area] = Reading(confusion=_count(closed, target, counting), extras=extras, areas={})
    chosen = by_area["inside" if counting.within_valid and "inside" in by_area else "whole"]
    return Reading(confusion=chosen.confusion, extras=chosen.extras, areas=by_area if sample.valid is not None else {})


def same_size_batches(sizes: Sequence[tuple[int, int]], *, batch_size: int) -> Iterator[list[int]]:
    """Yield positions of images of one size, ``batch_size`` at most, each position once."""
    by_size: dict[tuple[int, int], list[int]] = {}
    for index, size in enumerate(sizes):
        by_size.setdefault((size[0], size[1]), []).append(index)
    for indices in by_size.values():
        for start in range(0, len(indices), batch_size):
            yield indices[start : start + batch_size]


def labels_to_score(sample: Sample, *, ignore_index: int, within_valid: bool) -> npt.NDArray[Any]:
    """Return the mask, with ``ignore_index`` outside the valid area where that is asked for."""
    if not within_valid or sample.valid is None:
        return sample.mask
    return np.where(sample.valid, sample.mask, np.asarray(ignore_index, dtype=sample.mask.dtype))


def _count(prediction: npt.NDArray[Any], target: npt.NDArray[Any], counting: Counting) -> npt.NDArray[np.int64]:
    matrices = confusion_matrix(
        torch.tensor(prediction)[None],
        torch.tensor(target)[None],
        num_classes=counting.num_classes,
        ignore_index=counting.ignore_index,
    )
    counts: npt.NDArray[np.int64] = matrices[0].numpy()
    return counts
