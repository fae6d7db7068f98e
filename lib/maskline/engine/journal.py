"""The resume journal: the training state on disk, so that a killed run goes on where it was.

It lies outside DVC's outs, which DVC empties before each run, under ``<project>/.maskline/journal/<fingerprint>``.
The fingerprint stands for params, code and data, so that another experiment never goes on from this one's state. An
entry is whole or ignored: its file ends with the SHA-256 of what comes before. The two newest are kept.
"""

import fcntl
import hashlib
import io
import logging
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from maskline.core.errors import TrainingError
from maskline.core.files import replace_file
from maskline.core.state_folder import state_folder

log = logging.getLogger("maskline")

_KEPT = 2
_DIGEST_BYTES = 32


def journal_root() -> Path:
    """Return the folder of all journals: in the main checkout also where DVC runs the stage in a copy."""
    return state_folder("journal")


class Journal:
    """Entries of one run, newest last.

    Args:
        folder: Folder of this run's fingerprint.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def pictures(self) -> Path:
        """Folder of this run's images of predictions; it stays when the journal is removed."""
        return self.folder.parent.with_name("predictions") / self.folder.name[:12]

    @contextmanager
    def locked(self) -> Iterator["Journal"]:
        """Hold the run's lock.

        Raises:
            TrainingError: Another process trains the same experiment.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "lock").open("w") as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise TrainingError(
                    self.folder, "another process trains this very experiment", "wait for it, or stop it"
                ) from error
            yield self

    def write(self, iteration: int, state: Mapping[str, Any]) -> None:
        """Write an entry and drop all but it and the one before; later ones are not of this run's past.

        Args:
            iteration: Iterations done.
            state: Tensors, numbers, strings, lists and dicts only, so that it loads without running code.
        """
        buffer = io.BytesIO()
        torch.save(dict(state), buffer)
        content = buffer.getvalue()
        path = self.folder / f"iteration-{iteration:09d}.pt"
        with replace_file(path) as part:
            part.write_bytes(content + hashlib.sha256(content).digest())
        entries = self._entries()
        kept = entries[: entries.index(path) + 1][-_KEPT:]
        for entry in entries:
            if entry not in kept:
                entry.unlink()

    def read(self) -> dict[str, Any] | None:
        """Return the newest whole entry's state, or None. A torn entry is named in the log and passed over."""
        for entry in reversed(self._entries()):
            content = entry.read_bytes()
            body, digest = content[:-_DIGEST_BYTES], content[-_DIGEST_BYTES:]
            if hashlib.sha256(body).digest() == digest:
                state: dict[str, Any] = torch.load(io.BytesIO(body), weights_only=True, map_location="cpu")
                return state
            log.warning("journal entry %s is torn; trying the one before", entry.name)
        return None

    def remove(self) -> None:
        """Delete the journal: the run's results are written."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _entries(self) -> list[Path]:
        return sorted(self.folder.glob("iteration-*.pt"))
