"""The one owner of label knowledge: class ids, names, palette, ignore index, reduce-zero rule."""

import colorsys
import json
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from maskline.core.errors import DataError
from maskline.core.files import read_plain, write_json
from maskline.core.text import one_line

Rgb = tuple[int, int, int]

_REDUCED_IGNORE = 255
_MOST_BYTES = 64 << 20  # of labels.json


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelSet:
    """Classes of a data set; a class's id is its position in ``class_names``.

    Args:
        class_names: At least two names, each different.
        palette: One color a class, 0..255 each.
        ignore_index: Mask value that never counts, 0..65535, not a class id.
        reduce_zero_label: The source's value 0 means "other": it becomes ``ignore_index`` and every other
            value moves down by one (MMSegmentation's rule; applied by convert, never again later).
    """

    class_names: tuple[str, ...]
    palette: tuple[Rgb, ...]
    ignore_index: int = 255
    reduce_zero_label: bool = False

    def __post_init__(self) -> None:
        if len(self.class_names) < 2:
            raise DataError("labels", f"{len(self.class_names)} class names", "name at least two classes")
        doubles = sorted(name for name, count in Counter(self.class_names).items() if count > 1)
        if doubles:
            raise DataError("labels", f"class name {doubles[0]!r} stands twice", "give each class its own name")
        odd = sorted(name for name in self.class_names if one_line(name) != name)
        if odd:
            raise DataError("labels", f"class name {odd[0]!r}", "leave control characters and spaces at its ends out")
        if len(self.palette) != len(self.class_names):
            raise DataError(
                "labels",
                f"{len(self.palette)} colors for {len(self.class_names)} classes",
                "give one color a class",
            )
        for name, color in zip(self.class_names, self.palette, strict=True):
            if not all(0 <= value <= 255 for value in color):
                raise DataError("labels", f"color {list(color)} of {name}", "give three numbers from 0 to 255")
        if not self.num_classes <= self.ignore_index <= 65535:
            raise DataError(
                "labels",
                f"ignore_index {self.ignore_index} with classes 0..{self.num_classes - 1}",
                "choose a value from the number of classes to 65535",
            )

    @property
    def num_classes(self) -> int:
        """Number of classes, ignore not counted."""
        return len(self.class_names)

    @property
    def first_is_clear(self) -> bool:
        """Whether class 0 stays clear where colors lie over an image: it is called background, or is black."""
        return self.class_names[0].lower() in {"background", "_background_"} or self.palette[0] == (0, 0, 0)

    @property
    def mask_dtype(self) -> str:
        """Numpy type of prepared masks: uint8 while every value fits, else uint16."""
        return "uint8" if max(self.num_classes - 1, self.ignore_index) <= 255 else "uint16"

    @property
    def keys(self) -> tuple[str, ...]:
        """Class names as metric keys: ``[a-z0-9_]``, each different."""
        slugs = [re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_") or "class" for name in self.class_names]
        counts, keys = Counter(slugs), dict[str, None]()
        for i, slug in enumerate(slugs):
            key = slug if counts[slug] == 1 else f"{slug}_{i}"
            while counts[key] > (key == slug) or key in keys:
                key = f"{key}_{i}"
            keys[key] = None
        return tuple(keys)

    def write(self, path: Path) -> None:
        """Write labels.json."""
        write_json(path, self.to_dict())

    def to_dict(self) -> dict[str, object]:
        """Return plain JSON types."""
        return {
            "class_names": list(self.class_names),
            "palette": [list(color) for color in self.palette],
            "ignore_index": self.ignore_index,
            "reduce_zero_label": self.reduce_zero_label,
        }

    @classmethod
    def from_dict(cls, value: dict[str, object], *, place: object = "labels") -> "LabelSet":
        """Build from ``to_dict``'s output.

        Raises:
            DataError: A key is missing or has the wrong type.
        """
        try:
            return cls(
                class_names=tuple(str(name) for name in value["class_names"]),  # type: ignore[attr-defined]
                palette=tuple((int(r), int(g), int(b)) for r, g, b in value["palette"]),  # type: ignore[attr-defined]
                ignore_index=int(value["ignore_index"]),  # type: ignore[call-overload]
                reduce_zero_label=bool(value["reduce_zero_label"]),
            )
        except DataError as error:
            raise DataError(place, error.problem, error.remedy) from error
        except (KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
            problem = f"not a labels file ({type(error).__name__}: {str(error)[:200]})"
            raise DataError(place, problem, "give class_names, palette and ignore_index as convert does") from error

    @classmethod
    def read(cls, path: Path) -> "LabelSet":
        """Read labels.json.

        Raises:
            DataError: Missing file, not a plain one, or wrong content.
        """
        try:
            value = json.loads(read_plain(Path(path), most_bytes=_MOST_BYTES, error=DataError).decode())
        except DataError:
            raise
        except FileNotFoundError as error:
            raise DataError(path, "no such file", "run the convert stage first (dvc repro convert)") from error
        except (ValueError, RecursionError) as error:  # also where it is not UTF-8
            raise DataError(path, f"not JSON ({error})", "name the labels.json that the convert stage wrote") from error
        except OSError as error:
            raise DataError(path, f"cannot be read ({error.strerror})", "name a labels.json") from error
        return cls.from_dict(value, place=path)


def bit_palette(count: int) -> tuple[Rgb, ...]:
    """Return the colors that PASCAL VOC gives ids: each id's bits, spread over the high bits of the channels.

    No two of the first 2**24 are the same.

    Source: VOC development kit's ``VOCcolormap``, rewritten.
    """
    return tuple((_spread(id_, 0), _spread(id_, 1), _spread(id_, 2)) for id_ in range(count))


def distinct_palette(count: int) -> tuple[Rgb, ...]:
    """Return black, then bright colors of which neighbors are far apart in hue."""
    turns = [(0.62 * i) % 1.0 for i in range(count - 1)]
    bright = [[round(255 * part) for part in colorsys.hsv_to_rgb(turn, 0.75, 0.9)] for turn in turns]
    return ((0, 0, 0), *((r, g, b) for r, g, b in bright))


def _spread(id_: int, channel: int) -> int:
    return sum((id_ >> (3 * level + channel) & 1) << (7 - level) for level in range(8))
