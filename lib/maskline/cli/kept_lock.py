"""A copy of dvc.lock, kept by the stages, for the day on which a kill tears it.

DVC (3.67) opens dvc.lock for writing, which empties it, and then writes its YAML piece by piece; so after each stage
the file is torn for a moment, and a kill in that moment leaves it so. DVC has no setting against that and loads no code
of a project. What the stages of this machine gave is in DVC's cache all the same; but what was pulled or applied from
elsewhere stands in dvc.lock alone until it is committed. Hence the copy, from which ``maskline doctor --fix`` takes it.
"""

import subprocess
from contextlib import suppress
from pathlib import Path

from maskline.core.files import write_bytes
from maskline.core.state_folder import NAME

LOCK = "dvc.lock"
OWN = Path(NAME)


def keep_lock(root: Path) -> None:
    """Copy dvc.lock as it is when a stage starts. A copy that cannot be written stops no stage.

    Args:
        root: The project's folder.
    """
    with suppress(OSError):
        content = (root / LOCK).read_bytes()
        copy = kept_lock(root)
        if content.endswith(b"\n"):  # else another dvc command is writing it, or it is torn
            write_bytes(copy, content)
            for former in set(copy.parent.iterdir()) - {copy}:
                former.unlink()


def kept_lock(root: Path) -> Path:
    """Return where the copy is: a file named after git's version of dvc.lock.

    So there is none once git has another version, after a commit, a pull or a change of branch: that is the newer one.
    """
    version = git(root, "rev-parse", "--verify", "--quiet", f"HEAD:./{LOCK}").decode().strip()
    return root / OWN / "locks" / (version or "none")


def git(root: Path, *arguments: str) -> bytes:
    """Return what git writes, nothing where it fails or is not there."""
    try:
        return subprocess.run(["git", *arguments], cwd=root, capture_output=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return b""
