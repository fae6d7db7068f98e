"""Copies of the project that killed experiments have left in .dvc/tmp/exps; no command of DVC's removes them.

``dvc exp run --temp`` and queue workers run in such a copy each and remove it at their end. Nothing is lost with one:
its stages' outputs are in DVC's cache, its journal in the project's own .maskline.
"""

import re
import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from maskline.doctor import project
from maskline.doctor.findings import Finding, ok, warning

_NAMED = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftRun:
    """The folder of a killed experiment.

    Args:
        folder: Where it is.
        size: Bytes of its files, without those that it shares by a hard link.
        age: Seconds since the last change in it.
    """

    folder: Path
    size: int
    age: float

    def __str__(self) -> str:
        """Return name, size and age, for a person."""
        return f"{self.folder.name} ({self.size / 1e6:.1f} MB, {_age_text(self.age)} old)"


def left_runs(root: Path) -> list[LeftRun]:
    """Return the folders that no process uses; none while a dvc command is at work in the project, whoever's it is.

    A command on another machine that shares the disk is not seen.
    """
    experiments = root / ".dvc" / "tmp" / "exps"
    # First the folders, then the processes: a command that starts in between makes a folder that is not listed.
    folders = [
        entry
        for parent in (experiments, experiments / "standalone")
        if parent.is_dir()
        for entry in sorted(parent.iterdir())
        if re.fullmatch(r"tmp\w{8}", entry.name) and entry.is_dir() and not entry.is_symlink()
    ]
    if not folders or project.dvc_processes(root):
        return []
    return [_measured(folder) for folder in folders if not _stands_in(folder)]


def left_over(root: Path) -> Finding:
    """Say what killed experiments have left, and how much that is."""
    runs = left_runs(root)
    if not runs:
        return ok("experiments", "no folder is left that nobody uses")
    total = sum(run.size for run in runs) / 1e6
    listed = ", ".join(map(str, runs[:_NAMED])) + (", ..." if len(runs) > _NAMED else "")
    summary = f"{len(runs)} folders of killed ones are left in .dvc/tmp/exps, {total:.1f} MB: {listed}"
    return warning("experiments", summary, "maskline doctor --fix removes them")


def remove_left_runs(root: Path) -> Iterator[str]:
    """Remove the folders that no process uses; yield a line for each."""
    for run in left_runs(root):
        shutil.rmtree(run.folder)
        yield f"{run.folder.relative_to(root)}, of a killed experiment, is removed: {run.size / 1e6:.1f} MB"


def _measured(folder: Path) -> LeftRun:
    changes, size = [folder.lstat().st_mtime], 0
    for path in folder.rglob("*"):
        stat = path.lstat()
        changes.append(stat.st_mtime)
        size += stat.st_size if stat.st_nlink == 1 and not path.is_dir() else 0
    return LeftRun(folder=folder, size=size, age=max(0.0, time.time() - max(changes)))


def _stands_in(folder: Path) -> bool:
    """Whether any process, a shell among them, works in the folder."""
    import psutil

    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if Path(process.cwd()).is_relative_to(folder.resolve()):
                return True
    return False


def _age_text(seconds: float) -> str:
    for unit, length in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} seconds"
