"""MVTec AD and sets laid out like it: defects in test/, their masks in ground_truth/, good images without masks.

    bottle/train/good/000.png                   background
    bottle/test/good/000.png                    background
    bottle/test/broken_large/000.png            with
    bottle/ground_truth/broken_large/000_mask.png   (or 000.png: VisA, BTAD)

Classes: background, defect; 0/255 masks. The set's split is for methods that see no defect in training; since they all
lie in test/, it does not count here, and convert makes splits (``data.stratify`` gives each its share of defects). A
group is an image. Images of other folders than ``good`` without a mask are problems.

Source: Bergmann et al., "The MVTec Anomaly Detection Dataset", IJCV 129, 2021; mvtec.com/company/research/datasets,
CC BY-NC-SA 4.0.
"""

from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np

from maskline.convert.format_parts.finding import visible
from maskline.convert.format_parts.tree import Tree, both
from maskline.convert.records import LayoutSettings, Record, SourceSet
from maskline.core.errors import DataError
from maskline.data.labels import LabelSet
from maskline.reading import masks
from maskline.reading.images import IMAGE_SUFFIXES, image_size

_TRUTH = "ground_truth"
_GOOD = ("good", "ok")
_NO_MASK = "without a defect"


def read(folder: Path, settings: LayoutSettings) -> SourceSet:
    """Find images and masks.

    Raises:
        DataError: No mask is there.
    """
    files = list(visible(folder, IMAGE_SUFFIXES))
    truth = {_key(place): path for path, place in files if _TRUTH in _folders(place)}
    records, problems = [], []
    for path, place in files:
        folders = _folders(place)
        if _TRUTH in folders or not {"train", "test"} & set(folders):
            continue
        id_ = place.with_suffix("").as_posix()
        mask = truth.pop(_key(place), None) if folders[-1] not in _GOOD else path / _NO_MASK
        if mask is None:
            problems.append(DataError(place.as_posix(), "image without a mask", f"add it to {_TRUTH}/, or remove it"))
            continue
        records.append(Record(id=id_, group=id_, split=None, image=path, mask=mask))
    if not records:
        raise DataError("mvtec", f"no images in train/ and test/ with {_TRUTH}/ beside them", "give the set's archive")
    problems += [
        DataError(path.relative_to(folder).as_posix(), "mask without an image", "add the image, or remove it")
        for path in truth.values()
    ]
    return SourceSet(
        labels=LabelSet(
            class_names=("background", "defect"),
            palette=((0, 0, 0), (230, 80, 40)),
            ignore_index=settings.ignore_index,
        ),
        records=records,
        read_mask=partial(read_defect, exif=settings.exif),
        read_area=partial(masks.read_area, exif=settings.exif),
        problems=problems,
    )


def recognise(tree: Tree) -> str | None:
    """Return why a folder is such a set; None: it is none."""
    good = r"(?:train|test)/(?:good|ok)/[^/]+\.(?:png|jpe?g|bmp|tiff?)"
    return both(tree, good, r"ground_truth/[^/]+/[^/]+\.(?:png|bmp|tiff?)")


def read_defect(path: Path, *, exif: masks.Exif) -> masks.Ids:
    """Read a 0/255 mask, or return one of background alone, of its image's size.

    Raises:
        DataError: Other values.
    """
    if path.name == _NO_MASK:
        return np.zeros(image_size(path.parent, exif=exif), np.int32)
    return masks.read_binary(path, exif=exif)


def _folders(place: PurePosixPath) -> list[str]:
    return [part.lower() for part in place.parts[:-1]]


def _key(place: PurePosixPath) -> tuple[str, ...]:
    """Return what an image and its mask have in common: the kind of object, the kind of defect, the name."""
    above = tuple(part for part in place.parts[:-1] if part.lower() not in ("test", _TRUTH))
    return (*above, place.stem.removesuffix("_mask"))
