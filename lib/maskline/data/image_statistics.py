"""Mean and standard deviation of the images' channels, of the train split: in labels.json, for ``model.mean: auto``."""

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskline.core.errors import DataError

KEY = "images"
"""Of labels.json."""

_DECIMALS = 4
_REMEDY = "run the convert stage again (dvc repro --force convert)"

Sums = list[tuple[int, int, int]]
"""Of each channel: pixels, sum of the values, sum of their squares; whole numbers, so that no order matters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageStatistics:
    """Numbers of all pixels of the train images together, ignored ones too, in gray levels of 255.

    Args:
        mean: Of each channel.
        std: Of each channel, with the number of pixels as the divisor.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def of(cls, images: Iterable[Sums]) -> "ImageStatistics | None":
        """Return the numbers of all images together; None: there is none."""
        totals = [tuple(map(sum, zip(*channel, strict=True))) for channel in zip(*images, strict=True)]
        if not totals:
            return None
        return cls(
            mean=tuple(round(total / pixels, _DECIMALS) for pixels, total, _ in totals),
            # Whole numbers up to the root: the difference of two large floats would lose its digits.
            std=tuple(
                round(math.sqrt(pixels * squares - total * total) / pixels, _DECIMALS)
                for pixels, total, squares in totals
            ),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return {"mean": list(self.mean), "std": list(self.std), "split": "train"}

    @classmethod
    def read(cls, labels_path: Path) -> "ImageStatistics":
        """Read them from labels.json.

        Raises:
            DataError: No such file, or none in it.
        """
        try:
            value = json.loads(Path(labels_path).read_text(encoding="utf-8"))[KEY]
            return cls(mean=tuple(map(float, value["mean"])), std=tuple(map(float, value["std"])))
        except FileNotFoundError as error:
            raise DataError(labels_path, "no such file", "run the convert stage first (dvc repro convert)") from error
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise DataError(labels_path, "no mean and std of the train images in it", _REMEDY) from error


def sums(image: NDArray[np.uint8]) -> Sums:
    """Return what ``ImageStatistics.of`` needs of an image (h, w, channels) uint8."""
    values = np.arange(256, dtype=np.int64)
    counts = [np.bincount(image[:, :, channel].ravel(), minlength=256) for channel in range(image.shape[2])]
    return [(int(each.sum()), int(each @ values), int(each @ values**2)) for each in counts]
