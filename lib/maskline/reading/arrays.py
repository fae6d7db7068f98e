"""Masks that programs write as arrays: NumPy's .npy and MATLAB's .mat."""

import io
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from maskline.core.errors import DataError
from maskline.reading.images import check_pixels

ARRAY_SUFFIXES = frozenset((".npy", ".mat"))

_MAT_BEGIN, _PACKED = 128, 15  # of MATLAB's format 5: bytes in front of the variables; type of one packed by zlib
_WIDEST = 16  # bytes of a number
_HEAD_BYTES = 1 << 12  # room for a variable's name, type and shape

_REMEDY = "save whole numbers of shape (height, width)"
_NUMBERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "logical", "double", "single")


def read_array(path: Path) -> NDArray[np.int32]:
    """Read (h, w) whole numbers of a .npy file, or of the one such variable of a .mat file (to version 7).

    Pickled objects are refused: to load them would run their code.

    Raises:
        DataError: Damaged, of another form or too large; values that are no whole numbers of 32 bits.
    """
    values = _numpy(path) if path.suffix.lower() == ".npy" else _matlab(path)
    if values.ndim == 3 and 1 in (values.shape[0], values.shape[2]):
        values = values[0] if values.shape[0] == 1 else values[:, :, 0]
    if values.ndim != 2 or values.dtype.kind not in "biuf" or 0 in values.shape:
        raise DataError(path, f"an array of shape {values.shape}, type {values.dtype}", _REMEDY)
    if values.dtype.kind == "f":
        bad = ~np.isfinite(values)
        bad[~bad] = values[~bad] != np.rint(values[~bad])
        if bad.any():
            row, column = np.argwhere(bad)[0]
            problem = f"value {values[row, column]} at row {row}, column {column} is no whole number"
            raise DataError(path, f"{problem} ({int(bad.sum())} such pixels)", _REMEDY)
    if values.dtype.kind != "b" and not -(2**31) <= values.min() <= values.max() < 2**31:
        raise DataError(path, f"values {values.min()} to {values.max()}, more than 32 bits", _REMEDY)
    return np.asarray(values).astype(np.int32)


def _numpy(path: Path) -> NDArray[np.generic]:
    try:
        values = np.load(path, mmap_mode="r", allow_pickle=False)  # mapped: a header cannot ask for memory
    except (ValueError, EOFError, SyntaxError, OSError) as error:
        if isinstance(error, OSError) and error.errno:
            raise
        raise DataError(path, f"not a plain .npy file ({error})", _REMEDY) from error
    if not isinstance(values, np.ndarray):  # np.load opens archives of arrays whatever their name
        raise DataError(path, "an archive of arrays, not one array", "save it with numpy.save")
    _check_size(path, values.shape)
    return values


def _matlab(path: Path) -> NDArray[np.generic]:
    import scipy.io
    from scipy.io.matlab import MatReadError, matfile_version

    try:
        images = [
            (name, shape, file)
            for file in _variables(path, version=matfile_version(path)[0])
            for name, shape, kind in scipy.io.whosmat(io.BytesIO(file.head))
            if kind in _NUMBERS and len(shape) == 2 and max(shape) > 1
        ]
        if len(images) != 1:
            names = ", ".join(name for name, *_ in images) or "none"
            raise DataError(path, f"{len(images)} arrays that could be the mask ({names})", "save the mask alone")
        ((name, shape, file),) = images
        _check_size(path, shape)
        plain = file.plain(most=int(np.prod(shape, dtype=object)) * _WIDEST + _HEAD_BYTES)
        return np.asarray(scipy.io.loadmat(io.BytesIO(plain), variable_names=[name])[name])
    except NotImplementedError as error:
        raise DataError(path, "a .mat file of version 7.3 (HDF5)", "save it with -v7") from error
    except DataError:
        raise
    except (
        *(MatReadError, ValueError, KeyError, TypeError, EOFError, OverflowError, OSError),
        *(IndexError, struct.error, zlib.error),
    ) as error:
        if isinstance(error, OSError) and error.errno:
            raise
        raise DataError(path, f"not a MAT file ({error})", "replace the file") from error


@dataclass(frozen=True, slots=True)
class _Variable:
    """One of a .mat file of version 5 to 7, as a file of its own: SciPy would unpack it however large it is."""

    path: Path
    begin: bytes  # of the file
    element: bytes
    packed: bool

    @property
    def head(self) -> bytes:
        """The file's first bytes: name, type and shape."""
        plain = zlib.decompressobj().decompress(self.element, _HEAD_BYTES) if self.packed else self.element
        return self.begin + plain

    def plain(self, *, most: int) -> bytes:
        """Return the whole file, unpacked.

        Raises:
            DataError: The variable has more than ``most`` bytes.
        """
        if not self.packed:
            return self.begin + self.element
        unpacker = zlib.decompressobj()
        content = unpacker.decompress(self.element, most)
        if not unpacker.eof and (unpacker.unconsumed_tail or unpacker.decompress(b"", 1)):
            raise DataError(self.path, "unpacks to more than the size that it states", "replace the file")
        return self.begin + content


def _variables(path: Path, *, version: int) -> Iterator[_Variable]:
    """Yield the variables; of version 4, which packs nothing, the file as it is."""
    if version == 2:
        raise NotImplementedError("HDF5")
    with path.open("rb") as stream:
        if version == 0:
            yield _Variable(path, b"", stream.read(), packed=False)
            return
        begin = stream.read(_MAT_BEGIN)
        order = ">" if begin[126:128] == b"MI" else "<"
        while tag := stream.read(8):
            kind, count = struct.unpack(f"{order}II", tag)
            content = stream.read(min(count, path.stat().st_size))
            packed = kind == _PACKED
            yield _Variable(path, begin, content if packed else tag + content, packed=packed)


def _check_size(path: Path, shape: tuple[int, ...]) -> None:
    if len(shape) >= 2:
        check_pixels(path, int(np.prod(shape[1:], dtype=object)), int(shape[0]))
