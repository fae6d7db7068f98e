"""Images as a model was trained to see them: the one reader of whatever is to be predicted."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps

from maskline.core.errors import DataError
from maskline.data.reading_rule import ReadingRule
from maskline.reading.bands import as_pixels, bands_of, read_pixels, to_bytes
from maskline.reading.images import Alpha, plain_image


def read_as_trained(path: Path, rule: ReadingRule) -> NDArray[np.uint8]:
    """Read an image file by the rule of a model's training data.

    Returns:
        (h, w, channels): the very pixels that convert would have made of the file.

    Raises:
        DataError: Unreadable, or the file does not fit the rule; says what the model was trained on.
    """
    try:
        read = read_pixels(path, exif=rule.exif, alpha=_alpha(rule), channels=rule.channels, scale=rule.image_scale)
    except DataError as error:
        raise _of_training(error, rule) from error
    check_fits(read.bands, read.type, rule, place=path)
    return with_channels(read.pixels)


def array_as_trained(values: NDArray[Any], rule: ReadingRule, *, place: object) -> NDArray[np.uint8]:
    """Apply a rule to pixels as a file holds them.

    Args:
        values: (h, w) or (h, w, bands), of a file's type; colors in the order red, green, blue. Without named channels,
            a fourth band is alpha.
        rule: Of the model.
        place: For messages.

    Returns:
        (h, w, channels).

    Raises:
        DataError: They do not fit the rule.
    """
    if values.ndim not in (2, 3) or 0 in values.shape:
        raise DataError(place, f"an array of shape {values.shape}", "give (height, width) or (height, width, bands)")
    bands = values.reshape(*values.shape[:2], -1)
    has_alpha = rule.channels is None and bands.shape[2] == 4
    return bands_as_trained(bands, rule, has_alpha=has_alpha, place=place)


def bands_as_trained(values: NDArray[Any], rule: ReadingRule, *, has_alpha: bool, place: object) -> NDArray[np.uint8]:
    """Apply a rule to (h, w, bands); see ``array_as_trained``.

    Args:
        values: The bands.
        rule: Of the model.
        has_alpha: The last band is alpha.
        place: For messages.

    Raises:
        DataError: They do not fit the rule.
    """
    try:
        pixels, bands = as_pixels(
            values,
            has_alpha=has_alpha,
            alpha=_alpha(rule),
            channels=rule.channels,
            scale=rule.image_scale,
            place=place,
        )
    except DataError as error:
        raise _of_training(error, rule) from error
    check_fits(bands, values.dtype.name, rule, place=place)
    return with_channels(pixels)


def image_as_trained(image: Image.Image, rule: ReadingRule, *, place: object) -> NDArray[np.uint8]:
    """Apply a rule to an image that Pillow has opened; see ``array_as_trained``."""
    if rule.exif == "apply" and image.getexif().get(ExifTags.Base.Orientation, 1) != 1:
        image = ImageOps.exif_transpose(image)
    values, has_alpha = bands_of(image)
    if rule.channels is not None or values.dtype != np.uint8:
        return bands_as_trained(values, rule, has_alpha=has_alpha, place=place)
    try:
        plain = plain_image(image.copy(), alpha=_alpha(rule), place=place).image
    except DataError as error:
        raise _of_training(error, rule) from error
    check_fits(1 if plain.mode == "L" else 3, "uint8", rule, place=place)
    return with_channels(to_bytes(np.array(plain), rule.image_scale, place=place))


def check_fits(bands: int, kind: str, rule: ReadingRule, *, place: object) -> None:
    """Refuse what training had none of.

    Args:
        bands: Of the image, alpha not counted where it is known to be one.
        kind: Numpy's name of its values' type.
        rule: Of the model.
        place: For messages.

    Raises:
        DataError: It does not fit.
    """
    problem = None
    if rule.channels is not None and rule.source_bands and bands not in rule.source_bands:
        problem = f"{bands} band{'s' if bands > 1 else ''}"
    elif rule.image_scale != "error" and rule.source_types and kind not in rule.source_types:
        problem = f"values of {kind}"
    if problem is not None:
        raise _of_training(DataError(place, problem, "data."), rule)


def with_channels(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return (h, w, channels) for gray (h, w), which becomes three equal channels, or an image that has them."""
    return np.repeat(pixels[:, :, None], 3, axis=2) if pixels.ndim == 2 else pixels


def _alpha(rule: ReadingRule) -> Alpha:
    return "opaque" if rule.alpha == "error" else "drop"


def _of_training(error: DataError, rule: ReadingRule) -> DataError:
    """Return an error whose remedy is one of convert's with one for those who use the model."""
    if "data." not in error.remedy:
        return error
    without = " without alpha" if "alpha" in error.problem else ""
    problem = error.problem.replace("data.channels", "the model")
    return DataError(error.place, f"{problem}; the model was trained on {rule.describe()}{without}", _REMEDY)


_REMEDY = "give images like those, or train on such as this one"
