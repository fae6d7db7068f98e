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
    """

    index: int
    id: str
    group: str
    size: tuple[int, int]
    confusion: npt.NDArray[np.int64]
    second: npt.NDArray[np.int64] | None
    packed: bytes
    steps: dict[str, npt.NDArray[np.int64]]

    @property
    def prediction(self) -> npt.NDArray[np.int32]:
        """Predicted class ids, HW."""
        values = np.frombuffer(zlib.decompress(self.packed), dtype="<i4")
        return values.reshape(self.size)


def score_split(
    inference: Inference, split: Split, *, num_classes: int, ignore_index: int, within_valid: bool
) -> Iterator[ImageScore]:
    """Yield each image's score, images of one size together; order them by ``index``.

    Args:
        inference: The network and what follows it.
        split: Images with their labels.
        num_classes: C.
        ignore_index: Label of pixels that do not count.
        within_valid: Count only pixels of the valid-area mask, where an image has one.

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
        segmentation = inference.segment(images, probabilities=False)
        for i, (index, sample) in enumerate(zip(indices, samples, strict=True)):
            prediction = segmentation.labels[i].cpu()
            target = labels_to_score(sample, ignore_index=ignore_index, within_valid=within_valid)
            yield ImageScore(
                index=index,
                id=sample.id,
                group=sample.group,
                size=(prediction.shape[0], prediction.shape[1]),
                confusion=_count(prediction.numpy(), target, num_classes, ignore_index),
                second=_count_second(sample.second, target, num_classes, ignore_index),
                packed=zlib.compress(prediction.numpy().astype("<i4").tobytes(), level=1),
                steps={
                    name: _count(labels[i].cpu().numpy(), target, num_classes, ignore_index)
                    for name, labels in segmentation.steps.items()
                },
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
