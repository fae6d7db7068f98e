"""The parity gate: an exported model has to see what the trained one sees, at sizes it was not traced at."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from maskline.core.errors import ExportError
from maskline.core.seeds import numpy_generator
from maskline.export.interface import Prediction
from maskline.metrics.confusion import confusion_matrix
from maskline.metrics.scores import overall_scores

# Height, width: below every usual stride, one above it, flat and tall, smaller and larger than usual examples.
ODD_SIZES = ((17, 29), (33, 47), (65, 129), (101, 75), (257, 161))

_ODD_BATCH = 2


class Model(Protocol):
    """``OnnxModel`` or ``TorchModel``."""

    def predict(self, images: NDArray[np.uint8]) -> Prediction:
        """See ``OnnxModel.predict``."""


class Image(Protocol):
    """A sample of a prepared split: image (H, W, 3) uint8, mask (H, W) of class ids."""

    @property
    def id(self) -> str:
        """Name of the image."""

    @property
    def image(self) -> NDArray[np.uint8]:
        """RGB."""

    @property
    def mask(self) -> NDArray[Any]:
        """Class ids and the ignore index."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Images to compare on.

    Args:
        name: Shown where the models differ.
        images: (N, H, W, 3), uint8.
        masks: (N, H, W), class ids and the ignore index.
    """

    name: str
    images: NDArray[np.uint8]
    masks: NDArray[Any]

    @property
    def size(self) -> str:
        """Height x width."""
        return f"{self.images.shape[1]}x{self.images.shape[2]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Parity:
    """How far two models differ on a set of cases.

    Args:
        cases: Number of cases.
        pixels: Compared pixels, ignored ones too.
        differing_pixels: Those that got another class.
        moved_probability: Mean over pixels of the probability that lies on another class (total variation), 0..1.
        reference_miou: mIoU of the reference on these cases, 0..1; nan where no pixel has a class.
        candidate_miou: The same of the exported model.
        worst: Case with the largest share of differing pixels (of probability, where no pixel differs), and its size.
        worst_share: That share.
        worst_pixel: Where in that case the probabilities differ most, and the classes of this pixel.
        worst_class: Reference class of most of the differing pixels; empty where none differs.
    """

    cases: int
    pixels: int
    differing_pixels: int
    moved_probability: float
    reference_miou: float
    candidate_miou: float
    worst: str
    worst_share: float
    worst_pixel: str
    worst_class: str

    @property
    def disagreement(self) -> float:
        """Share of pixels that got another class."""
        return self.differing_pixels / self.pixels

    @property
    def metric_change(self) -> float:
        """Absolute difference in mIoU; 0 where neither is defined."""
        change = abs(self.candidate_miou - self.reference_miou)
        return 0.0 if np.isnan(change) else change

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types, rounded so that float noise does not show."""
        return {
            "cases": self.cases,
            "pixels": self.pixels,
            "differing_pixels": self.differing_pixels,
            "disagreement": round(self.disagreement, 6),
            "moved_probability": round(self.moved_probability, 4),
            "mIoU_torch": _rounded(self.reference_miou),
            "mIoU_exported": _rounded(self.candidate_miou),
            "mIoU_change": round(self.metric_change, 6),
        }


def original_cases(images: Iterable[Image]) -> Iterator[Case]:
    """Yield each image as it is."""
    for sample in images:
        yield Case(name=f"image {sample.id}", images=sample.image[None], masks=sample.mask[None])


def odd_cases(images: Iterable[Image]) -> Iterator[Case]:
    """Yield a batch of two crops of the images, mirrored outward where too small, at each of ``ODD_SIZES``.

    Args:
        images: At least one; only the first ten are used.
    """
    chosen = [sample for sample, _ in zip(images, range(_ODD_BATCH * len(ODD_SIZES)), strict=False)]
    for index, size in enumerate(ODD_SIZES):
        pair = [chosen[(_ODD_BATCH * index + i) % len(chosen)] for i in range(_ODD_BATCH)]
        crops = [_crop(sample, size, seed=_ODD_BATCH * index + i) for i, sample in enumerate(pair)]
        yield Case(
            name=" and ".join(f"crop of image {sample.id}" for sample in pair),
            images=np.stack([image for image, _ in crops]),
            masks=np.stack([mask for _, mask in crops]),
        )


def compare(
    reference: Model, candidate: Model, cases: Iterable[Case], *, class_names: Sequence[str], ignore_index: int
) -> Parity:
    """Run both models on at least one case and count where they differ.

    Args:
        reference: The trained model.
        candidate: The exported model.
        cases: See ``original_cases`` and ``odd_cases``; read one at a time.
        class_names: Names of the C classes.
        ignore_index: Mask value that does not count in mIoU.
    """
    count = pixels = 0
    moved = 0.0
    num_classes = len(class_names)
    matrices = np.zeros((2, num_classes, num_classes), dtype=np.int64)
    lost = np.zeros(num_classes, dtype=np.int64)
    worst, worst_share, worst_pixel = "", (-1.0, -1.0), ""
    for case in cases:
        expected, actual = reference.predict(case.images), candidate.predict(case.images)
        differing = expected.labels[expected.labels != actual.labels]
        lost += np.bincount(differing, minlength=num_classes)
        distance = _distance(expected.probabilities, actual.probabilities)
        case_pixels = expected.labels.size
        for i, prediction in enumerate((expected, actual)):
            matrices[i] += _confusion(prediction.labels, case.masks, num_classes=num_classes, ignore_index=ignore_index)
        share = (differing.size / case_pixels, distance / case_pixels)
        if share > worst_share:
            worst, worst_share = f"{case.name} ({case.size})", share
            worst_pixel = _worst_pixel(expected, actual, class_names)
        count, pixels, moved = count + 1, pixels + case_pixels, moved + distance
    assert count, "compare needs at least one case"
    miou = overall_scores(matrices, beta=1)["mIoU"]
    return Parity(
        cases=count,
        pixels=pixels,
        differing_pixels=int(lost.sum()),
        moved_probability=moved / pixels,
        reference_miou=float(miou[0]),
        candidate_miou=float(miou[1]),
        worst=worst,
        worst_share=worst_share[0] or worst_share[1],
        worst_pixel=worst_pixel,
        worst_class=class_names[int(lost.argmax())] if lost.any() else "",
    )


def check(
    parity: Parity,
    *,
    where: str,
    place: object,
    max_disagreement: float,
    max_metric_change: float,
    section: str = "export",
) -> None:
    """Refuse an exported model that differs more than the limits allow.

    Args:
        parity: From ``compare``.
        where: What was compared on, for the message.
        place: The exported file.
        max_disagreement: Limit of the share of pixels with another class, and of the moved probability.
        max_metric_change: Limit of the difference in mIoU.
        section: Where the limits stand in params.yaml.

    Raises:
        ExportError: Names the limit, the value, and the image, pixel and class where the models differ most.
    """
    for value, limit, key, meaning in (
        (parity.disagreement, max_disagreement, "max_disagreement", "of the pixels get another class than in torch"),
        (parity.moved_probability, max_disagreement, "max_disagreement", "of the probability is on another class"),
        (parity.metric_change, max_metric_change, "max_metric_change", "difference in mIoU to torch"),
    ):
        if value > limit:
            raise ExportError(
                place,
                f"on {where}, {value:.3g} {meaning} ({section}.{key} {limit:g}); "
                f"most in {parity.worst}: {parity.worst_share:.3g}, there at {parity.worst_pixel}"
                + (f"; of the classes, {parity.worst_class} loses most pixels" if parity.worst_class else ""),
                "the former export is kept; if such a difference is acceptable, raise the limit",
            )


def _distance(expected: NDArray[np.float32], actual: NDArray[np.float32]) -> float:
    """Return the sum over pixels of the total variation between two distributions; infinite where one is nan."""
    distance = float(np.abs(expected - actual).sum(dtype=np.float64)) / 2
    return float("inf") if np.isnan(distance) else distance


def _worst_pixel(expected: Prediction, actual: Prediction, class_names: Sequence[str]) -> str:
    """Say where most probability moved, among the pixels with another class if there are any."""
    moved = np.nan_to_num(np.abs(expected.probabilities - actual.probabilities).sum(1), nan=np.inf)
    differs = expected.labels != actual.labels
    n, row, column = np.unravel_index(int(np.where(differs, moved + differs.any(), moved).argmax()), moved.shape)
    there, here = (class_names[int(each.labels[n, row, column])] for each in (expected, actual))
    of = f" of image {n + 1}" if len(moved) > 1 else ""
    return f"row {row}, column {column}{of} ({there} in torch, {here} in the file)"


def _crop(sample: Image, size: tuple[int, int], *, seed: int) -> tuple[NDArray[np.uint8], NDArray[Any]]:
    generator = numpy_generator(0, "odd size", seed)
    missing = [max(0, want - have) for want, have in zip(size, sample.mask.shape, strict=True)]
    image = np.pad(sample.image, ((0, missing[0]), (0, missing[1]), (0, 0)), mode="symmetric")
    mask = np.pad(sample.mask, ((0, missing[0]), (0, missing[1])), mode="symmetric")
    top, left = (int(generator.integers(have - want + 1)) for want, have in zip(size, mask.shape, strict=True))
    window = (slice(top, top + size[0]), slice(left, left + size[1]))
    return image[window], mask[window]


def _confusion(labels: NDArray[Any], masks: NDArray[Any], *, num_classes: int, ignore_index: int) -> NDArray[np.int64]:
    matrix = confusion_matrix(
        torch.from_numpy(labels),
        torch.from_numpy(np.ascontiguousarray(masks)),
        num_classes=num_classes,
        ignore_index=ignore_index,
    )
    total: NDArray[np.int64] = matrix.sum(0).numpy()
    return total


def _rounded(value: float) -> float | None:
    return None if np.isnan(value) else round(value, 6)
