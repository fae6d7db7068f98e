"""The download stage's work: one verified archive in ``data/raw``, or the listing of a folder that stays where it is.

In this order: drawn by the project; the user's archive or folder; the mirror folder; the download address. Every
archive is read whole and checked before it is taken; a former ``data/raw`` stays as it is until then.
"""

import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Literal
from urllib.parse import unquote, urlsplit

from maskline.core.errors import DataError
from maskline.core.files import replace_folder, sha256_file, storage_errors, write_json
from maskline.core.text import without_secrets
from maskline.download import archives, listing
from maskline.download.catalog import Published

SOURCE_NAME = "source.json"

_LONGEST_NAME = 200  # bytes; file systems have 255, of which a part file's suffix takes some

Origin = Literal["archive", "drawn"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is wanted.

    Args:
        name: Of the data set.
        archive: The user's archive or folder.
        watched: Other files of the user's, by their names in params.yaml, whose hashes are written down too, so that
            DVC sees their edits.
        url: The user's download address.
        sha256: 64 hex digits, maybe behind ``sha256:``, that the archive must have.
        published: Where the set is published.
        draw: Writes a synthetic set's archive to a path.
    """

    name: str
    archive: Path | None = None
    watched: Mapping[str, Path] = field(default_factory=dict)
    url: str | None = None
    sha256: str | None = None
    published: Published | None = None
    draw: Callable[[Path], None] | None = None

    @property
    def own_sha256(self) -> str | None:
        """The user's hash as lower-case hex digits."""
        return self.sha256.removeprefix("sha256:").lower() if self.sha256 else None

    @property
    def expected_sha256(self) -> str | None:
        """The user's hash, or else the published one."""
        return self.own_sha256 or (self.published.sha256 if self.published else None)

    @property
    def address(self) -> str | None:
        """The user's address, or else the published one."""
        return self.url or (self.published.url if self.published else None)

    @property
    def file(self) -> str | None:
        """Name of the archive in a mirror folder."""
        if self.published:
            return self.published.file
        return _file_name(self.url) if self.url else None

    @property
    def shown_address(self) -> str | None:
        """The address for logs and errors: without what opens it."""
        return without_secrets(self.address) if self.address else None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """An archive before it is checked."""

    path: Path
    place: object  # how errors call it
    file: str  # its own name
    origin: Origin
    expected_sha256: str | None


def fetch(order: Order, raw: Path, *, mirror: Path | None, downloads: Path, max_unpacked_bytes: int) -> str:
    """Put the archive or listing and ``source.json`` in place of ``raw``; return where it came from, for the log.

    Args:
        order: What is wanted.
        raw: Folder to replace.
        mirror: Folder of archives by their own names.
        downloads: Where a broken download waits to be resumed.
        max_unpacked_bytes: An archive that unpacks to more is refused.

    Raises:
        DataError: No archive at hand, or not the right one.
        StorageError: ``raw`` cannot be written.
    """
    with replace_folder(raw) as part:
        if order.draw is None and order.archive is not None and order.archive.is_dir():
            source = _listed(order, order.archive, part)
            place: object = order.archive
        else:
            source, place = _taken(order, part, mirror=mirror, downloads=downloads, max_bytes=max_unpacked_bytes)
        if order.watched:
            source["watched"] = {name: sha256_file(path) for name, path in order.watched.items() if path.is_file()}
        write_json(part / SOURCE_NAME, source)
    return str(place)


def _listed(order: Order, folder: Path, part: Path) -> dict[str, object]:
    """Write the listing of the user's folder; return what ``source.json`` says."""
    files = listing.list_folder(folder)
    target = part / listing.LISTING_NAME
    listing.write(target, files)
    sha256 = _checked_sha256(order.own_sha256, target, place=folder)
    return {
        "name": order.name,
        "file": folder.resolve().name,
        "sha256": sha256,
        "bytes": sum(file.bytes for file in files.values()),
        "files": len(files),
        "origin": "folder",
    }


def _taken(
    order: Order, part: Path, *, mirror: Path | None, downloads: Path, max_bytes: int
) -> tuple[dict[str, object], object]:
    """Put the checked archive into a folder; return what ``source.json`` says, and where it came from."""
    archive = _find(order, part / "incoming", mirror=mirror, downloads=downloads, max_bytes=max_bytes)
    with _called(archive):
        target = part / f"archive{archives.suffix(archive.path)}"
        if archive.path.parent == part:
            archive.path.replace(target)
        else:
            shutil.copyfile(archive.path, target)
    # The copy is what is checked, since the user's file may be another one by now.
    with _called(replace(archive, path=target)):
        sha256 = _checked_sha256(archive.expected_sha256, target, place=archive.place)
        if archive.place != order.archive:
            archives.inspect(target, max_bytes=max_bytes)
        else:  # looked at each time, where dvc.yaml says so
            _inspect_once(target, sha256, downloads=downloads, max_bytes=max_bytes)
    if archive.place == order.shown_address and archive.expected_sha256:
        _link(target, downloads / archive.expected_sha256)
    source: dict[str, object] = {
        "name": order.name,
        "file": archive.file,
        "sha256": sha256,
        "bytes": target.stat().st_size,
        "origin": archive.origin,
    }
    return source, archive.place


def _inspect_once(path: Path, sha256: str, *, downloads: Path, max_bytes: int) -> None:
    """Inspect an archive, unless one of the same bytes was found to be sound before."""
    sound = downloads / f"{sha256}.{max_bytes}.sound"
    if not sound.exists():
        archives.inspect(path, max_bytes=max_bytes)
        with suppress(OSError):
            sound.parent.mkdir(parents=True, exist_ok=True)
            sound.touch()


def _find(order: Order, incoming: Path, *, mirror: Path | None, downloads: Path, max_bytes: int) -> _Found:
    """Locate, draw or download the archive."""
    if order.draw is not None:
        return _drawn(order, incoming)
    if order.archive is not None:
        return _own(order, order.archive)
    if mirror is not None and not mirror.is_dir():
        raise DataError("MASKLINE_MIRROR", f"no such folder: {mirror}", "name a folder of archives, or unset it")
    if mirror is not None and order.file and (mirror / order.file).is_file():
        path = mirror / order.file
        return _Found(path=path, place=path, file=order.file, origin="archive", expected_sha256=order.expected_sha256)
    if order.address is None:
        raise DataError(
            "data.archive",
            f"null, and {order.name} has no download address",
            "set data.archive to a zip, a tar or a folder, or data.url to an address",
        )
    kept = downloads / order.expected_sha256 if order.expected_sha256 else None
    if kept is None or not kept.is_file() or sha256_file(kept) != order.expected_sha256:
        kept = None
        _download(order, incoming, downloads=downloads, max_bytes=max_bytes)
    return _Found(
        path=kept or incoming,
        place=kept or order.shown_address,
        file=order.file or "archive",
        origin="archive",
        expected_sha256=order.expected_sha256,
    )


def _drawn(order: Order, incoming: Path) -> _Found:
    for key, value in (("archive", order.archive), ("url", order.url)):
        if value is not None:
            raise DataError(f"data.{key}", f"{value} is set, but {order.name} is drawn, not read", "set it to null")
    assert order.draw is not None
    order.draw(incoming)
    return _Found(path=incoming, place="drawn", file="archive.zip", origin="drawn", expected_sha256=order.own_sha256)


def _own(order: Order, path: Path) -> _Found:
    if not path.is_file():
        raise DataError("data.archive", f"no such file or folder: {path}", "fix the path, or set it to null")
    if not os.access(path, os.R_OK):
        raise DataError(path, "not readable for this user", "chmod u+r")
    return _Found(path=path, place=path, file=path.name, origin="archive", expected_sha256=order.own_sha256)


def _download(order: Order, incoming: Path, *, downloads: Path, max_bytes: int) -> None:
    import pooch  # a second of imports that only this needs
    import requests

    from maskline.download.transfer import ResumingDownloader, one_at_a_time

    address, expected, shown = order.address, order.expected_sha256, order.shown_address
    assert address is not None
    _check_address(address, shown)
    name = order.file or "archive"
    downloader = ResumingDownloader(downloads / f"{name}.part", max_bytes=max_bytes, checked=expected is not None)
    pooch.get_logger().setLevel("WARNING")
    try:
        with storage_errors(downloads), one_at_a_time(downloads / name):
            pooch.retrieve(
                address,
                known_hash=f"sha256:{expected}" if expected else None,
                fname=incoming.name,
                path=incoming.parent,
                downloader=downloader,
            )
    except requests.exceptions.RequestException as error:
        raise DataError(
            shown,
            f"cannot be downloaded ({type(error).__name__})",
            f"fetch {name} from there on a connected machine, then set data.archive to its path "
            "or put it into the folder that MASKLINE_MIRROR names",
        ) from error
    except DataError:
        raise
    except ValueError as error:
        if not downloader.finished:  # a name in the address, or in one that it leads to, which no host can have
            raise DataError(shown, "leads to no host that there can be", "check the address (data.url)") from error
        # pooch's, after it removed the file
        raise DataError(
            shown,
            f"what came does not have the SHA-256 {expected}",
            "check the address; if the file has changed and you trust it, set data.sha256 to its hash",
        ) from error


def _check_address(address: str, shown: str | None) -> None:
    """Refuse what is no address, such as one whose password has ``/`` or ``#`` in it, before anything is made of it."""
    try:
        parts = urlsplit(address)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        remedy = "check it; in a password / is written as %2F, # as %23, ? as %3F and @ as %40"
        raise DataError("data.url", f"{shown} is no address", remedy) from error  # its own text may have the password
    if parts.scheme not in ("http", "https") or not host:
        raise DataError("data.url", f"{shown} is no http or https address", "set data.archive to a file's path")


def _link(source: Path, target: Path) -> None:
    """Give a file a second name, which takes no space; do nothing where the file system cannot."""
    with suppress(OSError):
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        target.hardlink_to(source)


def _file_name(url: str) -> str | None:
    """Return the name of the file behind an address, which leads to no other folder; None: it has none."""
    try:
        path = urlsplit(url).path
    except ValueError:
        return None
    name = PurePosixPath(unquote(path).replace("\\", "/")).name
    usable = name.isprintable() and name != ".." and len(name.encode(errors="replace")) <= _LONGEST_NAME
    return name if usable and name else None


def _checked_sha256(expected: str | None, path: Path, *, place: object) -> str:
    actual = sha256_file(path)
    if expected is not None and actual != expected:
        remedy = "fetch the file again, or set data.sha256 to its hash if you trust it"
        raise DataError(place, f"SHA-256 is {actual}, not {expected}", remedy)
    return actual


@contextmanager
def _called(archive: _Found) -> Iterator[None]:
    """Let errors about the file name the place it came from, not the temporary one."""
    try:
        yield
    except DataError as error:
        place = archive.place if error.place == str(archive.path) else error.place
        raise DataError(place, error.problem, error.remedy) from error
