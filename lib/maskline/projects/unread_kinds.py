"""What lies in a folder that no format takes, and the one thing to do about it."""

import csv
import re
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import PurePosixPath

from maskline.convert.format_parts.documents import load_json
from maskline.convert.format_parts.tree import Tree
from maskline.core.errors import DataError
from maskline.reading.images import IMAGE_SUFFIXES

_ARCHIVES = (".zip", ".rar", ".7z", ".tar", ".tgz", ".tar.gz", ".tar.bz2", ".tar.xz")
_BY_TYPE = (
    ((".nii", ".nii.gz"), "NIfTI is not read: save each slice as an image in images/ and its mask in masks/ (nibabel)"),
    ((".dcm", ".dicom"), "DICOM is not read: save each image as PNG or TIFF in images/, beside masks/ (pydicom)"),
    (
        (".npz", ".h5", ".hdf5"),
        "arrays in .npz and HDF5 are not read: save each image as images/NAME.png, its mask as masks/NAME.png or .npy",
    ),
    (
        (".parquet", ".arrow"),
        "images in Parquet are not read: save each image as images/NAME.png, its mask as masks/NAME.png (datasets)",
    ),
    (
        (".geojson", ".shp", ".gpkg", ".kml"),
        "shapes of a map are not read: draw them into masks/NAME.tif for each images/NAME.tif (gdal_rasterize)",
    ),
    (
        (".ndjson",),
        "Labelbox's export is not read: save its masks as masks/NAME.png for each of images/, or convert to COCO",
    ),
)
_BRUSH_PNG = re.compile(r"task-\d+-annotation-\d+-.*tag-.*\.png")
_MASK_WORD = re.compile("mask|label|annot|truth|gt|seg|target", re.IGNORECASE)
_BOXES_ALONE = "boxes have no outline: label outlines or masks, and export for segmentation"
_NAMED = 3
_TYPES = 5
_LINES = 5  # of a table or a list


def told(tree: Tree) -> tuple[str, str | None]:
    """Return what lies in a folder, by file types, and a remedy; None: it is none of the known kinds."""
    types = Counter(_type(place) for place in tree.places)
    shown = ", ".join(f"{count} {type_}" for type_, count in types.most_common(_TYPES))
    more = f", {len(types) - _TYPES} more types" if len(types) > _TYPES else ""
    what = f"{len(tree.places)} files ({shown}{more})" if types else "no files"
    kinds: tuple[Callable[[Tree], str | None], ...] = (_packed, _by_type, _of_a_tool, _texts, _table, _images_alone)
    return what, next((remedy for kind in kinds if (remedy := kind(tree)) is not None), None)


def brush_masks(tree: Tree) -> tuple[str, str] | None:
    """Return the first mask of Label Studio's PNG export, and the remedy; None: there is none."""
    place = next((place for place in tree.places if _BRUSH_PNG.fullmatch(place.name)), None)
    remedy = "export as JSON (Label Studio, --format label_studio), and put the file beside the images"
    return None if place is None else (place.as_posix(), remedy)


def _type(place: PurePosixPath) -> str:
    last = place.suffix.lower()
    return "".join(place.suffixes[-2:]).lower() if last in (".gz", ".bz2", ".xz") else last or place.name


def _packed(tree: Tree) -> str | None:
    names = [place.as_posix() for place in tree.places if place.name.lower().endswith(_ARCHIVES)]
    if not names:
        return None
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"unpack {', '.join(names[:_NAMED])}{more}, and give the folder with what was inside"


def _by_type(tree: Tree) -> str | None:
    for types, remedy in _BY_TYPE:
        if any(place.name.lower().endswith(types) for place in tree.places):
            return remedy
    return None


def _of_a_tool(tree: Tree) -> str | None:
    """Return the remedy for exports of labelling tools that tell too little, or nobody reads."""
    if table := tree.first_with(".csv", b"region_shape_attributes"):
        return f"{table} is VIA's CSV: export annotations as JSON, or save the project"
    if brush := brush_masks(tree):
        return brush[1]
    if export := tree.first_with(".json", b'"data_row"') or tree.first_with(".json", b'"Labeled Data"'):
        return f"{export}: {dict(_BY_TYPE)[('.ndjson',)]}"
    if tree.first_with(".xml", b"<annotation", b"<bndbox"):
        return _BOXES_ALONE
    if outlines := tree.first_with(".xml", b"<Annotation", b"<Vertex "):
        return f"{outlines} is Aperio's XML (MoNuSeg): draw its Vertices into masks/NAME.png (PIL's ImageDraw.polygon)"
    for place in [place for place in tree.places if place.suffix.lower() == ".json"][:_LINES]:
        try:
            load_json(tree.folder / place, place.as_posix())
        except DataError as error:
            return f"{place} is {error.problem}: {error.remedy}"
    return None


def _texts(tree: Tree) -> str | None:
    """Return the remedy for text files as YOLO has them, with boxes or in other places."""
    counts = {_shares(line) for place in tree.places for line in _first_lines(tree, place, ".txt")}
    if any(count > 4 for count in counts):
        return "YOLO's outlines: put the images into a folder called images, the text files into one called labels"
    return f"text files of YOLO: {_BOXES_ALONE}" if 4 in counts else None


def _shares(line: bytes) -> int:
    """Return how many coordinates a line of YOLO has; 0: it is none."""
    try:
        label, *values = map(float, line.split())
    except ValueError:
        return 0
    inside = label >= 0 and label == round(label) and all(-1 <= value <= 2 for value in values)
    return len(values) if inside and len(values) % 2 == 0 else 0


def _first_lines(tree: Tree, place: PurePosixPath, type_: str) -> list[bytes]:
    if place.suffix.lower() != type_:
        return []
    with (tree.folder / place).open("rb") as stream:
        return [stream.readline(1 << 16).removeprefix(b"\xef\xbb\xbf") for _ in range(_LINES)]


def _table(tree: Tree) -> str | None:
    """Return the remedy for a table that says which mask is whose."""
    images = {place.name for place in tree.places if place.suffix.lower() in IMAGE_SUFFIXES}
    images |= {PurePosixPath(name).stem for name in images}

    def named(cells: Iterable[str]) -> int:
        names = {PurePosixPath(cell.strip().replace("\\", "/")).name for cell in cells}
        return len({PurePosixPath(name).stem for name in names & images})

    for place in tree.places:
        text = [line.decode(errors="replace") for line in _first_lines(tree, place, ".csv")]
        with suppress(csv.Error):
            if any(named(cells) > 1 for sign in ",;\t" for cells in csv.reader(text, delimiter=sign)):
                return f"{place} pairs images with masks: give each mask its image's name, in masks/ beside images/"
    return None


def _images_alone(tree: Tree) -> str | None:
    """Return the remedy for images of one type in one folder, of which none is called a mask."""
    images = [place for place in tree.places if place.suffix.lower() in IMAGE_SUFFIXES]
    kinds = {(place.parent, place.suffix.lower()) for place in images}
    others = any(place.suffix.lower() in (".json", ".xml", ".csv") for place in tree.places)
    if len(kinds) != 1 or others or any(_MASK_WORD.search(place.name) for place in images):
        return None
    return "images alone: label them, or put masks of the same names into a folder called masks, beside images/"
