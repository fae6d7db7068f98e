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
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

import torch
from torch.utils._pytree import tree_map

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
        self._writer = ThreadPoolExecutor(1, "journal")
        self._writing: Future[None] | None = None

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
            try:
                yield self
            finally:
                self._wait()

    def write(self, iteration: int, state: Mapping[str, Any], *, behind: bool = False) -> None:
        """Write an entry and drop all but it and the one before; later ones are not of this run's past.

        Args:
            iteration: Iterations done.
            state: Tensors, numbers, strings, lists and dicts only, so that it loads without running code.
            behind: Copy the state to the CPU, and write it while training goes on; nothing is written if the entry
                before is not on the disk yet. For a GPU: a hundred of its steps may take less time than one entry. What
                goes wrong is raised by the next call, or where ``locked`` ends.

        Raises:
            StorageError: See ``replace_file``.
        """
        if behind:
            if self._writing is None or self._writing.done():
                self._wait()
                self._writing = self._writer.submit(self._write, iteration, _copy(state))
            return
        self._wait()
        self._write(iteration, state)

    def _wait(self) -> None:
        """Wait until the entry that is being written is on the disk."""
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.result()

    def _write(self, iteration: int, state: Mapping[str, Any]) -> None:
        path = self.folder / f"iteration-{iteration:09d}.pt"
        with replace_file(path) as part, part.open("wb") as stream:
            hashed = _Hashed(stream)
            torch.save(dict(state), cast("IO[bytes]", hashed))
            stream.write(hashed.digest())
        entries = self._entries()
        kept = entries[: entries.index(path) + 1][-_KEPT:]
        for entry in entries:
            if entry not in kept:
                entry.unlink()

    def read(self) -> dict[str, Any] | None:
        """Return the newest whole entry's state, or None. A torn entry is named in the log and passed over."""
        self._wait()
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
        self._wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _entries(self) -> list[Path]:
        return sorted(self.folder.glob("iteration-*.pt"))


def _copy(state: Mapping[str, Any]) -> Any:
    """Return a state that later iterations leave alone: tensors on the CPU, lists and dicts anew."""
    pinned = torch.cuda.is_available()  # then a copy does not wait for the one before
    copies = tree_map(lambda x: _on_cpu(x, pinned=pinned) if isinstance(x, torch.Tensor) else x, dict(state))
    if pinned:
        torch.cuda.synchronize()
    return copies


def _on_cpu(x: torch.Tensor, *, pinned: bool) -> torch.Tensor:
    return x.detach().to("cpu", non_blocking=pinned) if x.is_cuda else x.detach().clone()


class _Hashed:
    """A file that is written once, front to back, and its SHA-256."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream, self._sum = stream, hashlib.sha256()

    def write(self, content: Any) -> int:
        self._sum.update(content)
        return self._stream.write(content)

    def digest(self) -> bytes:
        return self._sum.digest()

    def flush(self) -> None:
        """Nothing is held back."""
