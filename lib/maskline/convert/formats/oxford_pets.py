"""Oxford-IIIT Pet: 7349 photographs of 37 breeds, mixed sizes.

    images/Abyssinian_1.jpg
    annotations/trimaps/Abyssinian_1.png       1 pet, 2 ground, 3 border
    annotations/trainval.txt, test.txt         first word of a line: the image

or, as index or palette PNGs of 0 ground, 1 cat, 2 dog, 255 border:

    images/Abyssinian_1.jpg
    label/Abyssinian_1.png                     the folder may also be called labels, masks or annotations

Classes: background, cat, dog. In trimaps the name tells which: breeds of cats begin with a capital. The border becomes
the ignore index. trainval.txt is train, test.txt test; the published lists leave 41 images out, and so does this, with
a remark on each; without lists there are no splits. Each image is a group. Some of the images are no JPEGs in spite of
their names; alpha channels are dropped.

Source: Parkhi et al., "Cats and Dogs", CVPR 2012. CC BY-SA 4.0. robots.ox.ac.uk/~vgg/data/pets (two archives: unpack
both into one folder and name that).
"""

from functools import partial
from pathlib import Path, PurePosixPath

from maskline.convert.format_parts.documents import load_lines
from maskline.convert.format_parts.finding import above, find, records, visible
from maskline.convert.format_parts.tree import Tree, both
from maskline.convert.records import LayoutSettings, SourceSet
from maskline.core.errors import DataError
from maskline.data.labels import LabelSet
from maskline.data.manifest import Split
from maskline.reading import masks

_KINDS = {"images": "image"} | dict.fromkeys(("trimaps", "label", "labels", "masks", "annotations"), "mask")
_LISTS: dict[str, Split] = {"trainval.txt": "train", "train.txt": "train", "val.txt": "val", "test.txt": "test"}


def read(folder: Path, settings: LayoutSettings) -> SourceSet:
    """Find images and masks, and the lists where they are.

    Raises:
        DataError: No file of this set is there.
    """
    set_files = find(folder, _meaning, name="oxford_pets", expected="images/NAME.jpg and annotations/trimaps/NAME.png")
    splits, problems = _splits(folder, set(set_files.files))
    unlisted = sorted(set(set_files.files) - set(splits)) if splits else []
    set_files.files = {id_: files for id_, files in set_files.files.items() if id_ in splits or not splits}
    return SourceSet(
        labels=LabelSet(
            class_names=("background", "cat", "dog"),
            palette=((0, 0, 0), (128, 0, 0), (0, 128, 0)),
            ignore_index=settings.ignore_index,
        ),
        records=records(folder, set_files, split=splits.get),
        read_mask=partial(read_pet, ignore_index=settings.ignore_index, exif=settings.exif),
        read_area=partial(masks.read_area, exif=settings.exif),
        problems=set_files.problems + problems,
        remarks=[(id_, "left out: in no list of the set") for id_ in unlisted],
        alpha="drop",
    )


def recognise(tree: Tree) -> str | None:
    """Return why a folder is this set; None: it is not."""
    return both(tree, r"images/[^/]+\.jpg", r"annotations/trimaps/[^/]+\.png")


def read_pet(path: Path, *, ignore_index: int, exif: masks.Exif) -> masks.Ids:
    """Read a trimap, if the folder is called so, or else a mask of ids.

    Raises:
        DataError: A value of neither.
    """
    if path.parent.name.lower() == "trimaps":
        table = {1: 1 if path.stem[0].isupper() else 2, 2: 0, 3: ignore_index}
    else:
        table = {0: 0, 1: 1, 2: 2, 255: ignore_index}
    return masks.read_mapped(path, table=table, exif=exif)


def _meaning(place: PurePosixPath) -> tuple[str, str] | None:
    kind = _KINDS.get(above(place))
    return (place.stem, kind) if kind else None


def _splits(folder: Path, ids: set[str]) -> tuple[dict[str, Split], list[DataError]]:
    """Return the split of each listed id, and a problem for each id that is listed but not there."""
    splits: dict[str, Split] = {}
    problems = []
    for path, place in visible(folder, (".txt",)):
        split = _LISTS.get(place.name.lower())
        if split is None:
            continue
        for number, line in enumerate(load_lines(path), start=1):
            words = line.split()
            if not words or words[0].startswith("#"):
                continue
            splits[words[0]] = split
            if words[0] not in ids:
                where = f"{place} line {number}"
                problems.append(
                    DataError(where, f"{words[0]} is not there", "add the files, or remove it from the list")
                )
    return splits, problems
