"""The data settings for a folder of one's own images and masks, read off the masks themselves."""

import json
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from maskline.core.errors import DataError
from maskline.data.labels import distinct_palette
from maskline.reading.images import IMAGE_SUFFIXES, open_image

_MOST_MASKS = 200  # looked at, spread over the set; convert checks every pixel of all
_MOST_COLORS = 64
_IGNORED = 255


def describe(data: Path, *, project: Path, names: Sequence[str]) -> list[str]:
    """Return KEY=VALUE for data.name, archive, mask_encoding and classes.

    Args:
        data: Folder with ``images`` and ``masks``; a zip or tar, whose classes must be named.
        project: Folder of the project, from which the path is told.
        names: Class names in the order of their ids; empty: made up.

    Raises:
        DataError: No such file, no masks in the folder, or masks that fit no encoding.
    """
    if not data.exists():
        raise DataError(data, "no such file or folder", "name a folder with images/ and masks/")
    encoding, colors = ("index", list(distinct_palette(len(names)))) if data.is_file() else _look(data)
    if data.is_file() and len(names) < 2:
        raise DataError(data, "an archive is not looked into", "name its classes: --class NAME, twice or more")
    if names and len(names) != len(colors):
        raise DataError(
            data, f"the masks have {len(colors)} classes, {len(names)} are named", "give --class once for each"
        )
    chosen = names or ["background", *(f"class_{i}" for i in range(1, len(colors)))]
    classes = ",".join(f"{{name: {_quoted(n)}, color: {list(c)}}}" for n, c in zip(chosen, colors, strict=True))
    place = os.path.relpath(data.resolve(), project.resolve())
    return [
        "data.name=folder",
        f"data.archive={_quoted(place)}",
        f"data.mask_encoding={encoding}",
        f"data.classes=[{classes}]",
    ]


def _look(folder: Path) -> tuple[str, list[tuple[int, int, int]]]:
    """Return the encoding and a color for each class."""
    masks = [
        path
        for path in sorted(folder.rglob("*"))
        if "masks" in (part.lower() for part in path.relative_to(folder).parts[:-1])
        and path.suffix.lower() in IMAGE_SUFFIXES
    ]
    if not masks:
        raise DataError(folder, "no masks", "put them into a folder called masks, beside one called images")
    seen: set[object] = set()
    modes = set()
    for path in masks[:: -(-len(masks) // _MOST_MASKS)]:
        image = open_image(path, exif="ignore")
        modes.add("color" if image.mode in ("RGB", "RGBA") else "palette" if image.mode == "P" else "grey")
        if image.mode in ("RGB", "RGBA"):
            colors = image.convert("RGB").getcolors(_MOST_COLORS)
            seen |= {color for _, color in colors} if colors else set(range(_MOST_COLORS + 1))
        else:
            seen |= set(np.unique(np.array(image)).tolist())
        if len(modes) > 1:
            raise DataError(path, "masks of more than one kind (gray, palette, color)", "save all in one way")
        if len(seen) > _MOST_COLORS and "color" in modes:
            raise DataError(path, f"more than {_MOST_COLORS} colors", "save it as PNG, without smoothed edges")
    return _classes(modes.pop(), {int(v) if isinstance(v, (bool, np.bool_)) else v for v in seen}, masks[0].parent)


def _classes(mode: str, seen: set[object], place: Path) -> tuple[str, list[tuple[int, int, int]]]:
    if mode == "color":
        return "color", sorted(color for color in seen if isinstance(color, tuple))
    values = {value for value in seen if isinstance(value, int)}
    if mode == "grey" and values <= {0, 255} and 255 in values:
        return "binary", list(distinct_palette(2))
    values -= {_IGNORED}
    count = max(values, default=0) + 1
    if count < 2:
        raise DataError(place, "the masks hold one value only", "check that they are the masks")
    if count > 256:
        raise DataError(place, f"gray values up to {count - 1}", "masks hold class ids from 0, or 0 and 255")
    return ("palette" if mode == "palette" else "index"), list(distinct_palette(count))


def _quoted(text: str) -> str:
    return "'" + json.dumps(text, ensure_ascii=False)[1:-1].replace("'", "\\'") + "'"
