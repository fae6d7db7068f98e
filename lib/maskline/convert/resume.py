"""What a conversion has finished, kept outside of DVC's outs, so that a killed one goes on where it was.

A file holds some records, one behind the other, and the hash of all that at its end; a torn or foreign file is made
again. The folder's name is a hash of all that the content depends on.
"""

import base64
import fcntl
import hashlib
import json
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from maskline.convert.encode import Converted
from maskline.convert.label_faults import Rim
from maskline.core.code_hash import loaded_files
from maskline.core.errors import DataError, DataProblemsError
from maskline.core.files import sha256_file, sha256_json, storage_errors

_LIBRARIES = ("numpy", "pillow", "scipy", "tifffile", "imagecodecs")
_DIGEST_BYTES = 32
_LENGTH_BYTES = 8


class Finished:
    """The finished parts of one conversion.

    Args:
        folder: Of its own.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def write(self, number: int, records: Iterable[Converted]) -> None:
        """Write a part; one record is in memory at a time. It is not synced: what a power cut tears, its hash tells."""
        target = self._path(number)
        begun = target.with_suffix(".begun")
        with storage_errors(target), begun.open("wb") as stream:
            digest = hashlib.sha256()
            for record in records:
                for piece in _pieces(record):
                    digest.update(piece)
                    stream.write(piece)
            stream.write(digest.digest())
        begun.replace(target)

    def is_whole(self, number: int) -> bool:
        """Return whether the part is there with the bytes that were written."""
        path = self._path(number)
        if not path.is_file():
            return False
        left = path.stat().st_size - _DIGEST_BYTES
        digest = hashlib.sha256()
        with path.open("rb") as stream:
            while left > 0 and (piece := stream.read(min(left, 1 << 20))):
                digest.update(piece)
                left -= len(piece)
            return stream.read() == digest.digest()

    def read(self, number: int) -> Iterator[Converted]:
        """Yield the records of a whole part."""
        path = self._path(number)
        end = path.stat().st_size - _DIGEST_BYTES
        with path.open("rb") as stream:
            while stream.tell() < end:
                yield _record(stream)

    def _path(self, number: int) -> Path:
        return self._folder / f"part-{number:06d}.bin"


@contextmanager
def kept(root: Path, key: Mapping[str, Any]) -> Iterator[Finished]:
    """Yield the finished parts of the conversion with this key; they go when the block ends, but for a kill.

    Those of other conversions that nobody works on are removed. Problems of the data remove them too: what fixes them
    changes the key.

    Args:
        root: Folder of all conversions.
        key: All that the prepared bytes depend on, but for the records.
    """
    folder = root / sha256_json(dict(key))[:16]
    root.mkdir(parents=True, exist_ok=True)
    for other in sorted(root.iterdir()):
        if other != folder and other.is_dir():
            _remove(other)
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise DataError(folder, "another process converts this very set", "wait for it, or stop it") from error
        try:
            yield Finished(folder)
        except DataProblemsError:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        shutil.rmtree(folder, ignore_errors=True)


def conversion_sha256(*files: Path) -> str:
    """Return one hash of the conversion's code and libraries: loaded modules of this package, and more files."""
    libraries = {name: version(name) for name in _LIBRARIES}
    return sha256_json({**loaded_files(), **libraries, "more": [sha256_file(file) for file in files]})


def _remove(folder: Path) -> None:
    """Remove a folder unless a process holds its lock."""
    with (folder / "lock").open("w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        shutil.rmtree(folder, ignore_errors=True)


def _pieces(record: Converted) -> Iterator[bytes]:
    """Return the bytes of a record: the length of its text, the text, its encoded files."""
    print_ = record.fingerprint
    text = json.dumps(
        {
            "id": record.id,
            "cells": record.cells,
            "source": record.source,
            "sums": record.sums,
            "picture_hash": record.image_hash,
            "fingerprint": None if print_ is None else base64.b64encode(print_.tobytes()).decode(),
            "plain": record.plain,
            "rims": record.rims,
            "problems": [(problem.place, problem.problem, problem.remedy) for problem in record.problems],
            "warnings": record.warnings,
            "parts": {name: len(content) for name, content in record.parts.items()},
        }
    ).encode()
    yield len(text).to_bytes(_LENGTH_BYTES, "little")
    yield text
    yield from record.parts.values()


def _record(stream: BinaryIO) -> Converted:
    text = json.loads(stream.read(int.from_bytes(stream.read(_LENGTH_BYTES), "little")))
    print_ = text["fingerprint"]
    return Converted(
        id=text["id"],
        cells=text["cells"],
        parts={name: stream.read(length) for name, length in text["parts"].items()},
        source=None if text["source"] is None else (text["source"][0], text["source"][1]),
        sums=[(pixels, total, squares) for pixels, total, squares in text["sums"]],
        image_hash=text["picture_hash"],
        fingerprint=None if print_ is None else np.frombuffer(base64.b64decode(print_), dtype=np.float32),
        plain=text["plain"],
        rims=[Rim(*rim) for rim in text["rims"]],
        problems=[DataError(*problem) for problem in text["problems"]],
        warnings=text["warnings"],
    )
