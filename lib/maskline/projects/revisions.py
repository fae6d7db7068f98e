"""Files of the project as a git revision or a DVC experiment has them."""

import subprocess
from pathlib import Path

from maskline.core.errors import DataError

WORKSPACE = "workspace"


def read_at(revision: str, path: Path) -> str:
    """Return the text of a file at a revision.

    Args:
        revision: Anything that git names a commit by, the name of a DVC experiment, or ``workspace``.
        path: From the current folder.

    Raises:
        DataError: No such revision, or it does not have the file.
    """
    if revision == WORKSPACE:
        try:
            return path.read_text(encoding="utf-8")
        except FileNotFoundError as error:
            raise DataError(path, "no such file", "run dvc repro first") from error
    commit = find_commit(revision)
    result = _git("show", f"{commit}:./{path.as_posix()}")
    if result is None:
        raise DataError(f"{revision}: {path}", "not in this revision", "compare revisions with a committed evaluation")
    return result


def find_commit(revision: str) -> str:
    """Return the commit of a revision or an experiment.

    Raises:
        DataError: Neither.
    """
    for name in (revision, experiment_ref(revision)):
        commit = _git("rev-parse", "--verify", "--quiet", f"{name}^{{commit}}") if name else None
        if commit:
            return commit.strip()
    raise DataError(revision, "no git revision and no DVC experiment", "see git log and dvc exp list")


def experiment_ref(name: str) -> str | None:
    """Return the git ref of a DVC experiment of the newest commit that has one of this name; None: no such one."""
    listed = _git("for-each-ref", "--sort=-creatordate", "--format=%(refname)", "refs/exps") or ""
    refs = [ref for ref in listed.split() if ref.startswith("refs/exps/") and ref.rsplit("/", maxsplit=1)[-1] == name]
    return refs[0] if refs else None


def _git(*arguments: str) -> str | None:
    """Return what git writes, None where it fails.

    Raises:
        DataError: There is no git.
    """
    try:
        result = subprocess.run(["git", *arguments], capture_output=True, text=True, errors="replace", check=False)
    except OSError as error:
        raise DataError("git", "does not run", "install git; without it, workspace is the only revision") from error
    return result.stdout if result.returncode == 0 else None
