"""A pooch downloader that resumes: what has come so far stays in a ``.part`` file, also after the process ended."""

import json
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import requests
from filelock import FileLock, Timeout

from maskline.core.errors import DataError
from maskline.core.files import write_json
from maskline.core.text import without_secrets
from maskline.download.progress import byte_bar

_CHUNK_BYTES = 1 << 16
_SHOWN = 40  # characters of what a server says
_TIMEOUT_S = (10, 60)  # to connect, between two bytes
_WAITS_S = (1.0, 2.0, 4.0, 8.0)  # before each further attempt

_BROKEN = (requests.exceptions.ChunkedEncodingError, requests.exceptions.ConnectionError, requests.exceptions.Timeout)


@contextmanager
def one_at_a_time(target: Path) -> Iterator[None]:
    """Hold the right to fetch a file, such that no two processes append to one part; another one waits, and says so.

    Who waited looks once more whether the file is there. The lock ends with its process, however that ends; its file
    stays, since whoever removed it would let two hold it.

    Raises:
        OSError: The folder cannot be written.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(target.with_name(f"{target.name}.lock"))
    try:
        lock.acquire(blocking=False)
    except Timeout:
        click.echo(f"{target.name}: another process downloads it; waiting for that one.", err=True)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


class ResumingDownloader:
    """Called by pooch as ``downloader(url, output_file, pooch)``.

    A broken transfer is continued with a Range request, a few times; If-Range makes sure that it is the same file. A
    server without ranges sends the whole file again. Where nothing at all can be reached it fails at once.

    Args:
        part: File that holds what has come so far; ``part`` + ``.json`` says of what.
        max_bytes: A longer file is refused.
        checked: Whether the caller checks the result's SHA-256. If not, only a file that the server marks (ETag,
            Last-Modified) is resumed.
    """

    def __init__(self, part: Path, *, max_bytes: int, checked: bool) -> None:
        self._part, self._state_file = part, part.with_name(part.name + ".json")
        self._max_bytes, self._checked = max_bytes, checked
        self._answered = False
        self.finished = False
        """Whether the whole file has come."""

    def __call__(self, url: str, output_file: str, pooch: Any) -> None:
        """Download ``url`` to ``output_file``.

        Raises:
            DataError: The server's answer is no file, or the file is too long.
            requests.RequestException: The server cannot be reached, or the transfer breaks again and again.
        """
        del pooch
        self._part.parent.mkdir(parents=True, exist_ok=True)
        with requests.Session() as session:
            for wait in (*_WAITS_S, None):
                try:
                    self._transfer(session, url)
                    break
                except _BROKEN:
                    if wait is None or not self._answered:
                        raise
                    time.sleep(wait)
        shutil.move(self._part, output_file)
        self.forget()
        self.finished = True

    def forget(self) -> None:
        """Remove what has come so far."""
        self._part.unlink(missing_ok=True)
        self._state_file.unlink(missing_ok=True)

    def _transfer(self, session: requests.Session, url: str) -> None:
        """Ask for what is missing and append it."""
        have, marker = self._resumable(url)
        headers = {"Accept-Encoding": "identity"}
        if have:
            headers["Range"] = f"bytes={have}-"
            if marker:
                headers["If-Range"] = marker
        with session.get(url, headers=headers, stream=True, timeout=_TIMEOUT_S) as answer:
            self._answered = True
            if answer.status_code == requests.codes.requested_range_not_satisfiable and have:
                if answer.headers.get("Content-Range") == f"bytes */{have}":
                    return  # it was complete
                self.forget()
                raise requests.exceptions.ChunkedEncodingError("the file on the server has changed")
            _check_status(answer, url)
            if answer.status_code != requests.codes.partial_content:
                have = 0
            elif not have:
                raise _no_file(url, "the server sent a part of the file (206), which was not asked for")
            elif not _continues(answer, have):
                self.forget()
                raise requests.exceptions.ChunkedEncodingError("the server sent another part of the file")
            write_json(self._state_file, {"url": url, "marker": _marker(answer)})
            self._append(answer, url, have)

    def _append(self, answer: requests.Response, url: str, have: int) -> None:
        length = answer.headers.get("Content-Length")
        if length and not re.fullmatch("[0-9]{1,18}", length):
            raise _no_file(url, f"the server says that it is {length[:_SHOWN]!r} bytes long")
        total = have + int(length) if length else None
        name = without_secrets(url).rsplit("/", 1)[-1]
        with self._part.open("r+b" if have else "wb") as sink, byte_bar(name, done=have, total=total) as advance:
            sink.seek(have)
            sink.truncate()
            for chunk in answer.iter_content(_CHUNK_BYTES):
                sink.write(chunk)
                advance(len(chunk))
                have += len(chunk)
                if have > self._max_bytes:
                    sink.close()
                    self.forget()
                    raise DataError(
                        without_secrets(url),
                        f"longer than {self._max_bytes / 2**30:g} GiB",
                        "raise data.max_unpacked_gib if you trust the address",
                    )

    def _resumable(self, url: str) -> tuple[int, str | None]:
        """Return how many bytes of this very file are there, and the mark to ask for the same file by."""
        try:
            state = json.loads(self._state_file.read_text(encoding="utf-8"))
            have = self._part.stat().st_size
        except (FileNotFoundError, ValueError):
            return 0, None
        if state.get("url") != url or (state.get("marker") is None and not self._checked):
            return 0, None
        return have, state.get("marker")


def _check_status(answer: requests.Response, url: str) -> None:
    code = answer.status_code
    if code in (requests.codes.too_many_requests, *range(500, 600)):
        raise requests.exceptions.ChunkedEncodingError(f"the server answered {code} {answer.reason}")
    if code not in (requests.codes.ok, requests.codes.partial_content):
        raise DataError(
            without_secrets(url), f"the server answered {code} {answer.reason}", "check the address (data.url)"
        )


def _no_file(url: str, problem: str) -> DataError:
    return DataError(without_secrets(url), problem, "fetch the file by other means, and set data.archive to its path")


def _continues(answer: requests.Response, have: int) -> bool:
    return answer.headers.get("Content-Range", "").startswith(f"bytes {have}-")


def _marker(answer: requests.Response) -> str | None:
    """Return what If-Range may hold: a strong ETag or the date of change."""
    etag = answer.headers.get("ETag", "")
    return etag if etag and not etag.startswith("W/") else answer.headers.get("Last-Modified")
