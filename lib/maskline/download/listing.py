"""A folder that stays where it is: data/raw then holds a listing of its files, and convert reads the files there.

The listing has names, sizes and SHA-256 and no times, so that equal files make equal bytes and DVC runs nothing again.
The times are kept in ``.maskline``: a file whose size, times and inode are those of the last listing is not read.
"""

import csv
import hashlib
import io
import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from maskline.core.errors import DataError
from maskline.core.files import sha256_file, storage_errors, write_text
from maskline.core.state_folder import state_folder
from maskline.download.archives import safe_name, source_archive

LISTING_NAME = "listing.csv"

_HEADER = ("file", "bytes", "sha256")
_JUNK = frozenset(("thumbs.db", "desktop.ini", "ehthumbs.db", "__macosx"))  # hidden files are left out by their dot
_TICK_NS = 2_000_000_000  # of the coarsest file systems
_THREADS = 8  # hashlib lets others work while it reads
_RUN = "run the download stage again (dvc repro --force download)"


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedFile:
    """A file of the folder, or the target of a link in it."""

    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Times:
    """What a file system says about a file: all of it changes where the content does, but within one tick."""

    bytes: int
    modified: int  # ns
    changed: int  # ns; of name, owner and content, which no program sets back
    inode: int


Listing = dict[str, ListedFile]
"""Path below the folder -> file, sorted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedFolder:
    """A folder and the listing that the download stage made of it.

    Args:
        folder: Where the files are.
        listing: The file that names them.
    """

    folder: Path
    listing: Path

    def sha256(self) -> str:
        """Return the hash of the listing, which stands for all files."""
        return sha256_file(self.listing)

    def check(self) -> None:
        """Compare the folder with the listing.

        Raises:
            DataError: A file was added, removed or changed since.
        """
        now, then = list_folder(self.folder), read(self.listing)
        changed = sorted(name for name in now.keys() | then.keys() if now.get(name) != then.get(name))
        if changed:
            kind = "added" if changed[0] not in then else "removed" if changed[0] not in now else "changed"
            more = f" and {len(changed) - 1} more files" if len(changed) > 1 else ""
            raise DataError(self.folder, f"{changed[0]}{more} {kind} since download listed it", _RUN)

    def link(self, target: Path) -> None:
        """Lay links to the files into an existing folder: the tree as an archive would unpack it."""
        _link(self.folder, read(self.listing), target)


def source(raw: Path, folder: Path | None) -> Path | ListedFolder:
    """Return what the download stage wrote: an archive, or the listing of a folder.

    Args:
        raw: The stage's output.
        folder: The folder that the listing is of, if it is one.

    Raises:
        DataError: Neither is there, or the folder is not.
    """
    listing = raw / LISTING_NAME
    if not listing.is_file():
        return source_archive(raw)
    if folder is None or not folder.is_dir():
        place = f"data.archive: {folder}"
        raise DataError(place, "no such folder, and data/raw holds a listing of it alone", "put it back there")
    return ListedFolder(folder=folder, listing=listing)


def list_folder(folder: Path) -> Listing:
    """Return the files below a folder; those whose times are kept are not read.

    Hidden files, system files such as Thumbs.db, and the project itself are left out; links are followed.

    Raises:
        DataError: A link to nothing or in a circle, a device, a file that cannot be read, or no file at all.
    """
    kept = _KeptTimes(folder)
    files = dict(sorted(_files(folder)))
    if not files:
        raise DataError(folder, "no files in it", "give the folder that holds the data set")
    hashes = {name: kept.sha256(name, times) for name, (_, times) in files.items()}
    unread = [name for name, sha256 in hashes.items() if sha256 is None]
    started = time.time_ns()
    with ThreadPoolExecutor(_THREADS) as pool:
        hashes |= dict(zip(unread, pool.map(lambda name: _hash(files[name][0]), unread, chunksize=64), strict=True))
    kept.write({name: (times, str(hashes[name])) for name, (_, times) in files.items()}, started=started)
    return {name: ListedFile(bytes=times.bytes, sha256=str(hashes[name])) for name, (_, times) in files.items()}


def link_folder(folder: Path, target: Path) -> None:
    """Lay links to the files that ``list_folder`` would list into an existing folder; none is read.

    Raises:
        DataError: As ``list_folder``.
    """
    _link(folder, sorted(name for name, _ in _files(folder)), target)


def write(target: Path, listing: Mapping[str, ListedFile]) -> None:
    """Write a listing as CSV."""
    sink = io.StringIO()
    writer = csv.writer(sink, lineterminator="\n")
    writer.writerow(_HEADER)
    writer.writerows((name, file.bytes, file.sha256) for name, file in listing.items())
    write_text(target, sink.getvalue())


def read(path: Path) -> Listing:
    """Read a listing.

    Raises:
        DataError: Damaged.
    """
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            rows = csv.reader(stream)
            if tuple(next(rows, ())) != _HEADER:
                raise ValueError("another header")
            return {name: ListedFile(bytes=int(size), sha256=sha256) for name, size, sha256 in rows}
    except (ValueError, csv.Error) as error:
        raise DataError(path, f"not a listing ({error})", _RUN) from error


def _link(folder: Path, names: Iterable[str], target: Path) -> None:
    real, made = folder.resolve(), set[Path]()
    with storage_errors(target):
        for name in names:
            path = target / name
            if path.parent not in made:
                path.parent.mkdir(parents=True, exist_ok=True)
                made.add(path.parent)
            path.symlink_to(real / name)


class _KeptTimes:
    """Times and hashes of a folder's files when they were last read, in ``.maskline``."""

    def __init__(self, folder: Path) -> None:
        key = hashlib.sha256(str(folder.resolve()).encode(errors="surrogateescape")).hexdigest()
        self._path = state_folder("listings", f"{key[:16]}.json")
        try:
            self._files = dict(json.loads(self._path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):  # none yet, or torn: then all is read
            self._files = {}

    def sha256(self, name: str, times: Times) -> str | None:
        """Return the hash of a file that has these times still; None: read it."""
        *numbers, sha256 = self._files.get(name) or [None]
        return sha256 if numbers == [times.bytes, times.modified, times.changed, times.inode] else None

    def write(self, files: Mapping[str, tuple[Times, str]], *, started: int) -> None:
        """Keep what was read, but for files so new that an edit in the same tick would show no other time."""
        kept = {
            name: [times.bytes, times.modified, times.changed, times.inode, sha256]
            for name, (times, sha256) in files.items()
            if max(times.modified, times.changed) < started - _TICK_NS
        }
        if kept != self._files:
            write_text(self._path, json.dumps(kept))


def _hash(path: str) -> str:
    try:
        return sha256_file(Path(path))
    except PermissionError as error:
        raise DataError(path, "not readable for this user", "chmod u+r") from error


def _files(folder: Path) -> Iterator[tuple[str, tuple[str, Times]]]:
    """Yield (path below the folder, (path, times)) of each file that counts."""
    project = os.path.realpath(os.environ.get("DVC_ROOT", "."))
    waiting = [(str(folder), "", frozenset({os.path.realpath(folder)}))]
    while waiting:
        place, prefix, above = waiting.pop()
        for entry in _entries(place):
            if entry.name.startswith(".") or entry.name.lower() in _JUNK:
                continue
            name = f"{prefix}{entry.name}"
            if entry.is_dir():
                real = os.path.realpath(entry.path)
                if real in above:
                    raise DataError(entry.path, "a link to a folder that it lies in", "remove the link")
                if real != project:
                    waiting.append((entry.path, f"{name}/", above | {real}))
                continue
            yield safe_name(folder, name).as_posix(), (entry.path, _times(entry))


def _entries(place: str) -> list["os.DirEntry[str]"]:
    try:
        with os.scandir(place) as entries:
            return list(entries)
    except OSError as error:
        raise DataError(place, (error.strerror or str(error)).lower(), "make the folder readable") from error


def _times(entry: "os.DirEntry[str]") -> Times:
    if not entry.is_file():
        if entry.is_symlink() and not Path(entry.path).exists():
            raise DataError(entry.path, "a link to nothing", "remove it, or put its target back")
        raise DataError(entry.path, "not a plain file", "remove it from the folder")
    stat = entry.stat()
    return Times(bytes=stat.st_size, modified=stat.st_mtime_ns, changed=stat.st_ctime_ns, inode=stat.st_ino)
