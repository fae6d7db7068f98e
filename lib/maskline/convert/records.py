"""What a layout module makes of an unpacked archive: records, a label set and the functions that read masks.

A layout is a function ``read(folder, settings) -> SourceSet``. It finds files and says what they mean; it opens
images only where they alone tell the group. Reading, checks, splits and writing are the same for every layout.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from maskline.convert.pairing import PairNames
from maskline.core.errors import DataError
from maskline.data.labels import LabelSet, Rgb
from maskline.data.manifest import Split
from maskline.data.reading_rule import Scale

ReadMask = Callable[[Path], NDArray[np.int32]]
"""Path -> (h, w) class ids. The path may be a folder or a text file; raises DataError on values it cannot map."""

ReadArea = Callable[[Path], NDArray[np.bool_]]
"""Path -> (h, w) bool."""


class MaskValue(NamedTuple):
    """What the user says about one value, range of values, color or label of the source.

    Args:
        key: As the user wrote it; the label of an annotation tool where the next two are None.
        values: First and last stored value.
        color: Stored color.
        class_name: What it means; None: never counts.
    """

    key: str
    values: tuple[int, int] | None
    color: Rgb | None
    class_name: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LayoutSettings:
    """What the user says about the source.

    Args:
        classes: Name and color of each class, in the order of ids; empty for sets that know their own.
        ignore_index: Value of prepared masks that never counts.
        mask_encoding: How masks store classes.
        exif: What to do with an EXIF rotation, of images and masks alike.
        alpha: What to do with an image's alpha channel.
        channels: Of the image files, those to take, the first is 0; None: RGB, or gray as RGB.
        scale: How values of images become 0..255; see ``ReadingRule.image_scale``.
        mask_ignore: Value of the source's masks that never counts, of any size; None: ``ignore_index``.
        names: How ``folder`` images and masks are called.
        mask_values: What values, colors or labels mean; empty: what they are.
        line_width: Of what labelling tools draw as a line or a point, px.
    """

    classes: tuple[tuple[str, Rgb], ...]
    ignore_index: int
    mask_encoding: Literal["index", "palette", "binary", "binary_snapped", "color"]
    exif: Literal["error", "apply", "ignore"]
    alpha: Literal["error", "drop"]
    channels: tuple[int, ...] | None
    scale: Scale
    mask_ignore: int | None = None
    mask_values: tuple[MaskValue, ...] = ()
    names: PairNames = field(default_factory=PairNames)
    line_width: float = 10.0

    def with_value(self, value: MaskValue) -> "LayoutSettings":
        """Return the same with one more line; the user's own line of that key wins."""
        return replace(self, mask_values=(value, *self.mask_values))


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One image and what belongs to it.

    Args:
        id: Unique in the set.
        group: Patient, scene or what else must not be in two splits.
        split: The set's own split; None: train, or whatever convert makes of it.
        image: Path of the image.
        mask: What ``SourceSet.read_mask`` reads.
        valid: What ``SourceSet.read_area`` reads: pixels that can be scored; None: all.
        second: A second observer's mask.
    """

    id: str
    group: str
    split: Split | None
    image: Path
    mask: Path
    valid: Path | None = None
    second: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceSet:
    """A whole set as its layout module found it.

    Args:
        labels: The classes.
        records: In any order.
        read_mask: Reads ``mask`` and ``second``.
        read_area: Reads ``valid``.
        problems: What is wrong with the files' names and places; convert adds its own and raises all at once.
        remarks: (image id, remark) on what the module leaves out because the set's makers do.
        published_splits: The splits are those of a benchmark: convert makes none that is missing.
        alpha: What to do with an alpha channel, for sets where it is known to mean nothing; None: as the user says.
    """

    labels: LabelSet
    records: list[Record]
    read_mask: ReadMask
    read_area: ReadArea
    problems: list[DataError] = field(default_factory=list)
    remarks: list[tuple[str, str]] = field(default_factory=list)
    published_splits: bool = False
    alpha: Literal["error", "drop"] | None = None


Layout = Callable[[Path, LayoutSettings], SourceSet]
