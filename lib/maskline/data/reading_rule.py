"""How image files become what a network sees: written down by convert, obeyed by everyone who uses the model.

It stands in ``reading.json`` of the prepared data, in model.json and in the metadata of exported files, under
``reading``. Who applies it to a file is ``maskline.reading``.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from maskline.core.errors import DataError
from maskline.core.files import write_json

Scale = Literal["error", "full_range"] | tuple[float | str, float | str]

RULE_NAME = "reading.json"
RGB = 3
"""Channels of images where nothing else is asked for; gray ones have three equal channels."""

_REMEDY = "run the convert stage again (dvc repro --force convert)"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadingRule:
    """How image files become uint8 images (h, w, channels).

    Args:
        channels: Bands of a file that are taken, in this order, the first is 0; None: red, green, blue, where gray
            becomes three equal channels.
        image_scale: How values of more than 8 bits become 0..255: ``error``: there are none; ``full_range``: from all
            that their type holds; (low, high): from these, what is outside becomes 0 or 255. An end may be a percentile
            of each channel of each image, such as ``p99.8``; images of 8 bits are then scaled too.
        alpha: ``drop``: an alpha channel is left out; ``error``: no image had one that was not opaque all over.
        exif: ``apply``: images are turned as their EXIF says; ``ignore``: they stay as they are stored.
        color_order: How the bands of a color file are numbered, whatever its format stores.
        source_bands: Numbers of bands that the files have which the data was made of, alpha not counted where it is
            known to be one; empty: not known, and nothing is refused for it.
        source_types: Likewise the numpy types of their values.
    """

    channels: tuple[int, ...] | None = None
    image_scale: Scale = "error"
    alpha: Literal["error", "drop"] = "drop"
    exif: Literal["apply", "ignore"] = "apply"
    color_order: Literal["RGB"] = "RGB"
    source_bands: tuple[int, ...] = ()
    source_types: tuple[str, ...] = ()

    @property
    def of_each_image(self) -> bool:
        """Whether each image is scaled by values of its own, for which all of it has to be seen first."""
        return by_percentiles(self.image_scale)

    @property
    def num_channels(self) -> int:
        """Channels of an image that was read."""
        return RGB if self.channels is None else len(self.channels)

    def describe(self) -> str:
        """Return what the model was trained on, as part of a sentence."""
        taken = "RGB" if self.channels is None else f"channels {list(self.channels)}"
        bands = f" of {_or(self.source_bands)} bands" if self.source_bands else ""
        types = f" of {_or(self.source_types)}" if self.source_types else ""
        if self.image_scale == "error":
            scaled = ""
        elif self.image_scale == "full_range":
            scaled = ", scaled from all that their type holds"
        else:
            low, high = (end if isinstance(end, str) else f"{end:g}" for end in self.image_scale)
            scaled = f", scaled from {low} to {high}" + (" of each image" if self.of_each_image else "")
        return f"{taken} of images{bands}{types}{scaled}"

    def difference(self, other: "ReadingRule") -> str | None:
        """Return the first key by which another rule makes other images of the same file; None: there is none."""
        return next(
            (key for key in ("channels", "image_scale", "color_order") if getattr(self, key) != getattr(other, key)),
            None,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, value: Mapping[str, Any], *, place: object) -> "ReadingRule":
        """Build from ``to_dict``'s output.

        Raises:
            DataError: A key is not known, or a value is of another type.
        """
        try:
            plain: dict[str, Any] = {
                key: tuple(entry) if isinstance(entry, list) else entry for key, entry in value.items()
            }
            rule = cls(**plain)
            _check(rule)
        except (TypeError, ValueError, AttributeError) as error:
            raise DataError(place, f"not a reading rule of this version ({error})", _REMEDY) from error
        return rule

    def write(self, folder: Path) -> None:
        """Write reading.json of a prepared folder."""
        write_json(folder / RULE_NAME, self.to_dict())

    @classmethod
    def read(cls, folder: Path) -> "ReadingRule | None":
        """Return the rule of a prepared folder; None: it has none.

        Raises:
            DataError: The file is damaged.
        """
        path = Path(folder) / RULE_NAME
        try:
            value = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise DataError(path, f"not JSON ({error})", _REMEDY) from error
        return cls.from_dict(value, place=path)


def by_percentiles(scale: Scale) -> bool:
    """Return whether an end of image_scale is a percentile of each image."""
    return not isinstance(scale, str) and any(isinstance(end, str) for end in scale)


def percentile_of(end: str) -> float:
    """Return 99.8 of p99.8, an end of image_scale.

    Raises:
        ValueError: It is no percentile.
    """
    if re.fullmatch(r"p(100|[0-9]{1,2}(\.[0-9]+)?)", end) is None:
        raise ValueError(f"image_scale: {end!r} is no percentile such as p99.8")
    return float(end[1:])


UNKNOWN = ReadingRule()
"""Of models that no rule is known of: RGB of 8 bits, turned as EXIF says, without alpha."""


def _check(rule: ReadingRule) -> None:
    scale = rule.image_scale
    if rule.channels is not None and not (rule.channels and all(isinstance(each, int) for each in rule.channels)):
        raise ValueError(f"channels {rule.channels!r}")
    if isinstance(scale, str) and scale not in {"error", "full_range"}:
        raise ValueError(f"image_scale {scale!r}")
    if not isinstance(scale, str) and (len(scale) != 2 or not _in_order(*scale)):
        raise ValueError(f"image_scale {scale!r}")
    for key, values in (("alpha", ("error", "drop")), ("exif", ("apply", "ignore")), ("color_order", ("RGB",))):
        if getattr(rule, key) not in values:
            raise ValueError(f"{key} {getattr(rule, key)!r}")


def _in_order(low: float | str, high: float | str) -> bool:
    first, second = (percentile_of(end) if isinstance(end, str) else float(end) for end in (low, high))
    return first < second or isinstance(low, str) != isinstance(high, str)


def _or(values: tuple[object, ...]) -> str:
    return " or ".join(str(value) for value in values)
