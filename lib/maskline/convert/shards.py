"""Shards: encoded files one behind the other in a few large files, so that DVC tracks few of them."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from maskline.data.manifest import PARTS

SHARD_BYTES = 256 * 2**20
"""A row that would make a shard larger opens the next one."""


class ShardWriter:
    """Appends rows to ``shard-00000.bin``, ``shard-00001.bin``, ...

    Args:
        folder: Existing folder.
        max_bytes: Size at which a new shard begins; a larger row has a shard for itself.
    """

    def __init__(self, folder: Path, *, max_bytes: int = SHARD_BYTES) -> None:
        self._folder, self._max_bytes = folder, max_bytes
        self._number, self._used = 0, 0

    def add(self, parts: Mapping[str, bytes]) -> dict[str, Any]:
        """Write a row's files and return its manifest cells: shard, and offset, bytes, sha256 of each part.

        Args:
            parts: One of ``manifest.PARTS`` -> encoded file; absent ones may be missing.
        """
        total = sum(map(len, parts.values()))
        if self._used and self._used + total > self._max_bytes:
            self._number, self._used = self._number + 1, 0
        cells: dict[str, Any] = {"shard": f"shard-{self._number:05d}.bin"}
        with (self._folder / cells["shard"]).open("ab") as stream:
            for part in PARTS:
                content = parts.get(part, b"")
                cells[f"{part}_offset"] = self._used if content else 0
                cells[f"{part}_bytes"] = len(content)
                cells[f"{part}_sha256"] = hashlib.sha256(content).hexdigest() if content else ""
                stream.write(content)
                self._used += len(content)
        return cells
