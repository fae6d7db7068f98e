"""The data section of params.yaml: where the data comes from and how it becomes images, masks and splits."""

import difflib
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple

from pydantic import Field, model_validator

from maskline.params.base.own import OwnName
from maskline.params.base.types import Byte, Count, Positive, Section, Seed

if TYPE_CHECKING:
    DataName = str
else:  # a data set is known by its file
    _FORMATS = Path(__file__).resolve().parent.parent / "convert" / "formats"
    DataName = Literal[tuple(sorted(file.stem for file in _FORMATS.glob("[a-z]*.py")))]


IGNORE = "ignore"
"""The name of what never counts; no class can have it in the map."""

Rgb = tuple[int, int, int]

_NUMBER = re.compile(r"-?\d{1,10}")
_RANGE = re.compile(r"(-?\d{1,10})\s*-\s*(-?\d{1,10})")
_HEX = re.compile(r"#[0-9a-fA-F]{6}")
_COLOR = re.compile(r"\[?\s*(\d{1,3})\s*,\s*(\d{1,3})\s*,\s*(\d{1,3})\s*\]?")

_MASK_FILES = ("folder", "voc")
"""Sets whose masks are files of the user's own."""

LABELLED = ("coco", "coco_panoptic", "cvat", "label_studio", "labelme", "rle_csv", "supervisely", "via", "yolo")
"""Sets whose classes are the labels of a tool."""


FolderName = Annotated[str, Field(pattern=r"^[^/\\]+$")]
FileEnd = Annotated[str, Field(pattern=r"^[^/\\]*$")]
End = float | Annotated[str, Field(pattern=r"^p(100|[0-9]{1,2}(\.[0-9]+)?)$")]
ClassName = Annotated[str, Field(min_length=1, max_length=200)]


class ClassParams(Section):
    """One class of the user's own data set."""

    name: ClassName = Field(description="Name of the class.")
    color: tuple[Byte, Byte, Byte] = Field(description="Red, green, blue; also the color in `color` masks.")


class SyntheticParams(Section):
    """The synthetic fundus set."""

    num_train: Count = Field(default=24, description="Images for training and validation.")
    num_test: Count = Field(default=8, description="Images of the test split.")
    size: Annotated[int, Field(ge=64, le=4096)] = Field(default=256, description="Height and width, px.")
    seed: Seed = Field(default=7, description="Another seed draws other eyes.")


_Names = Annotated[tuple[str, ...], Field(min_length=1)]
_Split = Literal["train", "val", "test"]


class SplitListsParams(Section):
    """Text files with one image a line, or the images' names themselves, instead of the set's own splits."""

    train: str | _Names | None = Field(
        default=None, description="Images of train; null: all that are in no other list."
    )
    val: str | _Names | None = Field(default=None, description="Images of val; null: as where a set has none.")
    test: str | _Names | None = Field(default=None, description="Images of test; null: as where a set has none.")

    def given(self) -> dict[_Split, Path | tuple[str, ...]]:
        """Return the lists that are given: a text file, or names."""
        lists: dict[_Split, str | tuple[str, ...] | None] = {"train": self.train, "val": self.val, "test": self.test}
        return {
            split: Path(given) if isinstance(given, str) else given
            for split, given in lists.items()
            if given is not None
        }

    def files(self) -> dict[_Split, Path]:
        """Return the lists that are text files."""
        return {split: given for split, given in self.given().items() if isinstance(given, Path)}


class DataParams(Section):
    """Where the data comes from and how it becomes images, masks and splits."""

    name: DataName = Field(default="synthetic_fundus", description="The data set.")
    layout: OwnName | None = Field(
        default=None,
        description="A layout of one's own, `path/to/file.py:function`, instead of that of `name`; null: none.",
    )
    archive: str | None = Field(
        default=None, description="A zip, tar or folder on this machine to take instead of a download."
    )
    url: str | None = Field(
        default=None, description="Download address of one's own set, or another address of a known one."
    )
    sha256: Annotated[str, Field(pattern=r"^(sha256:)?[0-9a-fA-F]{64}$")] | None = Field(
        default=None,
        description="SHA-256 that the archive must have; null: the known one of the set, where there is one.",
    )
    max_unpacked_gib: Positive = Field(default=50, description="An archive that unpacks to more GiB is refused.")
    classes: tuple[ClassParams, ...] = Field(
        default=(), description="Classes in the order of their ids; only for `folder` and labelling tools."
    )
    ignore_index: Annotated[int, Field(ge=-(2**31), lt=2**31)] = Field(
        default=255,
        description="Mask value that never counts in losses, metrics, crops or weights. One below the number of "
        "classes is no class: the classes are then the other values, in order.",
    )
    mask_values: dict[str, ClassName] = Field(
        default={},
        description="What mask files hold, instead of mask_encoding: value (`127`), range (`'1-10'`) or color "
        "(`'[255, 0, 0]'`, `'#ff0000'`) to the name of a class, or to `ignore`; all others are refused. In annotations "
        "of a labelling tool: label to the name of a class, or to `ignore`. {}: values are ids, labels are classes.",
    )
    mask_encoding: Literal["index", "palette", "binary", "binary_snapped", "color"] = Field(
        default="index",
        description="How `folder` masks store classes: ids as gray values, palette entries, 0/255, 0/255 that "
        "compression has blurred (each pixel becomes the nearer one), or RGB colors.",
    )
    image_dir: FolderName = Field(
        default="images",
        description="Name of the folder of `folder` images; SPLIT in it stands for train, val, test and the like: "
        "`SPLIT_images`, or `SPLIT` alone; `.`: images and masks stand side by side, and mask_suffix or mask_prefix "
        "tells them apart.",
    )
    mask_dir: FolderName = Field(default="masks", description="Name of the folder of `folder` masks, likewise.")
    image_suffix: FileEnd = Field(
        default="",
        description="What the names of `folder` images end with that is no part of their ids, such as `_image` or "
        "`_leftImg8bit.png`; files that end otherwise are left out.",
    )
    mask_suffix: FileEnd = Field(
        default="", description="Likewise of masks, such as `_segmentation` or `_labelTrainIds.png`."
    )
    image_prefix: FileEnd = Field(
        default="", description="What the names of `folder` images begin with that is no part of their ids: `image_`."
    )
    mask_prefix: FileEnd = Field(default="", description="Likewise of masks: `mask_`.")
    line_width: Positive = Field(
        default=10.0, description="Width of lines, and diameter of points, in annotations of a labelling tool, px."
    )
    channels: Annotated[tuple[Annotated[int, Field(ge=0, le=63)], ...], Field(min_length=1)] | None = Field(
        default=None,
        description="Channels of the image files to take, the first is 0; model.in_channels, mean and std must fit "
        "(or be auto); null: RGB, where gray becomes three equal channels.",
    )
    image_scale: tuple[End, End] | Literal["error", "full_range"] = Field(
        default="error",
        description="Images of more than 8 bits: refused, scaled from all that their type holds, or from `[low, high]` "
        "to 0..255; values outside become 0 or 255. `[p1, p99.8]`, which images of 8 bits are scaled by too: from the "
        "1st to the 99.8th percentile of each channel of each image.",
    )
    alpha: Literal["error", "drop"] = Field(default="error", description="What to do with an image's alpha channel.")
    exif: Literal["error", "apply", "ignore"] = Field(
        default="error", description="What to do with an image's EXIF rotation."
    )
    val_fraction: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.15,
        description="Share of the train images, in whole groups, moved to val where the set has no val split.",
    )
    test_fraction: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.2, description="Share of the images, in whole groups, moved to test where the set has no test split."
    )
    split_seed: Seed = Field(default=0, description="Which groups are moved.")
    stratify: bool = Field(
        default=False, description="Splits and folds get their share of every class, by the classes in each mask."
    )
    own_splits: bool = Field(
        default=True, description="Whether the set's own splits count; false: all of it is split anew."
    )
    split_lists: SplitListsParams = SplitListsParams()
    train_images: Annotated[int, Field(ge=1)] | None = Field(
        default=None,
        description="So many of the train images, drawn by split_seed one by one, whatever their groups and classes; a "
        "smaller number is drawn out of a larger one's; the others are in no split. null: all.",
    )
    near_duplicates: Literal["error", "warn", "off"] = Field(
        default="error",
        description="Equal and nearly equal images in two splits; of nearly equal ones in published splits, warn at "
        "most. off: only equal ones are looked for, for a warning.",
    )
    num_folds: Annotated[int, Field(ge=0, le=100)] = Field(
        default=0, description="Folds of whole groups that train and val are cut into; 0: none, the fractions count."
    )
    fold: Annotated[int, Field(ge=0)] = Field(default=0, description="Which fold is val, from 0.")
    synthetic: SyntheticParams = SyntheticParams()

    @model_validator(mode="after")
    def _check(self) -> "DataParams":
        if self.num_folds == 1:
            raise ValueError("num_folds 1 would leave nothing to train on: give 0 or at least 2")
        if self.fold and self.fold >= self.num_folds:
            raise ValueError(f"fold {self.fold} is not below num_folds {self.num_folds}")
        if not isinstance(self.image_scale, str):
            low, high = (end.removeprefix("p") if isinstance(end, str) else f"{end:g}" for end in self.image_scale)
            of_one_kind = len({type(end) for end in self.image_scale}) == 1
            if of_one_kind and float(low) >= float(high):
                raise ValueError(f"image_scale: {low} is not below {high}")
        if (self.image_dir == ".") != (self.mask_dir == "."):
            raise ValueError("image_dir and mask_dir are both . or neither is; set the other one too")
        if self.image_dir == "." and not self.mask_suffix + self.mask_prefix:
            raise ValueError("image_dir . needs mask_suffix or mask_prefix, which tells masks from images; set one")
        class_names = tuple(entry.name for entry in self.classes)
        twice = next((name for name, count in Counter(class_names).items() if count > 1), None)
        if twice is not None:
            raise ValueError(f"classes: the name {twice!r} stands twice; give each class its own")
        if self.mask_values:
            check_values(self.mask_values, class_names, masks=self.name in _MASK_FILES and self.layout is None)
        return self

    @property
    def reads_mask_values(self) -> bool:
        """Whether the set is one that ``mask_values`` can be about; published ones have their own rules."""
        return self.layout is not None or self.name in (*_MASK_FILES, *LABELLED)

    @property
    def max_unpacked_bytes(self) -> int:
        """``max_unpacked_gib`` in bytes."""
        return int(self.max_unpacked_gib * 2**30)


class MaskValue(NamedTuple):
    """One line of the map.

    Args:
        key: As the file has it.
        values: First and last whole number; None: not numbers.
        color: Red, green, blue; None: no color. Neither of the two: the label of an annotation tool.
        class_name: What it means; None: never counts.
    """

    key: str
    values: tuple[int, int] | None
    color: Rgb | None
    class_name: str | None


def parsed_values(mapping: Mapping[str, str]) -> tuple[MaskValue, ...]:
    """Return the lines of the map in their order."""
    return tuple(_mask_value(key, name) for key, name in mapping.items())


def _names_of(lines: Iterable[MaskValue]) -> tuple[str, ...]:
    """Return the classes that a map names, in their order."""
    return tuple(dict.fromkeys(line.class_name for line in lines if line.class_name is not None))


def check_values(mapping: Mapping[str, str], class_names: tuple[str, ...], *, masks: bool) -> None:
    """Check a map.

    Args:
        mapping: As params.yaml has it.
        class_names: Of data.classes; empty: those of the map.
        masks: The set has mask files: each key is a number, a range or a color, and each class has one.

    Raises:
        ValueError: Problem; remedy.
    """
    lines = parsed_values(mapping)
    if class_names:
        _check_names(lines, class_names, masks=masks)
    if masks:
        _check_keys(lines)


def _mask_value(key: str, name: str) -> MaskValue:
    class_name = None if name == IGNORE else name
    text = key.strip()
    values: tuple[int, int] | None = None
    color: Rgb | None = None
    if _NUMBER.fullmatch(text):
        values = (int(text), int(text))
    elif match := _RANGE.fullmatch(text):
        values = (int(match[1]), int(match[2]))
    elif _HEX.fullmatch(text):
        color = (int(text[1:3], 16), int(text[3:5], 16), int(text[5:7], 16))
    elif match := _COLOR.fullmatch(text):
        color = (int(match[1]), int(match[2]), int(match[3]))
    return MaskValue(key, values, color, class_name)


def _check_names(lines: tuple[MaskValue, ...], class_names: tuple[str, ...], *, masks: bool) -> None:
    if IGNORE in class_names:
        raise ValueError(f"a class of data.classes is called {IGNORE}, which mask_values takes for no class; rename it")
    for line in lines:
        if line.class_name is not None and line.class_name not in class_names:
            near = difflib.get_close_matches(line.class_name, class_names, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]}?" if near else f"give one of {', '.join(class_names)}, or {IGNORE}"
            raise ValueError(f"mask_values: {line.key} is {line.class_name!r}, which is none of data.classes; {hint}")
    without = [name for name in class_names if name not in _names_of(lines)]
    if masks and without:
        raise ValueError(f"mask_values has no value of the class {without[0]!r}; add it, or leave the class out")


def _check_keys(lines: tuple[MaskValue, ...]) -> None:
    for line in lines:
        odd = line.values is not None and not -(2**31) <= line.values[0] <= line.values[1] < 2**31
        odd |= line.color is not None and max(line.color) > 255
        if odd or (line.values is None and line.color is None):
            forms = "7, '1-10', '[255, 0, 0]' or '#ff0000'"
            raise ValueError(f"mask_values: {line.key!r} is no value, range or color; write it as {forms}")
    if len({line.color is None for line in lines}) > 1:
        raise ValueError("mask_values has colors and numbers; a mask has one of them")
    colors = [line.color for line in lines if line.color is not None]
    twice = next((line for line in lines if line.color and colors.count(line.color) > 1), None)
    if twice:
        raise ValueError(f"mask_values: the color {twice.key} stands twice; remove one")
    ranges = sorted((*line.values, line.key) for line in lines if line.values is not None)
    for (_, last, one), (first, _, other) in pairwise(ranges):
        if first <= last:
            raise ValueError(f"mask_values: {one} and {other} have values in common; give each value one line")
