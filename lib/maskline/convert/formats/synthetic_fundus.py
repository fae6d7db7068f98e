"""The synthetic fundus set: as in ``folder``, SPLIT/images/PATIENT_SIDE.png, 0/255 masks, two eyes a patient."""

from dataclasses import replace
from functools import partial
from pathlib import Path

from maskline.convert.formats.folder import read_pairs
from maskline.convert.records import LayoutSettings, SourceSet
from maskline.data.labels import LabelSet
from maskline.reading import masks


def read(folder: Path, settings: LayoutSettings) -> SourceSet:
    """Pair images and masks by name; both eyes of a patient are one group.

    Raises:
        DataError: No images or no masks.
    """
    labels = LabelSet(
        class_names=("background", "vessel"),
        palette=((120, 120, 120), (6, 230, 230)),
        ignore_index=settings.ignore_index,
    )
    read_mask = partial(masks.read_binary, exif=settings.exif)
    source = read_pairs(folder, labels=labels, read_mask=read_mask, settings=settings)
    records = []
    for record in source.records:
        name = record.id.split("/")[-1]
        records.append(replace(record, id=name, group=name.split("_")[0]))
    return replace(source, records=records)
