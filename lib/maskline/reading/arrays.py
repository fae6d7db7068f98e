"""Masks that programs write as arrays: NumPy's .npy and MATLAB's .mat."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from maskline.core.errors import DataError
from maskline.reading.images import check_pixels

ARRAY_SUFFIXES = frozenset((".npy", ".mat"))

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
    from scipy.io.matlab import MatReadError

    try:
        variables = [(name, shape) for name, shape, kind in scipy.io.whosmat(path) if kind in _NUMBERS]
        images = [(name, shape) for name, shape in variables if len(shape) == 2 and max(shape) > 1]
        if len(images) != 1:
            names = ", ".join(name for name, _ in images) or "none"
            raise DataError(path, f"{len(images)} arrays that could be the mask ({names})", "save the mask alone")
        ((name, shape),) = images
        _check_size(path, shape)
        return np.asarray(scipy.io.loadmat(path, variable_names=[name])[name])
    except NotImplementedError as error:
        raise DataError(path, "a .mat file of version 7.3 (HDF5)", "save it with -v7") from error
    except DataError:
        raise
    except (MatReadError, ValueError, KeyError, TypeError, EOFError, OverflowError, OSError) as error:
        if isinstance(error, OSError) and error.errno:
            raise
        raise DataError(path, f"not a MAT file ({error})", "replace the file") from error


def _check_size(path: Path, shape: tuple[int, ...]) -> None:
    if len(shape) >= 2:
        check_pixels(path, int(np.prod(shape[1:], dtype=object)), int(shape[0]))
