"""PASCAL VOC 2012 segmentation, with SBD's annotations (VOC12aug) where they are there too.

    VOCdevkit/VOC2012/JPEGImages/2007_000027.jpg
    VOCdevkit/VOC2012/SegmentationClass/2007_000032.png       palette PNG
    VOCdevkit/VOC2012/SegmentationClassAug/2008_000002.png    SBD's as index PNG, optional
    VOCdevkit/VOC2012/ImageSets/Segmentation/train.txt        and val.txt
    benchmark_RELEASE/dataset/cls/2008_000002.mat             SBD's own files, optional
    benchmark_RELEASE/dataset/img/2008_000002.jpg

Classes: background and twenty more; 255 is void and becomes the ignore index. Where VOC and SBD both have a mask, VOC's
counts. val.txt is val; all else that has a mask is train (train.txt must then be there). Images without a mask are for
VOC's other tasks and are left out. Without lists (data in VOC's form) there are no splits. Each image is a group.

Source: Everingham et al., "The PASCAL Visual Object Classes Challenge", IJCV 111, 2015; Hariharan et al., "Semantic
contours from inverse detectors", ICCV 2011. Photographs under Flickr's terms.
host.robots.ox.ac.uk/pascal/VOC/voc2012/VOCtrainval_11-May-2012.tar
"""

from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np

from maskline.convert.format_parts.finding import above, find, records
from maskline.convert.format_parts.tree import NAME_LIST, Tree, both
from maskline.convert.format_parts.voc_lists import read_lists
from maskline.convert.records import LayoutSettings, SourceSet
from maskline.core.errors import DataError
from maskline.data.labels import LabelSet, bit_palette
from maskline.data.manifest import Split
from maskline.reading import masks
from maskline.reading.images import IMAGE_SUFFIXES

_NAMES = (
    "background",
    "aeroplane",
    "bicycle",
    "bird",
    "boat",
    "bottle",
    "bus",
    "car",
    "cat",
    "chair",
    "cow",
    "diningtable",
    "dog",
    "horse",
    "motorbike",
    "person",
    "pottedplant",
    "sheep",
    "sofa",
    "train",
    "tvmonitor",
)
_KINDS = {
    "jpegimages": "image",
    "img": "image of SBD",
    "segmentationclass": "mask",
    "segmentationclassaug": "mask of SBD",
    "cls": "mask of SBD",
}
_VOID = 255


def read(folder: Path, settings: LayoutSettings) -> SourceSet:
    """Find masks, their images and the lists.

    Raises:
        DataError: No file of this set is there.
    """
    expected = "JPEGImages/NAME.jpg and SegmentationClass/NAME.png"
    set_files = find(folder, _meaning, name="voc2012", expected=expected, suffixes=(*IMAGE_SUFFIXES, ".mat"))
    for files in set_files.files.values():
        for kind in ("image", "mask"):
            other = files.pop(f"{kind} of SBD", None)
            if other is not None:
                files.setdefault(kind, other)
    labelled = [id_ for id_, files in set_files.files.items() if "mask" in files]
    listed, problems = read_lists(folder, frozenset(labelled), within="segmentation", masks="SegmentationClass")
    set_files.files = {id_: set_files.files[id_] for id_ in labelled}
    if not set_files.files:
        raise DataError("voc2012", "no masks in SegmentationClass", "give the archive of the segmentation task")

    def split(id_: str) -> Split | None:
        return listed.get(id_, "train") if listed else None

    return SourceSet(
        labels=LabelSet(class_names=_NAMES, palette=bit_palette(len(_NAMES)), ignore_index=settings.ignore_index),
        records=records(folder, set_files, split=split),
        read_mask=partial(read_classes, ignore_index=settings.ignore_index, exif=settings.exif),
        read_area=partial(masks.read_area, exif=settings.exif),
        problems=set_files.problems + problems,
        published_splits=bool(listed),
    )


def recognise(tree: Tree) -> str | None:
    """Return why a folder is this set; None: it is not."""
    if tree.first(NAME_LIST):
        return None  # classes of another set in the same form, which ``voc`` reads
    return both(tree, r"JPEGImages/[^/]+", r"SegmentationClass(?:Aug)?/[^/]+")


def read_classes(path: Path, *, ignore_index: int, exif: masks.Exif) -> masks.Ids:
    """Read a palette or index PNG, or the segmentation in a .mat file of SBD.

    Raises:
        DataError: Unreadable, or a value above 20 that is not 255.
    """
    table = {i: i for i in range(len(_NAMES))} | {_VOID: ignore_index}
    if path.suffix.lower() != ".mat":
        return masks.read_mapped(path, table=table, exif=exif)
    import scipy.io
    from scipy.io.matlab import MatReadError

    try:
        content = scipy.io.loadmat(path, squeeze_me=True, struct_as_record=False, variable_names=["GTcls"])
        values = np.asarray(content["GTcls"].Segmentation).astype(np.int32)
    except (MatReadError, ValueError, KeyError, AttributeError, TypeError, OSError, NotImplementedError) as error:
        raise DataError(path, f"not a MAT file of SBD ({error!r})", "replace the file") from error
    return masks.mapped(values, table, place=path)


def _meaning(place: PurePosixPath) -> tuple[str, str] | None:
    kind = _KINDS.get(above(place))
    return (place.stem, kind) if kind else None
