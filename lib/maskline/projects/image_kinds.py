"""Images of more bands or bits than RGB of 8 bits: what the sections data and model have to say about them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from maskline.core.errors import DataError
from maskline.reading.bands import read_bands
from maskline.reading.headers import stored

_SAMPLED = 16  # images whose values are looked at
_RGB = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageKind:
    """What images need beside the shipped params; nothing for RGB and gray of 8 bits.

    Args:
        data: Keys of the section data.
        model: Keys of the section model.
        lines: For people.
    """

    data: dict[str, Any] = field(default_factory=dict)
    model: dict[str, Any] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)


def look(images: Sequence[Path]) -> ImageKind:
    """Look at the headers of all images and the values of some; where bands differ, convert says it of each image.

    Args:
        images: PNG and TIFF files count; all others are plain.
    """
    forms = [form for path in images if (form := stored(path)) is not None and not form.empty]
    bands = {form.channels - form.alpha for form in forms}
    deep = max((form.bits for form in forms), default=8) > 8
    if len(forms) < len(images) or len(bands) != 1 or (bands <= {1, _RGB} and not deep):
        return ImageKind()
    (count,) = bands
    data: dict[str, Any] = {} if count in (1, _RGB) else {"channels": list(range(count))}
    kind = f"{count} bands of {max(form.bits for form in forms)} bits"
    lines = [f"images: {kind}"]
    if deep:
        try:
            low, high, uneven = _range(images[:: max(1, len(images) // _SAMPLED)])
        except DataError as error:
            return ImageKind(lines=[f"images that cannot be read; the first: {error}"])
        data["image_scale"] = [low, high]
        lines = [f"images: {kind}, the most between {low:g} and {high:g} in {min(len(images), _SAMPLED)} of them"]
        if count == 1 and uneven:
            lines.append("their brightness differs: data.image_scale [p1, p99.8] would scale each by itself")
    model = {"in_channels": count, "mean": "auto", "std": "auto"} if "channels" in data else {}
    keys = [*(f"data.{key} {value}" for key, value in data.items()), *(f"model.{k} {v}" for k, v in model.items())]
    return ImageKind(data=data, model=model, lines=[*lines, "written: " + ", ".join(keys)])


def _range(images: Sequence[Path]) -> tuple[float, float, bool]:
    """Return numbers that nearly all values of some images lie between, rounded outwards to two digits or 0.

    And whether the brightest of these images is more than twice as bright as the darkest.

    Raises:
        DataError: None of them can be read.
    """
    lows, highs, unread = [], [], list[DataError]()
    for path in images:
        try:
            values, _ = read_bands(path, exif="ignore", form=stored(path))
        except DataError as error:
            unread.append(error)  # convert says what is wrong with it
            continue
        finite = values[np.isfinite(values)]
        if finite.size:
            lows.append(float(np.percentile(finite, 0.1)))
            highs.append(float(np.percentile(finite, 99.9)))
    if len(unread) == len(images):
        raise unread[0]
    uneven = bool(highs) and max(highs) > 2 * max(min(highs), 0)
    low, high = _outwards(min(lows, default=0.0), up=False), _outwards(max(highs, default=1.0), up=True)
    low = 0.0 if 0 <= low < high / 2 else low
    return low, (high if low < high else low + 1.0), uneven


def _outwards(value: float, *, up: bool) -> float:
    if value == 0:
        return 0.0
    step = 10.0 ** (np.floor(np.log10(abs(value))) - 1)
    return float((np.ceil if up else np.floor)(value / step - (1e-9 if up else -1e-9)) * step)
