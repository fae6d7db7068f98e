"""Score a split: predict each image at its own size and count its confusion matrix."""

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch

from maskline.inference.pipeline import Inference
from maskline.metrics.confusion import confusion_matrix
from maskline.metrics.extra import ImageExtras, Measures


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
        """The second annotator's class ids, HW."""


class Split(Protocol):
    """Images by position."""

    @property
    def sizes(self) -> Sequence[tuple[int, int]]:
        """Height and width of each image."""

    def sample(self, index: int, /) -> Sample:
        """Return one image with its labels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageScore:
    """What is kept of one scored image.

    Args:
        index: Position in the split.
        id: Name of the image.
        group: Patient, scene.
        size: Height and width, px.
        confusion: C x C counts, int64, rows actual.
        second: The second annotator against the first, C x C; None without one.
        packed: The class map, compressed; see ``prediction``.
        steps: Step of the inference -> C x C counts after it, the network first; empty where nothing follows it.
        areas: ``inside`` the valid-area mask and on the ``whole`` image -> C x C counts; empty without a mask.
        extras: Measures beyond the counts.
    """

    index: int
    id: str
    group: str
    size: tuple[int, int]
    confusion: npt.NDArray[np.int64]
    second: npt.NDArray[np.int64] | None
    packed: bytes
    steps: dict[str, npt.NDArray[np.int64]]
    areas: dict[str, npt.NDArray[np.int64]]
    extras: ImageExtras

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
    """

    num_classes: int
    ignore_index: int
    within_valid: bool
    measures: Measures


def score_split(inference: Inference, split: Split, counting: Counting) -> Iterator[ImageScore]:
    """Yield each image's score, images of one size together; order them by ``index``.

    Args:
        inference: The network and what follows it.
        split: Images with their labels.
        counting: What counts.

    Raises:
        DataError: A label is neither a class nor ``ignore_index``.
        CheckpointError: The network gives nan.
    """
    predictor = inference.predictor
    at_a_time = predictor.batch_size if predictor.mode == "whole" else 1
    device = next((parameter.device for parameter in predictor.model.parameters()), torch.device("cpu"))
    for indices in same_size_batches(split.sizes, batch_size=at_a_time):
        samples = [split.sample(index) for index in indices]
        images = torch.from_numpy(np.stack([sample.image for sample in samples])).to(device)
        found = inference.segment(images, probabilities=counting.measures.need_probabilities)
        for i, (index, sample) in enumerate(zip(indices, samples, strict=True)):
            seen = _Seen(
                labels=found.labels[i].cpu().numpy(),
                steps={name: labels[i].cpu().numpy() for name, labels in found.steps.items()},
                probabilities=None if found.probabilities is None else found.probabilities[i].cpu().numpy(),
            )
            yield _score(index, sample, seen, counting)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """What the inference sees in one image."""

    labels: npt.NDArray[Any]
    steps: dict[str, npt.NDArray[Any]]
    probabilities: npt.NDArray[np.float32] | None


def _score(index: int, sample: Sample, seen: _Seen, counting: Counting) -> ImageScore:
    num_classes, ignore_index = counting.num_classes, counting.ignore_index
    whole, inside = (labels_to_score(sample, ignore_index=ignore_index, within_valid=flag) for flag in (False, True))
    target = inside if counting.within_valid else whole
    areas = {} if sample.valid is None else {"inside": inside, "whole": whole}
    return ImageScore(
        index=index,
        id=sample.id,
        group=sample.group,
        size=(seen.labels.shape[0], seen.labels.shape[1]),
        confusion=_count(seen.labels, target, num_classes, ignore_index),
        second=_count_second(sample.second, target, num_classes, ignore_index),
        packed=zlib.compress(seen.labels.astype("<i4").tobytes(), level=1),
        steps={name: _count(labels, target, num_classes, ignore_index) for name, labels in seen.steps.items()},
        areas={name: _count(seen.labels, labels, num_classes, ignore_index) for name, labels in areas.items()},
        extras=counting.measures.measure(
            seen.labels, target, seen.probabilities, ignore_index=ignore_index, num_classes=num_classes
        ),
    )


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


def _count_second(
    second: npt.NDArray[Any] | None, target: npt.NDArray[Any], num_classes: int, ignore_index: int
) -> npt.NDArray[np.int64] | None:
    """Count the second annotator as if it were a prediction; what it leaves open does not count."""
    if second is None:
        return None
    open_px = second == ignore_index
    labels = np.where(open_px, np.asarray(ignore_index, dtype=target.dtype), target)
    return _count(np.where(open_px, 0, second), labels, num_classes, ignore_index)


def _count(
    prediction: npt.NDArray[Any], target: npt.NDArray[Any], num_classes: int, ignore_index: int
) -> npt.NDArray[np.int64]:
    matrices = confusion_matrix(
        torch.tensor(prediction)[None],
        torch.tensor(target)[None],
        num_classes=num_classes,
        ignore_index=ignore_index,
    )
    counts: npt.NDArray[np.int64] = matrices[0].numpy()
    return counts
