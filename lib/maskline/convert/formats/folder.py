"""The user's own images and masks in folders.

    images/a.jpg      masks/a.png                      no splits: convert makes them
    train/images/...  train/masks/...  test/images/... a split folder above
    images/train/...  masks/train/...  images/test/... or below

``second/`` (a second observer's masks) and ``valid/`` (pixels that can be scored) may stand beside ``masks/``.
Masks are images, or arrays of class ids in .npy or .mat files. An image and its mask have the same path but for these
folders and the suffix; that path is the image's id, and each image is a group of its own. Split folders are train, val
(validation, valid) and test. Letter case does not matter; folders around all of this and files outside of it are
ignored, hidden ones too.
"""

from collections import defaultdict
from functools import partial
from pathlib import Path, PurePosixPath

from maskline.convert.format_parts import mask_values
from maskline.convert.records import LayoutSettings, ReadMask, Record, SourceSet
from maskline.core.errors import DataError
from maskline.data.labels import LabelSet
from maskline.data.manifest import Split
from maskline.reading import masks
from maskline.reading.arrays import ARRAY_SUFFIXES
from maskline.reading.images import IMAGE_SUFFIXES

_KINDS = {"images": "image", "masks": "mask", "second": "second", "valid": "valid"}
_SPLITS: dict[str, Split] = {
    "train": "train",
    "val": "val",
    "validation": "val",
    "valid": "val",
    "test": "test",
}

Found = dict[str, dict[str, list[Path]]]  # id -> kind -> files


def read(folder: Path, settings: LayoutSettings) -> SourceSet:
    """Pair images and masks by name.

    Raises:
        DataError: No images, no masks, or classes that do not fit the encoding.
    """
    labels = mask_values.label_set(settings)
    reader = mask_values.value_reader(settings, labels) or mask_reader(settings)
    return read_pairs(folder, labels=labels, read_mask=reader, settings=settings)


def read_pairs(folder: Path, *, labels: LabelSet, read_mask: ReadMask, settings: LayoutSettings) -> SourceSet:
    """Pair images and masks by name, for any set that is laid out as this module says.

    Raises:
        DataError: No images or no masks.
    """
    files_by_id, splits, problems = _find(folder)
    for kind, name in (("image", "images"), ("mask", "masks")):
        if not any(kinds.get(kind) for kinds in files_by_id.values()):
            raise DataError(f"{name}/", "no images in it", f"put the {kind} files into a folder called {name}")
    records = []
    for id_, kinds in sorted(files_by_id.items()):
        wrong = _pair_problem(folder, kinds)
        if wrong:
            problems.append(wrong)
            continue
        files = {kind: paths[0] for kind, paths in kinds.items()}
        records.append(
            Record(
                id=id_,
                group=id_,
                split=splits[id_],
                image=files["image"],
                mask=files["mask"],
                second=files.get("second"),
                valid=files.get("valid"),
            )
        )
    if any(splits.values()):
        problems += [
            DataError(record.image.relative_to(folder).as_posix(), "in no split folder, others are", "move it into one")
            for record in records
            if record.split is None
        ]
    return SourceSet(
        labels=labels,
        records=records,
        read_mask=read_mask,
        read_area=partial(masks.read_area, exif=settings.exif),
        problems=problems,
    )


def mask_reader(settings: LayoutSettings) -> ReadMask:
    """Return the reader that ``settings.mask_encoding`` asks for.

    Raises:
        DataError: ``binary`` or ``binary_snapped`` with other than two classes; ``color`` with one color twice.
    """
    colors = tuple(color for _, color in settings.classes)
    match settings.mask_encoding:
        case "index":
            return partial(masks.read_index, exif=settings.exif)
        case "palette":
            return partial(masks.read_palette, exif=settings.exif, colors=colors)
        case "binary" | "binary_snapped":
            if len(colors) != 2:
                raise DataError("data.classes", f"{len(colors)} classes with 0/255 masks", "give two classes")
            reader = masks.read_binary if settings.mask_encoding == "binary" else masks.read_snapped
            return partial(reader, exif=settings.exif)
        case "color":
            if len(set(colors)) != len(colors):
                raise DataError("data.classes", "two classes have one color", "give each class its own color")
            return partial(masks.read_color, colors=colors, exif=settings.exif)


def _find(folder: Path) -> tuple[Found, dict[str, Split | None], list[DataError]]:
    """Sort all files under ``folder`` by id and kind."""
    files_by_id: Found = defaultdict(lambda: defaultdict(list))
    splits: dict[str, Split | None] = {}
    problems = []
    for path in sorted(folder.rglob("*")):
        place = path.relative_to(folder)
        if not path.is_file() or any(part.startswith(".") or part == "__MACOSX" for part in place.parts):
            continue
        meaning = _meaning(PurePosixPath(place.as_posix()))
        if meaning is None:
            continue
        kind, split, id_ = meaning
        array = path.suffix.lower() in ARRAY_SUFFIXES and meaning[0] in ("mask", "second")
        if path.suffix.lower() not in IMAGE_SUFFIXES and not array:
            problems.append(DataError(place.as_posix(), "not an image file by its name", "move it out of this folder"))
            continue
        files_by_id[id_][kind].append(path)
        splits[id_] = split
    return files_by_id, splits, problems


def _meaning(place: PurePosixPath) -> tuple[str, Split | None, str] | None:
    """Return kind, split and id of a file; None where it is in no folder that this layout knows."""
    folders = [part.lower() for part in place.parts[:-1]]
    at = next((i for i, part in enumerate(folders) if part in _KINDS and part != "valid"), None)
    if at is None:
        at = folders.index("valid") if "valid" in folders else None
    if at is None:
        return None
    above, below = folders[:at], list(place.parts[at + 1 : -1])
    split = _SPLITS.get(above[-1]) if above else None
    if split is None and below and below[0].lower() in _SPLITS:
        split = _SPLITS[below.pop(0).lower()]
    id_ = "/".join([*below, place.stem])
    return _KINDS[folders[at]], split, f"{split}/{id_}" if split else id_


def _pair_problem(folder: Path, kinds: dict[str, list[Path]]) -> DataError | None:
    """Return what is wrong with the files of one id."""
    for kind, paths in kinds.items():
        if len(paths) > 1:
            names = " and ".join(path.name for path in paths)
            place = paths[1].relative_to(folder).as_posix()
            return DataError(place, f"two {kind} files of one name ({names})", "rename or remove one")
    if "image" in kinds and "mask" in kinds:
        return None
    place = next(iter(kinds.values()))[0].relative_to(folder).as_posix()
    if "image" in kinds:
        return DataError(place, "image without a mask", "add masks/ with the same name, or remove the image")
    return DataError(place, "mask without an image", "add images/ with the same name, or remove the file")
