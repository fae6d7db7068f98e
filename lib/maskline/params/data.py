"""The data section of params.yaml: where the data comes from and how it becomes images, masks and splits."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, model_validator

from maskline.params.base.own import OwnName
from maskline.params.base.types import Byte, Count, Positive, Section, Seed

if TYPE_CHECKING:
    DataName = str
else:  # a data set is known by its file
    _FORMATS = Path(__file__).resolve().parent.parent / "convert" / "formats"
    DataName = Literal[tuple(sorted(file.stem for file in _FORMATS.glob("[a-z]*.py")))]


class ClassParams(Section):
    """One class of the user's own data set."""

    name: str = Field(min_length=1, description="Name of the class.")
    color: tuple[Byte, Byte, Byte] = Field(description="Red, green, blue; also the color in `color` masks.")


class SyntheticParams(Section):
    """The synthetic fundus set."""

    num_train: Count = Field(default=24, description="Images for training and validation.")
    num_test: Count = Field(default=8, description="Images of the test split.")
    size: Annotated[int, Field(ge=64, le=4096)] = Field(default=256, description="Height and width, px.")
    seed: Seed = Field(default=7, description="Another seed draws other eyes.")


class SplitListsParams(Section):
    """Text files with one image a line, instead of the set's own splits."""

    train: str | None = Field(default=None, description="Images of train; null: all that are in no other list.")
    val: str | None = Field(default=None, description="Images of val; null: as where a set has none.")
    test: str | None = Field(default=None, description="Images of test; null: as where a set has none.")

    def files(self) -> "dict[Literal['train', 'val', 'test'], Path]":
        """Return the lists that are given."""
        given = {"train": self.train, "val": self.val, "test": self.test}
        return {split: Path(file) for split, file in given.items() if file is not None}  # type: ignore[misc]


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
        default=(), description="Classes in the order of their ids; only for `folder` and `labelme`."
    )
    ignore_index: Annotated[int, Field(ge=2, le=65535)] = Field(
        default=255, description="Mask value that never counts in losses, metrics, crops or weights."
    )
    mask_encoding: Literal["index", "palette", "binary", "binary_snapped", "color"] = Field(
        default="index",
        description="How `folder` masks store classes: ids as gray values, palette entries, 0/255, 0/255 that "
        "compression has blurred (each pixel becomes the nearer one), or RGB colors.",
    )
    channels: Annotated[tuple[Annotated[int, Field(ge=0, le=63)], ...], Field(min_length=1)] | None = Field(
        default=None,
        description="Channels of the image files to take, the first is 0; model.in_channels, mean and std must fit; "
        "null: RGB, where gray becomes three equal channels.",
    )
    image_scale: tuple[float, float] | Literal["error", "full_range"] = Field(
        default="error",
        description="Images of more than 8 bits: refused, scaled from all that their type holds, or from `[low, high]` "
        "to 0..255; values outside become 0 or 255.",
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
        if not isinstance(self.image_scale, str) and self.image_scale[0] >= self.image_scale[1]:
            raise ValueError(f"image_scale: {self.image_scale[0]:g} is not below {self.image_scale[1]:g}")
        return self

    @property
    def max_unpacked_bytes(self) -> int:
        """``max_unpacked_gib`` in bytes."""
        return int(self.max_unpacked_gib * 2**30)
