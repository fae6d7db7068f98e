"""The data section of params.yaml: where the data comes from and how it becomes images, masks and splits."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from maskline.params_types import Byte, Count, Positive, Section, Seed

DataName = Literal[
    "synthetic_fundus",
    "ade20k",
    "camvid",
    "chase_db1",
    "cityscapes",
    "coco",
    "drive",
    "dsb2018",
    "folder",
    "hrf",
    "kvasir_seg",
    "labelme",
    "loveda",
    "magnetic_tile",
    "oxford_pets",
    "stare",
    "voc2012",
]


class ClassParams(Section):
    """One class of the user's own data set."""

    name: str = Field(min_length=1, description="Name of the class.")
    color: tuple[Byte, Byte, Byte] = Field(description="Red, green, blue; also the colour in `color` masks.")


class SyntheticParams(Section):
    """The drawn fundus set."""

    num_train: Count = Field(description="Images for training and validation.")
    num_test: Count = Field(description="Images of the test split.")
    size: Annotated[int, Field(ge=64, le=4096)] = Field(description="Height and width, px.")
    seed: Seed = Field(description="Another seed draws other eyes.")


class DataParams(Section):
    """Where the data comes from and how it becomes images, masks and splits."""

    name: DataName = Field(description="The data set.")
    layout: Annotated[str, Field(pattern=r"^.+\.py:[A-Za-z_]\w*$")] | None = Field(
        description="A layout of one's own, `path/to/file.py:function`, instead of that of `name`; null: none."
    )
    archive: str | None = Field(description="A zip, tar or folder on this machine to take instead of a download.")
    url: str | None = Field(description="Download address of one's own set, or another address of a known one.")
    sha256: Annotated[str, Field(pattern=r"^(sha256:)?[0-9a-fA-F]{64}$")] | None = Field(
        description="SHA-256 that the archive must have; null: the known one of the set, where there is one."
    )
    max_unpacked_gib: Positive = Field(description="An archive that unpacks to more GiB is refused.")
    classes: tuple[ClassParams, ...] = Field(
        description="Classes in the order of their ids; only for `folder` and `labelme`."
    )
    ignore_index: Annotated[int, Field(ge=2, le=65535)] = Field(
        description="Mask value that never counts in losses, metrics, crops or weights."
    )
    mask_encoding: Literal["index", "palette", "binary", "color"] = Field(
        description="How `folder` masks store classes: ids as grey values, palette entries, 0/255, or RGB colours."
    )
    alpha: Literal["error", "drop"] = Field(description="What to do with an image's alpha channel.")
    exif: Literal["error", "apply", "ignore"] = Field(description="What to do with an image's EXIF rotation.")
    val_fraction: Annotated[float, Field(ge=0, lt=1)] = Field(
        description="Share of the train groups moved to val where the set has no val split."
    )
    test_fraction: Annotated[float, Field(ge=0, lt=1)] = Field(
        description="Share of the groups moved to test where the set has no test split."
    )
    split_seed: Seed = Field(description="Which groups are moved.")
    num_folds: Annotated[int, Field(ge=0, le=100)] = Field(
        description="Folds of whole groups that train and val are cut into; 0: none, the fractions count."
    )
    fold: Annotated[int, Field(ge=0)] = Field(description="Which fold is val, from 0.")
    synthetic: SyntheticParams

    @model_validator(mode="after")
    def _check(self) -> "DataParams":
        if self.num_folds == 1:
            raise ValueError("num_folds 1 would leave nothing to train on: give 0 or at least 2")
        if self.fold and self.fold >= self.num_folds:
            raise ValueError(f"fold {self.fold} is not below num_folds {self.num_folds}")
        return self
