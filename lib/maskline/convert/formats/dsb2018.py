"""Data Science Bowl 2018, stage1_train: 670 microscope images of cell nuclei, several kinds and sizes.

    stage1_train/ID/images/ID.png
    stage1_train/ID/masks/*.png          one 0/255 mask a nucleus

Classes: background, nucleus: a pixel of any mask is nucleus. Images are RGBA with an opaque alpha channel, which is
dropped. Nothing is ignored. Folders without ``masks`` (stage1_test) are left out. A group is a kind of image, by
size, dark or bright ground, gray or color: a split made by convert holds kinds that training has not seen; of fewer
than three kinds, each image is a group.

Source: Caicedo et al., "Nucleus segmentation across imaging experiments", Nature Methods 16, 2019; BBBC038v1, CC0.
data.broadinstitute.org/bbbc/BBBC038/stage1_train.zip
"""

import re
from collections import Counter
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from maskline.convert.format_parts.finding import visible
from maskline.convert.format_parts.tree import Tree, both
from maskline.convert.records import LayoutSettings, Record, SourceSet
from maskline.core.errors import DataError
from maskline.data.labels import LabelSet
from maskline.reading import masks
from maskline.reading.images import IMAGE_SUFFIXES, open_image

_OBJECT = re.compile(r"(?:mask|object|nucleus|cell)?[-_ ]?[0-9a-f]*\d[0-9a-f]*", re.IGNORECASE)
"""Name of a mask of one object, not of a class."""

_FEWEST_KINDS = 3
"""Of images, one for each split; where there are fewer, each image is a group of its own."""


def read(folder: Path, settings: LayoutSettings) -> SourceSet:
    """Find images and their folders of masks; opens each image to tell its kind.

    Raises:
        DataError: No file of this set is there.
    """
    images = sorted({path.parent for path in folder.rglob("images") if path.is_dir() and _kept(path, folder)})
    masked = sorted({path.parent for path in folder.rglob("masks") if path.is_dir() and _kept(path, folder)})
    records, problems = [], []
    for place in sorted({*images, *masked}):
        name = place.relative_to(folder).as_posix()
        image_files = [path for path, _ in visible(place / "images", IMAGE_SUFFIXES)]
        nuclei = any(visible(place / "masks", IMAGE_SUFFIXES))
        if len(image_files) > 1:
            problems.append(DataError(f"{name}/images", f"{len(image_files)} images, not one", "remove the others"))
        elif nuclei and not image_files:
            problems.append(DataError(f"{name}/masks", "masks without an image", "add images/, or remove the folder"))
        elif image_files and not nuclei and masked and "test" not in name.lower():
            problems.append(DataError(f"{name}/images", "image without masks", "add masks/, or remove the folder"))
        elif image_files and nuclei:
            records.append(
                Record(
                    id=place.name, group=_kind(image_files[0]), split=None, image=image_files[0], mask=place / "masks"
                )
            )
    if len({record.group for record in records}) < _FEWEST_KINDS:  # a set of one's own in this form
        records = [replace(record, group=record.id) for record in records]
    if not records and not problems:
        raise DataError("dsb2018", "no folder ID/images with ID/masks beside it", "give the archive of stage1_train")
    return SourceSet(
        labels=LabelSet(
            class_names=("background", "nucleus"),
            palette=((0, 0, 0), (0, 220, 120)),
            ignore_index=settings.ignore_index,
        ),
        records=records,
        read_mask=partial(read_nuclei, exif=settings.exif),
        read_area=partial(masks.read_area, exif=settings.exif),
        problems=problems,
        alpha="drop",
    )


def recognise(tree: Tree) -> str | None:
    """Return why a folder is this set, or one of its form: several masks, numbered or hashed, of most images."""
    published = both(tree, r"([0-9a-f]{64})/images/[0-9a-f]{64}\.png", r"[0-9a-f]{64}/masks/[0-9a-f]{64}\.png")
    if published is not None:
        return published
    files = [place for place in tree.places if len(place.parts) > 2 and place.suffix.lower() in IMAGE_SUFFIXES]
    own = [place for place in files if place.stem == place.parts[-3]]
    images = {place.parts[:-2]: place for place in own if place.parts[-2] == "images"}
    others = [place for place in files if place.parts[-2] == "masks" and place.stem != place.parts[-3]]
    counts = Counter(place.parts[:-2] for place in others if _OBJECT.fullmatch(place.stem))
    several = [at for at in images if counts[at] > 1]
    if not several or 2 * len(images.keys() & counts.keys()) <= len(images):
        return None
    return f"{images[several[0]]} has {counts[several[0]]} masks, each of an object"


def read_nuclei(path: Path, *, exif: masks.Exif) -> masks.Ids:
    """Merge a folder of 0/255 masks.

    Raises:
        DataError: A mask has other values or another size than the first.
    """
    merged: masks.Ids | None = None
    for file, _ in visible(path, IMAGE_SUFFIXES):
        mask = masks.read_binary(file, exif=exif)
        if merged is not None and mask.shape != merged.shape:
            sizes = f"{mask.shape[1]}x{mask.shape[0]} pixels, the masks before it {merged.shape[1]}x{merged.shape[0]}"
            raise DataError(file, sizes, "replace the file")
        merged = mask if merged is None else np.maximum(merged, mask)
    if merged is None:
        raise DataError(path, "no masks in it", "add them")
    return merged


def _kept(path: Path, folder: Path) -> bool:
    return not any(part.startswith(".") or part == "__MACOSX" for part in path.relative_to(folder).parts)


def _kind(path: Path) -> str:
    """Return size, ground and color of an image; ``unreadable`` for what convert will refuse."""
    try:
        pixels = np.array(open_image(path, exif="ignore").convert("RGB")).astype(np.int32)
    except DataError:
        return "unreadable"
    color = "grey" if np.ptp(pixels, axis=-1).mean() < 2 else "color"
    ground = "bright" if np.median(pixels) > 127 else "dark"
    return f"{pixels.shape[1]}x{pixels.shape[0]}-{ground}-{color}"
