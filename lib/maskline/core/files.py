"""Files that are whole or absent: written under a temporary name beside the target, synced, then renamed.

The temporary name is fixed (``.NAME.part``), so that a format that stores its own file name still gives the
same bytes twice. Two writers of one target at a time are not guarded against here; DVC locks stages.
"""

import csv
import errno
import hashlib
import io
import json
import os
import re
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from maskline.core.errors import DataError, MasklineError, StorageError

_CHUNK_BYTES = 1 << 20
_SHOWN = 40  # characters on either side of what no file can hold


@contextmanager
def replace_file(target: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``target`` that becomes ``target`` when the block ends well.

    Raises:
        StorageError: The folder cannot be written or the disk is full. The former ``target`` stays whole.
    """
    target = Path(target)
    part = target.with_name(f".{target.name}.part")
    with storage_errors(target), _makes(part, target):
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield part
            _sync(part)
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)


@contextmanager
def replace_folder(target: Path) -> Iterator[Path]:
    """Yield an empty temporary folder beside ``target`` that takes its place when the block ends well.

    A reader sees the former folder or the new one, but for the moment between two renames, in which it sees
    none: POSIX cannot swap two folders portably.

    Raises:
        StorageError: As ``replace_file``.
    """
    target = Path(target)
    part = target.with_name(f".{target.name}.part")
    former = target.with_name(f".{target.name}.former")
    with storage_errors(target), _makes(part, target):
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists() and not target.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(target))
        if former.exists() and not target.exists():  # a kill between the two renames of an earlier run
            former.replace(target)
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir()
        try:
            yield part
            for file in sorted(part.rglob("*")):
                if file.is_file():
                    _sync(file)
            shutil.rmtree(former, ignore_errors=True)
            if target.exists():
                target.replace(former)
            part.replace(target)
            shutil.rmtree(former, ignore_errors=True)
        finally:
            shutil.rmtree(part, ignore_errors=True)


@contextmanager
def _makes(part: Path, target: Path) -> Iterator[None]:
    """Tell what cannot be made, as in /proc, which the system calls a file that is not there."""
    try:
        yield
    except FileNotFoundError as error:
        if error.filename is None or not part.is_relative_to(os.fspath(error.filename)):
            raise
        raise StorageError(target, "nothing can be made there", "name another path") from error


@contextmanager
def storage_errors(place: Path) -> Iterator[None]:
    """Turn the operating system's write errors inside the block into ``StorageError`` that names ``place``."""
    try:
        yield
    except OSError as error:
        told = storage_error(error, place)
        if told is None:
            raise
        raise told from error


def storage_error(error: OSError, place: object) -> StorageError | None:
    """Return what the operating system's error says of a disk, a folder or open files; None: it is of another kind."""
    remedy = _STORAGE_REMEDIES.get(error.errno or 0)
    if remedy is None or isinstance(error, StorageError):
        return None
    if error.errno in _IN_THE_WAY:
        place = error.filename2 or error.filename or place
    return StorageError(place, (error.strerror or str(error)).lower(), remedy)


@contextmanager
def write_errors(target: Path) -> Iterator[None]:
    """Turn what a library says of a write that failed into ``StorageError``; for blocks that write ``target`` alone.

    NumPy and Pillow keep the operating system's reason to themselves, which is nearly always a full disk.
    """
    with storage_errors(target):
        try:
            yield
        except OSError as error:
            if error.errno:
                raise
            remedy = _STORAGE_REMEDIES[errno.ENOSPC]
            raise StorageError(target, f"cannot be written ({error})", remedy) from error


_IN_THE_WAY = (errno.EEXIST, errno.ENOTDIR, errno.EISDIR)
_MOVE = "move what has that name away, or name another path"

_STORAGE_REMEDIES = {
    **dict.fromkeys(_IN_THE_WAY, _MOVE),
    errno.EFBIG: "allow larger files (ulimit -f unlimited); the former file is untouched",
    errno.ENOSPC: "free space on this disk and run the stage again; the former file is untouched",
    errno.EDQUOT: "free space in your quota and run the stage again; the former file is untouched",
    errno.EROFS: "write to a disk that is not read-only, or remount it; the former file is untouched",
    errno.EACCES: "make the folder writable for this user (chmod u+w); the former file is untouched",
    errno.EMFILE: "allow more open files (ulimit -n 1024), or set machine.workers to 0",
    errno.ENFILE: "end other programs: the whole machine has too many files open",
    errno.ENAMETOOLONG: "name a shorter path; the former file is untouched",
    errno.EPERM: "make the folder writable for this user (chmod u+w, chattr -i); the former file is untouched",
}


def read_plain(path: Path, *, most_bytes: int, error: type[MasklineError], place: object = None) -> bytes:
    """Return the bytes of a plain file; a pipe would be waited for, and a device may have no end.

    Args:
        path: The file.
        most_bytes: A larger one is refused, whatever size the system tells.
        error: Class of what is raised.
        place: How errors call the file; None: by its path.

    Raises:
        MasklineError: Of the class ``error``: not a plain file, or a larger one.
        OSError: It cannot be read.
    """
    place = path if place is None else place
    if not stat.S_ISREG(path.stat().st_mode):
        raise error(place, "not a plain file", "name a file that holds the text itself, no folder, pipe or device")
    with path.open("rb") as stream:
        content = stream.read(most_bytes + 1)
    if len(content) > most_bytes:
        raise error(place, f"more than {most_bytes >> 10} KiB", "shorten it, or name the right file")
    return content


def read_rows(path: Path, *, remedy: str) -> list[dict[str, str]]:
    """Return the rows of a CSV table, which somebody may have changed, by column; of one cut off, some are None.

    Raises:
        DataError: Not UTF-8, or as ``parse_rows``.
        FileNotFoundError: No such file.
    """
    try:
        text = path.read_bytes().decode()
    except UnicodeDecodeError as error:
        raise DataError(path, f"damaged table ({error})", remedy) from error
    return parse_rows(text, place=path, remedy=remedy)


def parse_rows(text: str, *, place: object, remedy: str) -> list[dict[str, str]]:
    """Return what ``read_rows`` does of a table's text.

    Raises:
        DataError: No table, such as one with a cell that is longer than any.
    """
    try:
        return list(csv.DictReader(io.StringIO(text, newline="")))
    except csv.Error as error:
        raise DataError(place, f"damaged table ({error})", remedy) from error


def write_text(target: Path, text: str) -> None:
    """Write ``text`` as UTF-8 with line feeds as line ends, whole or not at all.

    Raises:
        DataError: It has a name that is not UTF-8.
        StorageError: As ``replace_file``.
    """
    try:
        content = text.encode()
    except UnicodeEncodeError as error:
        raise not_utf8(error, target) from error
    write_bytes(target, content)


def not_utf8(error: UnicodeEncodeError, place: object) -> DataError:
    """Return what to say of a name, on its way to a place, that is not UTF-8."""
    text, ends = error.object, re.compile("[\\s\"']")
    name = ends.split(text[: error.start])[-1][-_SHOWN:] + ends.split(text[error.start :])[0][:_SHOWN]
    return DataError(place, f"would hold {name}, which is not UTF-8", "rename what has that name")


def write_bytes(target: Path, content: bytes) -> None:
    """Write ``content``, whole or not at all."""
    with replace_file(target) as part:
        part.write_bytes(content)


def write_json(target: Path, value: Any, *, sort_keys: bool = False) -> None:
    """Write ``value`` as indented JSON. NaN and infinity are refused: they are not JSON."""
    write_text(target, json.dumps(value, indent=2, sort_keys=sort_keys, allow_nan=False, ensure_ascii=False) + "\n")


def sha256_file(path: Path) -> str:
    """Return the SHA-256 of a file's bytes as 64 lower-case hex digits."""
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def sha256_json(value: Any) -> str:
    """Return the SHA-256 of ``value`` as canonical JSON (sorted keys, no spaces)."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def copy_stream(source: Any, sink: Any) -> None:
    """Copy a binary stream to another in chunks of one MiB."""
    shutil.copyfileobj(source, sink, _CHUNK_BYTES)


def _sync(path: Path) -> None:
    with path.open("rb") as stream:
        os.fsync(stream.fileno())
