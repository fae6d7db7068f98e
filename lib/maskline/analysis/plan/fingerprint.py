"""What a prepared data set is like, read off its train split alone."""

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskline.core.errors import DataError
from maskline.data import manifest
from maskline.data.dataset import PreparedSplit

_UNEVEN = 2.0  # the brightest image over the darkest
_MOST_IMAGES = 40  # of which pixels are looked at; spread evenly over the ids


@dataclass(frozen=True, slots=True, kw_only=True)
class Fingerprint:
    """What the rules of a plan know of a data set.

    Args:
        train: Images of the train split.
        val: Images of the val split; nothing else of it is looked at.
        test: Images of the test split; nothing else of it is looked at.
        classes: Number of classes.
        channels: Of the images.
        height: Median of the train images, px.
        width: Median of the train images, px.
        shares: Of all labelled train pixels, by class.
        widths: Of each class's structures, px: twice the area over the border, which for a long strip is its width;
            None: the class is absent.
        up: How far classes differ between the upper and the lower third of images: half of the sum of absolute
            differences of shares, 0 to 1.
        gray: Whether all channels are equal.
        brightness: Of the darkest and of the brightest train image: the level that 99.8 % of its pixels are not above.
    """

    train: int
    val: int
    test: int
    classes: int
    channels: int
    height: int
    width: int
    shares: tuple[float, ...]
    widths: tuple[float | None, ...]
    up: float
    gray: bool
    brightness: tuple[int, int]

    @property
    def scored(self) -> int:
        """Images that evaluation scores: those of test, or of val where there is no test split."""
        return self.test or self.val

    @property
    def rarest(self) -> float:
        """Share of the rarest class that the train split has."""
        return min(share for share in self.shares if share > 0)

    @property
    def uneven(self) -> bool:
        """Whether gray images differ so much in brightness that each is better scaled by itself."""
        darkest, brightest = self.brightness
        return self.gray and brightest > _UNEVEN * max(darkest, 1)

    @property
    def thinnest(self) -> float | None:
        """Width of the thinnest structures but those of class 0, px; None: there are none."""
        return min((width for width in self.widths[1:] if width is not None), default=None)

    def to_dict(self) -> dict[str, Any]:
        """Return plain types, numbers as precise as the table shows them."""
        rounded = {"shares": [round(share, 4) for share in self.shares]}
        rounded["widths"] = [None if width is None else round(width, 1) for width in self.widths]  # type: ignore[misc]
        return {**asdict(self), **rounded, "up": round(self.up, 3)}


def fingerprint(prepared: Path) -> Fingerprint:
    """Look at the train images of a prepared set, 40 of them at most.

    Raises:
        DataError: No prepared data, no train split, or no labelled pixel in it.
    """
    if not (prepared / manifest.MANIFEST_NAME).is_file():
        remedy = "in its project: dvc repro convert; a new one: maskline new DIR --data DATA"
        raise DataError(prepared, f"no prepared data set: no {manifest.MANIFEST_NAME}", remedy)
    split = PreparedSplit.open(prepared, "train", cache="stream")
    frame, labels = manifest.read(prepared)
    count, rows = labels.num_classes, frame[frame["split"] == "train"]
    pixels = [int(rows[f"pixels_{i}"].sum()) for i in range(count)]
    if not sum(pixels):
        raise DataError(prepared, "no labelled pixel in the train split", "check data.mask_encoding and data.classes")
    looks = [_look(split, i, count) for i in _spread(len(split), _MOST_IMAGES)]
    borders = np.sum([look.borders for look in looks], axis=0)
    areas = np.sum([look.areas for look in looks], axis=0)
    return Fingerprint(
        train=len(split),
        val=int((frame["split"] == "val").sum()),
        test=int((frame["split"] == "test").sum()),
        classes=count,
        channels=split.channels,
        height=round(statistics.median(height for height, _ in split.sizes)),
        width=round(statistics.median(width for _, width in split.sizes)),
        shares=tuple(value / sum(pixels) for value in pixels),
        widths=tuple(
            float(2 * area / border) if area and border else None for area, border in zip(areas, borders, strict=True)
        ),
        up=_difference([look.thirds[0] for look in looks], [look.thirds[1] for look in looks]),
        gray=all(look.gray for look in looks),
        brightness=(min(look.bright for look in looks), max(look.bright for look in looks)),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Look:
    """One image: pixels and border by class, and by class in the upper and the lower third; gray or not, how bright."""

    areas: NDArray[np.int64]
    borders: NDArray[np.int64]
    thirds: tuple[NDArray[np.int64], NDArray[np.int64]]
    gray: bool
    bright: int


def _look(split: PreparedSplit, i: int, count: int) -> _Look:
    sample = split.sample(i)
    mask, third = sample.mask, max(sample.mask.shape[0] // 3, 1)
    return _Look(
        areas=_counts(mask, count),
        borders=_borders(mask, count),
        thirds=(_counts(mask[:third], count), _counts(mask[-third:], count)),
        gray=bool((sample.image == sample.image[..., :1]).all()),
        bright=int(np.percentile(sample.image, 99.8, method="inverted_cdf")),
    )


def _borders(mask: NDArray[np.integer[Any]], count: int) -> NDArray[np.int64]:
    """Count, by class, the pairs of neighbours in a row or column of which one is of it and the other is not.

    A slanted border has more such pairs than its length: by the mean over all directions, 4 / pi times as many.
    """
    edges = np.zeros(count, dtype=np.int64)
    for one, other in ((mask[1:], mask[:-1]), (mask[:, 1:], mask[:, :-1])):
        differ = one != other
        edges += _counts(one[differ], count) + _counts(other[differ], count)
    return (edges * np.pi / 4).astype(np.int64)


def _counts(values: NDArray[np.integer[Any]], count: int) -> NDArray[np.int64]:
    return np.bincount(values[values < count].ravel(), minlength=count)


def _difference(upper: Sequence[NDArray[np.int64]], lower: Sequence[NDArray[np.int64]]) -> float:
    above, below = np.sum(upper, axis=0), np.sum(lower, axis=0)
    return float(np.abs(above / max(above.sum(), 1) - below / max(below.sum(), 1)).sum() / 2)


def _spread(length: int, most: int) -> list[int]:
    """Return positions 0 to ``length``, ``most`` of them at most, evenly spread."""
    return list(range(length)) if length <= most else [round(i * (length - 1) / (most - 1)) for i in range(most)]
