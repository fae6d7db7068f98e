"""DVC experiments that differ in some keys alone: run what is missing, and find them again."""

import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from maskline.cli.entry import log
from maskline.core.errors import DataError
from maskline.projects.revisions import experiment_ref, find_commit

Runner = Callable[[Sequence[str]], int]


def run_missing(
    experiments: Mapping[str, Mapping[str, object]], *, run: Runner, target: str | None = None, jobs: int = 1
) -> dict[str, str]:
    """Run the experiments that were not made from the current commit yet, and return name -> git ref of all.

    Each runs in a folder of its own (dvc exp run --temp), so the workspace stays as it is.

    Args:
        experiments: Name -> key of params.yaml -> value; keys that the file leaves out come into it.
        run: Gives arguments to DVC and returns its exit code.
        target: The last stage to run; None: all stages.
        jobs: How many run at a time.

    Raises:
        DataError: One failed.
    """
    head = find_commit("HEAD")
    refs = {name: f"refs/exps/{head[:2]}/{head[2:]}/{name}" for name in experiments}
    missing = [name for name, ref in refs.items() if experiment_ref(name) != ref]

    def start(name: str) -> int:
        log.info("experiment %s", name)
        settings = [part for key, value in experiments[name].items() for part in ("--set-param", f"{key}={value}")]
        return run(["exp", "run", "--temp", "--name", name, *settings, *([target] if target else [])])

    with ThreadPoolExecutor(max_workers=jobs) as pool:
        codes = dict(zip(missing, pool.map(start, missing), strict=True))
    for name, code in codes.items():
        if code:
            raise DataError(name, "the experiment failed; its output is above", "fix it and run this again")
    return refs


def dvc(arguments: Sequence[str]) -> int:
    """Run DVC with its output on stderr, and return its exit code."""
    return subprocess.run([sys.executable, "-m", "dvc", *arguments], check=False, stdout=sys.stderr).returncode


def fetch(path: str, ref: str, target: Path, *, run: Runner) -> None:
    """Write an output of an experiment to a folder.

    Args:
        path: Of the output in the project.
        ref: Git ref of the experiment.
        target: Is not there yet.
        run: As in ``run_missing``.

    Raises:
        DataError: The cache does not have it any more.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    if run(["get", "--quiet", ".", path, "--rev", find_commit(ref), "--out", str(target)]) != 0:
        name = ref.rsplit("/", maxsplit=1)[-1]
        raise DataError(f"{name}: {path}", "is not in DVC's cache", f"run it again: dvc exp remove {name}, then this")
