"""Soft labels of a prepared set: how much of each pixel is of which class, by models or by a second annotator.

A folder of them holds a file an image and a list of these with their hashes; its name ends with the hash of the list. A
path in params.yaml therefore says which labels, and DVC sees a change of them as one of the params.
"""

import io
import json
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from maskline.core.errors import DataError
from maskline.core.files import replace_folder, sha256_file, write_bytes, write_json
from maskline.data.dataset import Sample
from maskline.data.labels import LabelSet

LIST_NAME = "soft_labels.json"
_FOLDER = "soft_labels-"
_DIGITS = 16
_ARRAY = "probabilities"
_WHOLE = 255
Part = tuple[slice, slice]  # rows and columns
_ALL: Part = (slice(None), slice(None))


class SoftLabels(Protocol):
    """The soft labels of images."""

    def read(self, sample: Sample, part: Part = _ALL) -> NDArray[np.uint8]:
        """Return those of an image's part: (h, w, classes) uint8, 255 for the whole pixel, 0 where there are none."""


@dataclass(frozen=True, slots=True)
class SecondAnnotator:
    """The masks of a second annotator.

    Args:
        labels: The classes.
    """

    labels: LabelSet

    def read(self, sample: Sample, part: Part = _ALL) -> NDArray[np.uint8]:
        """See ``SoftLabels``; there are none where the other mask is ignored, or in an image that has one mask."""
        if sample.second is None:
            return np.zeros((*sample.mask[part].shape, self.labels.num_classes), dtype=np.uint8)
        second = sample.second[part]
        planes = np.empty((*second.shape, self.labels.num_classes), dtype=np.uint8)
        for class_id in range(self.labels.num_classes):  # one by one: many times as fast as against all at once
            np.equal(second, class_id, out=planes[..., class_id].view(np.bool_))
        planes *= _WHOLE
        return planes


@dataclass(frozen=True, slots=True)
class SoftFolder:
    """A folder of soft labels.

    Args:
        folder: Of the files.
        files: Image -> name and SHA-256 of its file; an image that is missing has no soft labels.
        num_classes: Number of classes.
        list_sha256: SHA-256 of the list.
        keeps: What was read stays in memory.
    """

    folder: Path
    files: Mapping[str, tuple[str, str]]
    num_classes: int
    list_sha256: str
    keeps: bool
    _kept: dict[str, NDArray[np.uint8]] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def open(cls, folder: Path, labels: LabelSet, *, keeps: bool) -> "SoftFolder":
        """Open a folder.

        Args:
            folder: Its name ends with the hash of its list.
            labels: Classes of the data that it must be about.
            keeps: What was read stays in memory.

        Raises:
            DataError: It is not there, not what its name says, or about other classes.
        """
        path, remedy = folder / LIST_NAME, "make it again (maskline folds --soft-labels), or name another one"
        try:
            content = path.read_bytes()
            listed: dict[str, Any] = json.loads(content)
            files = {str(image): (str(row["file"]), str(row["sha256"])) for image, row in listed["images"].items()}
            names = listed["classes"]
        except FileNotFoundError as error:
            raise DataError(path, "no such file", remedy) from error
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(path, "no list of soft labels", remedy) from error
        hashed = sha256(content).hexdigest()
        if folder.name != _FOLDER + hashed[:_DIGITS]:
            problem = f"was changed: it is not the list of {folder.name}, but of {_FOLDER}{hashed[:_DIGITS]}"
            raise DataError(path, problem, remedy)
        if names != list(labels.class_names):
            raise DataError(path, f"is about the classes {names}, not {list(labels.class_names)}", remedy)
        return cls(folder, files, labels.num_classes, hashed, keeps)

    def read(self, sample: Sample, part: Part = _ALL) -> NDArray[np.uint8]:
        """See ``SoftLabels``.

        Raises:
            DataError: The file is missing, is not what was written, or of another size than the image.
        """
        if sample.id in self._kept:
            return self._kept[sample.id][part]
        if sample.id not in self.files:
            return np.zeros((*sample.mask[part].shape, self.num_classes), dtype=np.uint8)
        shape = (*sample.mask.shape, self.num_classes)
        name, hashed = self.files[sample.id]
        path, remedy = self.folder / Path(name).name, "make the folder again (maskline folds --soft-labels)"
        try:
            content = path.read_bytes()
        except OSError as error:
            raise DataError(path, "no such file", remedy) from error
        if sha256(content).hexdigest() != hashed:
            raise DataError(path, f"the soft labels of {sample.id} are not what was written", remedy)
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
                planes: NDArray[np.uint8] = arrays[_ARRAY]
        except (ValueError, KeyError, OSError, zipfile.BadZipFile) as error:
            raise DataError(path, "no soft labels", remedy) from error
        if planes.shape != shape or planes.dtype != np.uint8:
            problem = f"is {planes.dtype} of {planes.shape}, the image {sample.id} needs uint8 of {shape}"
            raise DataError(path, problem, remedy)
        if self.keeps:
            self._kept[sample.id] = planes
        return planes[part]


def write_soft_labels(parent: Path, labels: LabelSet, fields: Iterable[tuple[str, NDArray[np.floating[Any]]]]) -> Path:
    """Write a folder of soft labels and return it; the same ones give the same name.

    Args:
        parent: Where.
        labels: The classes.
        fields: Image and its probabilities, (classes, h, w) of 0..1; kept to a 255th.

    Raises:
        StorageError: It cannot be written.
    """
    begun = parent / f"{_FOLDER}new"
    with replace_folder(begun) as part:
        images = {}
        for number, (image, probabilities) in enumerate(fields):
            planes = np.rint(np.moveaxis(probabilities, 0, -1) * _WHOLE).astype(np.uint8)
            content = io.BytesIO()
            np.savez_compressed(content, **{_ARRAY: planes})
            name = f"{number:06d}.npz"
            write_bytes(part / name, content.getvalue())
            images[image] = {"file": name, "sha256": sha256(content.getvalue()).hexdigest()}
        write_json(part / LIST_NAME, {"classes": list(labels.class_names), "images": images})
    target = parent / (_FOLDER + sha256_file(begun / LIST_NAME)[:_DIGITS])
    with replace_folder(target) as part:
        part.rmdir()
        begun.replace(part)
    return target
