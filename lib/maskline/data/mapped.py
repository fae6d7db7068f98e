"""Decoded samples of a split in one file that is mapped into memory: a crop reads only the pixels under it.

The file lies outside of DVC's outs, is named after all that it depends on, and can be deleted at any time.
"""

import fcntl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskline.core.errors import DataError
from maskline.core.files import replace_file, storage_errors


@dataclass(frozen=True, slots=True)
class Field:
    """An array of a sample.

    Args:
        name: Such as image.
        dtype: Of its values.
        shape: Of the array.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]

    @property
    def length(self) -> int:
        """Bytes."""
        return int(np.dtype(self.dtype).itemsize * np.prod(self.shape, dtype=np.int64))


class MappedSamples:
    """Samples in a file, made when it is first opened. Can be pickled.

    Args:
        folder: Of such files.
        key: Hash of the prepared data, and the split: ``HASH-SPLIT``.
        fields: Arrays of each sample, in the order in which they are stored.
    """

    def __init__(self, folder: Path, key: str, fields: Sequence[Sequence[Field]]) -> None:
        self._path = folder / f"{key}.bin"
        self._fields = fields
        lengths = [sum(field.length for field in sample) for sample in fields]
        self._starts = [0, *np.cumsum(lengths, dtype=np.int64).tolist()]
        self._pixels: NDArray[np.uint8] | None = None

    def make(self, read: Callable[[int], dict[str, NDArray[Any]]]) -> None:
        """Write the file unless it is there; those of other prepared data are removed.

        Args:
            read: Number of a sample -> its arrays by name; one sample is in memory at a time.

        Raises:
            DataError: As ``read`` raises it, or an array that is not of its field's form.
            StorageError: It cannot be written.
        """
        with storage_errors(self._path):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            lock = (self._path.parent / "lock").open("w")
        with lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # several training processes begin at once
            if self._path.is_file() and self._path.stat().st_size == self._starts[-1]:
                return
            for other in self._path.parent.glob("*.bin"):
                if other.name.split("-")[0] != self._path.name.split("-")[0]:
                    other.unlink()
            with replace_file(self._path) as part, part.open("wb") as stream:
                for i, sample in enumerate(self._fields):
                    arrays = read(i)
                    for field in sample:
                        array = arrays[field.name]
                        if (array.shape, array.dtype) != (field.shape, np.dtype(field.dtype)):
                            problem = (
                                f"the {field.name} is {array.dtype} {array.shape}, the manifest says {field.shape}"
                            )
                            raise DataError(self._path, problem, "run the convert stage again")
                        stream.write(np.ascontiguousarray(array).data)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_pixels": None}

    def read(self, i: int) -> dict[str, NDArray[Any]]:
        """Return the arrays of a sample by name, mapped and read-only."""
        if self._pixels is None:
            self._pixels = np.memmap(self._path, dtype=np.uint8, mode="r").view(np.ndarray)
        at, arrays = self._starts[i], {}
        for field in self._fields[i]:
            piece = self._pixels[at : at + field.length]
            arrays[field.name] = piece.view(field.dtype).reshape(field.shape)
            at += field.length
        return arrays
