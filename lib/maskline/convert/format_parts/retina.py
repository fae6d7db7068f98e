"""What the sets of retinal vessels share: two classes, black and white masks, a field of view."""

from functools import partial
from pathlib import Path

from maskline.convert.format_parts.finding import Found
from maskline.convert.records import LayoutSettings, Record, SourceSet
from maskline.data.labels import LabelSet
from maskline.reading import masks


def vessel_set(records: list[Record], set_files: Found, settings: LayoutSettings) -> SourceSet:
    """Return records with the classes background and vessel, in MMSegmentation's colors."""
    return SourceSet(
        labels=LabelSet(
            class_names=("background", "vessel"),
            palette=((120, 120, 120), (6, 230, 230)),
            ignore_index=settings.ignore_index,
        ),
        records=records,
        read_mask=partial(read_vessels, exif=settings.exif),
        read_area=partial(masks.read_area, exif=settings.exif),
        problems=set_files.problems,
    )


def read_vessels(path: Path, *, exif: masks.Exif) -> masks.Ids:
    """Read a black and white mask; a palette or gray image of 0 and 1 is one too.

    Raises:
        DataError: Gray values between black and white.
    """
    return masks.read_snapped(path, exif=exif)
