"""Results as TIFF, with the place on earth that a GeoTIFF input has."""

from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

# Model pixel scale, tiepoints, transformation; geokey directory and its parameters; the value that stands for no data
# is left out, since it is one of the image's.
_GEO_TAGS = (33550, 33922, 34264, 34735, 34736, 34737)

GeoTags = list[tuple[int, int, int, Any, bool]]


def geo_tags(path: Path) -> GeoTags:
    """Return the GeoTIFF tags of a file as tifffile writes them; none for images without."""
    if path.suffix.lower() not in {".tif", ".tiff"}:
        return []
    try:
        with tifffile.TiffFile(path) as file:
            page_tags = file.pages[0].tags
            tags = [page_tags[code] for code in _GEO_TAGS if code in page_tags]
            return [(tag.code, int(tag.dtype), tag.count, tag.value, True) for tag in tags]
    except Exception:  # tifffile raises whatever it meets; the reader of the image itself says what is wrong
        return []


def write_tiff(path: Path, values: NDArray[Any], *, tags: GeoTags) -> None:
    """Write class ids (H, W) or float32 maps (C, H, W), each a band; compressed without loss."""
    tifffile.imwrite(
        path,
        np.ascontiguousarray(values),
        photometric="minisblack",
        planarconfig="separate" if values.ndim == 3 else None,
        compression="zlib",
        software=False,
        metadata=None,
        extratags=tags,
    )
