"""Archives: inspect them whole, unpack them safely, add members with the same bytes every time.

No archive is trusted: every member's path, kind and real unpacked size are checked, whatever its headers say.
"""

import bz2
import gzip
import io
import lzma
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

from maskline.core.errors import DataError
from maskline.core.files import copy_stream, storage_errors
from maskline.core.text import printable

MAX_MEMBERS = 1_000_000
"""An archive of more files is refused: no set of images that this project reads has as many."""

_CHUNK_BYTES = 1 << 20
_MOST_XZ_BYTES = 128 << 20  # of memory; what xz -9 packs needs 65 MiB, but a file may ask for 4 GiB
_MOST_HEADER_BYTES = 4 << 20  # of a tar; also the longest read of a member
_MOST_PATH_BYTES = 1024  # of a member; systems open 4096, the folder that it is unpacked to included
_HEADER_BYTES = 4096  # of a member of a tar, long names and times included
_UNTRUSTED = "do not use this archive"
_ZIP_DATE = (1980, 1, 1, 0, 0, 0)
_READ_ERRORS = (
    zipfile.BadZipFile,
    tarfile.TarError,
    gzip.BadGzipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    ValueError,
    NotImplementedError,
    RuntimeError,  # zipfile's for encrypted members
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A file in an archive."""

    name: PurePosixPath
    stream: IO[bytes]


def suffix(path: Path) -> str:
    """Return ``.zip``, ``.tar``, ``.tar.gz``, ``.tar.bz2`` or ``.tar.xz`` by the file's first bytes, not its name.

    Raises:
        DataError: Another kind of file.
    """
    remedy = "give a .zip, .tar, .tar.gz, .tar.bz2 or .tar.xz file, or a folder"
    if not stat.S_ISREG(path.stat().st_mode):  # a pipe would be waited for
        raise DataError(path, "not a plain file", remedy)
    with path.open("rb") as stream:
        head = stream.read(512)
    for magic, kind in ((b"PK", ".zip"), (b"\x1f\x8b", ".tar.gz"), (b"BZh", ".tar.bz2"), (b"\xfd7zXZ\x00", ".tar.xz")):
        if head.startswith(magic):
            return kind
    if head[257:262] == b"ustar":
        return ".tar"
    what = "an empty file" if not head else "neither a zip nor a tar archive"
    raise DataError(path, what, remedy)


def source_archive(raw: Path) -> Path:
    """Return the archive in a folder that the download stage wrote.

    Raises:
        DataError: There is none.
    """
    files = sorted(raw.glob("archive.*")) if raw.is_dir() else []
    if len(files) != 1:
        problem = f"{len(files)} archives in it" if files else "no archive in it"
        raise DataError(raw, problem, "run the download stage first (dvc repro download)")
    return files[0]


def inspect(path: Path, *, max_bytes: int, max_members: int = MAX_MEMBERS) -> int:
    """Read an archive whole, checksums included, and return its number of files.

    Args:
        path: The archive.
        max_bytes: Largest total size of its files, counted as they unpack.
        max_members: Most files.

    Raises:
        DataError: Truncated or damaged; a member that is a link or device, or whose path leads outside; too large.
    """
    count = 0
    for member in _checked(path, max_bytes=max_bytes, max_members=max_members):
        while member.stream.read(_CHUNK_BYTES):
            pass
        count += 1
    if count == 0:
        raise DataError(path, "an archive without files", "give the right archive")
    return count


def unpack(path: Path, folder: Path, *, max_bytes: int, max_members: int = MAX_MEMBERS) -> None:
    """Unpack an archive into an existing folder; arguments and errors as ``inspect``.

    Raises:
        StorageError: The disk is full or the folder cannot be written.
    """
    for member in _checked(path, max_bytes=max_bytes, max_members=max_members):
        target = folder / member.name
        with storage_errors(folder):
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("xb") as sink:
                copy_stream(member.stream, sink)


def add_stream(archive: zipfile.ZipFile, name: str, source: IO[bytes], *, size: int) -> None:
    """Add a stored member with a fixed date and fixed permissions."""
    info = zipfile.ZipInfo(name, date_time=_ZIP_DATE)
    info.external_attr = (stat.S_IFREG | 0o644) << 16
    info.create_system = 3  # the same bytes on every system
    info.file_size = size
    with archive.open(info, "w", force_zip64=size >= 1 << 31) as sink:
        copy_stream(source, sink)


def _checked(path: Path, *, max_bytes: int, max_members: int) -> Iterator[Member]:
    """Yield an archive's files with safe names and streams that count; each is read before the next is asked for."""
    opened = _zip_members if suffix(path) == ".zip" else _tar_members
    budget, seen = _Budget(path, max_bytes, max_bytes), set[PurePosixPath]()
    parents = set[PurePosixPath]()
    with _damage(path):
        for raw_name, stream in opened(path, max_members, max_bytes):
            name = safe_name(path, raw_name)
            if name in seen or name in parents or not seen.isdisjoint(name.parents):
                raise DataError(path, f"member {raw_name!r} stands twice", "make the archive anew")
            seen.add(name)
            parents.update(name.parents)
            yield Member(name=name, stream=_Counting(stream, budget))  # type: ignore[arg-type]


@contextmanager
def _damage(path: Path) -> Iterator[None]:
    """Turn what the archive modules raise into one ``DataError``."""
    remedy = "fetch or make the archive again"
    try:
        yield
    except DataError:
        raise
    except _READ_ERRORS as error:
        raise DataError(path, f"truncated or damaged archive ({error})", remedy) from error
    except OSError as error:
        if error.errno:  # of the disk, not of the archive
            raise
        raise DataError(path, f"truncated or damaged archive ({error})", remedy) from error


def _zip_members(path: Path, max_members: int, _max_bytes: int) -> Iterator[tuple[str, IO[bytes]]]:
    with zipfile.ZipFile(path) as archive:
        infos = archive.infolist()
        _check_count(path, len(infos), max_members)
        for info in infos:
            mode = info.external_attr >> 16
            kind = stat.S_IFMT(mode)
            if info.create_system == 3 and kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise DataError(path, f"member {info.filename!r} is a link or device", "make the archive without links")
            if info.flag_bits & 1:
                raise DataError(path, f"member {info.filename!r} is encrypted", "make the archive without a password")
            if info.compress_type not in (
                zipfile.ZIP_STORED,
                zipfile.ZIP_DEFLATED,
            ):  # of others, Python unpacks at once
                raise DataError(path, f"member {info.filename!r} is packed by bzip2, LZMA or the like", "use deflate")
            if info.is_dir():
                _check_folder_name(path, info.orig_filename)
                continue
            with archive.open(info) as stream:
                yield info.orig_filename, stream


def _tar_members(path: Path, max_members: int, max_bytes: int) -> Iterator[tuple[str, IO[bytes]]]:
    openers: dict[str, Any] = {".tar.gz": gzip.open, ".tar.bz2": bz2.open, ".tar.xz": _open_xz}
    plain: IO[bytes] = openers.get(suffix(path), open)(path, "rb")
    most = max_bytes + _MOST_HEADER_BYTES + max_members * _HEADER_BYTES
    small = _SmallReads(plain, _Budget(path, most, max_bytes))
    with plain, tarfile.open(fileobj=small, mode="r:") as archive:  # type: ignore[call-overload]
        for count, info in enumerate(archive, start=1):
            _check_count(path, count, max_members)
            if len(str(archive.pax_headers)) > _MOST_HEADER_BYTES:
                raise DataError(path, f"headers of more than {_MOST_HEADER_BYTES >> 20} MiB", _UNTRUSTED)
            archive.members.clear()  # it would keep every header
            if info.isdir():
                _check_folder_name(path, info.name)
                continue
            stream = archive.extractfile(info) if info.isreg() else None
            if stream is None:
                raise DataError(path, f"member {info.name!r} is a link or device", "make the archive without links")
            with stream:
                yield info.name, stream
        _check_tar_end(path, archive)


def _open_xz(path: Path, _mode: str) -> IO[bytes]:
    return io.BufferedReader(_Xz(path), _CHUNK_BYTES)


class _Xz(io.RawIOBase):
    """An unpacked .xz file in bounded memory, which ``lzma.open`` has no bound for; going back reads it anew."""

    def __init__(self, path: Path) -> None:
        self._packed = path.open("rb")
        self._restart()

    def _restart(self) -> None:
        self._packed.seek(0)
        self._position, self._unpacker = 0, self._new()

    @staticmethod
    def _new() -> lzma.LZMADecompressor:
        return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_MOST_XZ_BYTES)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        room = memoryview(buffer).cast("B")
        while True:
            if self._unpacker.eof:  # a file may be several, one behind the other, with zeros between them
                packed = (self._unpacker.unused_data or self._packed.read(_CHUNK_BYTES)).lstrip(b"\0")
                if not packed and not (packed := self._packed.read(_CHUNK_BYTES)).strip(b"\0"):
                    return 0
                self._unpacker = self._new()
            else:
                packed = self._packed.read(1 << 16) if self._unpacker.needs_input else b""
                if self._unpacker.needs_input and not packed:
                    raise EOFError("it ends too early")
            content = self._unpacker.decompress(packed, len(room))
            if content:
                room[: len(content)] = content
                self._position += len(content)
                return len(content)

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        target = self._position + offset if whence == io.SEEK_CUR else offset
        if target < self._position:
            self._restart()
        while self._position < target and self.read(min(_CHUNK_BYTES, target - self._position)):
            pass
        return self._position

    def close(self) -> None:
        self._packed.close()
        super().close()


def _check_tar_end(path: Path, archive: tarfile.TarFile) -> None:
    """Tell a tar that ends from one that was cut between two members, and read a compressed one's last checksum."""
    rest: Any = archive.fileobj
    rest.seek(archive.offset)
    if len(rest.read(tarfile.BLOCKSIZE)) < tarfile.BLOCKSIZE:
        raise DataError(path, "truncated or damaged archive (no end mark)", "fetch or make the archive again")
    while rest.read(_CHUNK_BYTES):
        pass


def _check_count(path: Path, count: int, max_members: int) -> None:
    if count > max_members:
        raise DataError(path, f"more than {max_members} members", "split the archive")


def _check_folder_name(path: Path, name: str) -> None:
    if name.strip("/") != "." or name.startswith("/"):  # "." is what tar -C FOLDER . begins with
        safe_name(path, name)


def safe_name(path: Path, name: str) -> PurePosixPath:
    """Return a member's path if it stays inside the target folder on every system.

    Args:
        path: Of the archive or folder, for messages.
        name: The path in it.

    Raises:
        DataError: It does not, or it is too long, no UTF-8, or has control characters.
    """
    plain = name.replace("\\", "/")
    parts = [part for part in plain.split("/") if part not in ("", ".")]
    if plain.encode(errors="replace").decode() != plain:
        raise DataError(path, f"member {name!r} has a name that is not UTF-8", "rename it and make the archive anew")
    controls = printable(plain) != plain or not {"\t", "\n"}.isdisjoint(plain)
    bad = plain.startswith("/") or ".." in parts or not parts or controls
    drive = bool(parts) and len(parts[0]) >= 2 and parts[0][1] == ":"
    if bad or drive:
        raise DataError(path, f"member {name!r} leads outside of the target folder", _UNTRUSTED)
    if any(len(part.encode()) > 255 for part in parts) or len(plain.encode()) > _MOST_PATH_BYTES:
        raise DataError(path, f"member {name[:40]!r}... has too long a name", "make the archive with shorter names")
    return PurePosixPath(*parts)


class _Budget:
    """Bytes that may still be unpacked: ``most``, of an archive that may have files of ``max_bytes``."""

    def __init__(self, path: Path, most: int, max_bytes: int) -> None:
        self.path, self._most, self._max_bytes, self._used = path, most, max_bytes, 0

    def spend(self, count: int) -> None:
        self._used += count
        if self._used > self._most:
            limit = self._max_bytes / 2**30
            raise DataError(
                self.path,
                f"unpacks to more than {limit:g} GiB",
                "raise data.max_unpacked_gib if you trust the archive",
            )


class _SmallReads:
    """A tar's stream for tarfile, which reads a header at once, however long it says that it is.

    It spends a budget for all that is read, what stands between the files and behind the last one too.
    """

    def __init__(self, stream: IO[bytes], budget: "_Budget") -> None:
        self._stream, self._budget = stream, budget
        self.seek, self.tell = stream.seek, stream.tell

    def read(self, count: int) -> bytes:
        if count > _MOST_HEADER_BYTES:
            raise DataError(self._budget.path, f"a header of more than {_MOST_HEADER_BYTES >> 20} MiB", _UNTRUSTED)
        content = self._stream.read(count)
        self._budget.spend(len(content))
        return content


class _Counting:
    """A readable stream that spends a budget."""

    def __init__(self, stream: IO[bytes], budget: _Budget) -> None:
        self._stream, self._budget = stream, budget

    def read(self, count: int = -1) -> bytes:
        with _damage(self._budget.path):
            content = self._stream.read(count if count >= 0 else _CHUNK_BYTES)
        self._budget.spend(len(content))
        return content
