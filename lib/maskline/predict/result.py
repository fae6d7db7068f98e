"""What a model sees in one image, and the forms in which it is written."""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from maskline.core.errors import DataError
from maskline.core.files import replace_file, write_errors
from maskline.data.labels import LabelSet
from maskline.predict.tiff import GeoTags, write_tiff
from maskline.report import overlays

SUFFIXES = {
    "index": ".png",
    "palette": ".png",
    "overlay": ".jpg",
    "probabilities": ".npy",
    "index-tif": ".tif",
    "probabilities-tif": ".tif",
}
"""Kind of result -> suffix of its files."""

_USUAL = {
    ".png": "palette",
    ".jpg": "overlay",
    ".jpeg": "overlay",
    ".npy": "probabilities",
    ".tif": "index-tif",
    ".tiff": "index-tif",
}


@dataclass(frozen=True, slots=True)
class Result:
    """The classes of one image's pixels.

    Args:
        image: What the network saw, (h, w, channels), uint8.
        classes: Class ids, (h, w), uint8, uint16 above 256 classes.
        probabilities: (classes, h, w), float32, 0..1; of a model that gives labels alone, 1 at the label.
        labels: The classes' names and colors.
    """

    image: NDArray[np.uint8]
    classes: NDArray[Any]
    probabilities: NDArray[np.float32]
    labels: LabelSet

    @property
    def shares(self) -> dict[str, float]:
        """Class name -> share of the pixels, 0..1."""
        counts = np.bincount(self.classes.reshape(-1), minlength=self.labels.num_classes)
        return {name: float(n / counts.sum()) for name, n in zip(self.labels.class_names, counts, strict=True)}

    def overlay(self, *, opacity: float = 0.5) -> Image.Image:
        """Return the image under the classes' colors, RGB; a first class called background stays clear."""
        return Image.fromarray(overlays.overlay(self.image, self.classes, self.labels, opacity=opacity))

    def mask(self) -> Image.Image:
        """Return the class ids in the classes' colors: an indexed image, RGB above 256 classes."""
        return palette_image(self.classes, self.labels)

    def save(self, path: str | Path, *, kind: str | None = None, tags: GeoTags | None = None) -> None:
        """Write one form of the result, whole or not at all.

        Args:
            path: The file.
            kind: Of ``SUFFIXES``: index (class ids as gray values), palette (the same in colors), overlay,
                probabilities (numpy), index-tif, probabilities-tif. None: by the file's suffix, of which .png stands
                for palette.
            tags: GeoTIFF tags for the two of TIFF; see ``maskline.predict.tiff.geo_tags``.

        Raises:
            DataError: No form is known by that suffix or name.
            StorageError: It cannot be written.
        """
        path = Path(path)
        chosen = kind or _USUAL.get(path.suffix.lower())
        if chosen not in SUFFIXES:
            raise DataError(path, f"no form of a result ({kind or path.suffix})", f"name one of {', '.join(SUFFIXES)}")
        with replace_file(path) as part, write_errors(path):
            self._write(chosen, part, tags or [])

    def _write(self, kind: str, path: Path, tags: GeoTags) -> None:
        match kind:
            case "index":
                Image.fromarray(self.classes).save(path, format="PNG")
            case "palette":
                self.mask().save(path, format="PNG")
            case "overlay":
                self.overlay().save(path, format="JPEG", quality=92)
            case "probabilities":
                with path.open("wb") as stream:
                    np.save(stream, self.probabilities)
            case "index-tif":
                write_tiff(path, self.classes, tags=tags)
            case "probabilities-tif":
                write_tiff(path, self.probabilities, tags=tags)

    def _repr_png_(self) -> bytes:
        """Return the overlay as a PNG: what a notebook shows."""
        stream = io.BytesIO()
        self.overlay().save(stream, format="PNG")
        return stream.getvalue()


def palette_image(labels: NDArray[Any], label_set: LabelSet) -> Image.Image:
    """Return class ids (H, W) in the classes' colors: an indexed image, RGB above 256 classes."""
    if label_set.num_classes > 256:
        return Image.fromarray(np.asarray(label_set.palette, dtype=np.uint8)[labels])
    image = Image.fromarray(labels.astype(np.uint8), mode="P")
    image.putpalette([channel for color in label_set.palette for channel in color])
    return image
