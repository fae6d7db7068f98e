"""DVC's own text files, dvc.lock first of all: whole or untouched, whatever kills DVC while it writes one.

DVC (3.67) opens dvc.lock for writing, which empties it, and then writes its YAML piece by piece; so after each stage
the file is torn for a moment. A kill in that moment leaves one with which every DVC command ends: "'./dvc.lock'
validation failed". DVC has no setting for that and loads no code of a project. But fsspec, from which DVC's local file
system is made, loads the implementation that an installed package names (entry point ``fsspec.specs`` in
pyproject.toml). Thus this module is loaded as soon as DVC makes its local file system, and has that write text beside
the file and rename it. fsspec itself gets its own class, unchanged.

Not guaranteed: power cuts (nothing is synced, as with DVC alone), and a DVC of another environment, which does not see
this package. ``maskline doctor`` finds a torn file and says what to do.
"""

import io
import shutil
import sys
from os import PathLike
from pathlib import Path
from typing import IO, Any

from fsspec.implementations.local import LocalFileSystem

__all__ = ["LocalFileSystem", "WholeTextFile", "write_whole"]


class WholeTextFile(io.TextIOWrapper):
    """A text file for writing that is named ``.NAME.part`` until it is closed, and takes its target's place then.

    A block that ends with an exception leaves the target as it was. There is one temporary name for all writers, so
    that the next one takes what a kill has left; DVC locks what it writes.

    Args:
        target: What it becomes; a link is followed.
        encoding: As of ``open``.

    Raises:
        OSError: The temporary file cannot be made.
    """

    def __init__(self, target: str | PathLike[str], *, encoding: str | None = None) -> None:
        self._target = Path(target).resolve()
        self._part = self._target.with_name(f".{self._target.name}.part")
        super().__init__(self._part.open("w+b"), encoding=encoding)

    def close(self) -> None:
        """Write what is left and take the target's place.

        Raises:
            OSError: The disk is full, for one; the target is as it was.
        """
        if self.closed:
            return
        try:
            super().close()
            if self._target.exists():
                shutil.copymode(self._target, self._part)
            self._part.replace(self._target)
        except BaseException:
            self._part.unlink(missing_ok=True)
            raise

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if kind is None:
            self.close()
        else:
            super().close()
            self._part.unlink(missing_ok=True)


def write_whole(file_system: Any) -> None:
    """Have a file system class of DVC write text files whole.

    Args:
        file_system: A class with a method ``open(path, mode, encoding)`` that opens local files in place.
    """
    in_place = file_system.open

    def open_whole(self: Any, path: Any, mode: str = "r", encoding: str | None = None, **kwargs: Any) -> IO[Any]:
        target = Path(path)
        if mode in {"w", "w+"} and (target.is_file() or not target.exists()):
            try:
                return WholeTextFile(target, encoding=encoding)
            except OSError:  # a folder in which no file can be made, but perhaps this one written
                pass
        opened: IO[Any] = in_place(self, path, mode=mode, encoding=encoding, **kwargs)
        return opened

    file_system.open = open_whole


# Whoever else asks fsspec for local files has not begun to load DVC's file system.
if (_of_dvc := sys.modules.get("dvc_objects.fs.local")) is not None and hasattr(_of_dvc, "FsspecLocalFileSystem"):
    write_whole(_of_dvc.FsspecLocalFileSystem)
