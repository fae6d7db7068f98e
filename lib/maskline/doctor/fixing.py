"""What ``maskline doctor --fix`` fixes: what a kill of DVC leaves behind, where it is certain what belongs there.

That is dvc.lock, DVC's lists of who reads and writes what, and the branch that a killed ``dvc exp run`` has left.
Nothing is thrown away: what was torn goes to .maskline.
"""

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from maskline.cli.kept_lock import LOCK, OWN, git, kept_lock
from maskline.core.errors import ProjectBusyError
from maskline.core.files import write_bytes
from maskline.doctor import project


def fix(root: Path) -> Iterator[str]:
    """Fix the project's folder; yield what was done, a line each.

    Args:
        root: The project's folder.

    Raises:
        ProjectBusyError: A dvc command is at work here, or may be: what is torn may be its own.
    """
    folder = root / ".dvc"
    if not (folder / "config").is_file():
        return
    if project.lock_problem(root / LOCK) and not project.in_conflict(root / LOCK):
        with _alone(folder, folder / "tmp" / "lock"):
            yield from _fix_lock(root)
    for users in project.user_lists(folder):
        if project.is_torn(users):
            _check_idle(root, users)
            with _alone(folder, users.with_name("rwlock.lock")):
                yield from _fix_users(root, users)
    if branch := project.left_branch(root):
        git(root, "symbolic-ref", "-m", "maskline doctor: back to the branch", "HEAD", f"refs/heads/{branch}")
        yield f"git is on {branch} again, from which a killed dvc exp run had taken it; no file was changed"


def _fix_lock(root: Path) -> Iterator[str]:
    lock = root / LOCK
    if not project.lock_problem(lock):  # whoever wrote it has ended its work
        return
    torn = OWN / f"{LOCK}.torn"
    write_bytes(root / torn, lock.read_bytes())
    for origin, content in _whole_locks(root):
        write_bytes(lock, content)
        yield f"{LOCK} was torn: put back {origin}; what was there is in {torn}"
        return
    lock.unlink()
    yield f"{LOCK} was torn: removed, and dvc repro makes it again from DVC's cache; what was there is in {torn}"


def _whole_locks(root: Path) -> Iterator[tuple[str, bytes]]:
    """Yield what dvc.lock was before, and where that is from, the newest first."""
    copy = kept_lock(root)
    if copy.is_file() and not project.lock_problem(copy):
        written_at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(copy.stat().st_mtime))
        yield f"the stages' copy of {written_at}", copy.read_bytes()
    content = git(root, "show", f"HEAD:./{LOCK}")
    if content and not project.content_problem(content):
        yield "the version of git's HEAD", content


def _fix_users(root: Path, users: Path) -> Iterator[str]:
    """Remove a torn list: no dvc command is at work, so nobody reads or writes."""
    if not project.is_torn(users):
        return
    torn = OWN / (re.sub(r"\W+", "-", str(users.relative_to(root / ".dvc" / "tmp"))) + ".torn")
    write_bytes(root / torn, users.read_bytes())
    users.unlink()
    yield f"{users.relative_to(root)} was torn: removed, as no dvc command is at work here; what was there is in {torn}"


@contextmanager
def _alone(folder: Path, lock: Path) -> Iterator[None]:
    """Hold a lock of DVC's while something is fixed; ``folder`` is .dvc.

    Raises:
        ProjectBusyError: A dvc command has held it for some seconds.
    """
    from dvc.lock import LockError, make_lock

    hardlink = project.read_config(folder).get("core.hardlink_lock", "").lower() == "true"
    lock.parent.mkdir(parents=True, exist_ok=True)
    held = make_lock(str(lock), tmp_dir=str(folder / "tmp"), hardlink_lock=hardlink)
    try:
        held.lock()
    except LockError as error:
        raise ProjectBusyError(lock, "a dvc command holds it", _WAIT) from error
    try:
        yield
    finally:
        held.unlock()


def _check_idle(root: Path, users: Path) -> None:
    """Check that no dvc command is at work: while one runs a stage, it stands in the list of users only."""
    if processes := project.dvc_processes(root):
        listed = ", ".join(map(str, processes))
        raise ProjectBusyError(users, f"torn, and a dvc command is at work here (process {listed})", _WAIT)


_WAIT = "wait until it has ended, then maskline doctor --fix"
