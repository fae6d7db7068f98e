"""A copy of the project in its own git repository, with settings so small that the pipeline runs in a minute."""

import copy
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from maskline.params.whole import load_params
from maskline.projects import resources

TINY: Mapping[str, Any] = {
    "data.synthetic.num_train": 6,
    "data.synthetic.num_test": 2,
    "data.synthetic.size": 96,
    "data.val_fraction": 0.34,
    "preview.samples": 2,
    "augment.crop_size": [64, 64],
    "model.backbone.base_channels": 4,
    "model.backbone.num_stages": 2,
    "schedule.warmup_length": 1,
    "train.iterations": 4,
    "train.batch_size": 2,
    "train.val_every": 2,
    "train.threads": 1,
    "machine.journal_every": 2,
    "evaluate.bootstrap": 20,
    "evaluate.gallery": 1,
    "export.example_size": [64, 96],
    "export.latency_size": [64, 64],
    "export.latency_runs": 2,
}


class Project:
    """A copy of the project; runs commands in it as a user would, without the network.

    Args:
        folder: Where it is.
        scratch: Where DVC keeps its own state.

    Attributes:
        printed: What the first run printed, where there was one.
    """

    def __init__(self, folder: Path, scratch: Path) -> None:
        self.folder = folder
        self.printed = ""
        self.environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "DVC_SITE_CACHE_DIR": str(scratch),
            "DVC_NO_ANALYTICS": "1",
            "OMP_NUM_THREADS": "1",
            "GIT_AUTHOR_NAME": "test",
            "GIT_AUTHOR_EMAIL": "test@example.invalid",
            "GIT_COMMITTER_NAME": "test",
            "GIT_COMMITTER_EMAIL": "test@example.invalid",
            # Whatever tries to leave this machine fails at once.
            "http_proxy": "http://127.0.0.1:9",
            "https_proxy": "http://127.0.0.1:9",
        }
        # A copy keeps its bytecode, and what is copied from it: else each process would compile the library anew.
        for name in ("DVC_STAGE", "DVC_ROOT", "MASKLINE_MIRROR", "PYTHONDONTWRITEBYTECODE"):
            self.environment.pop(name, None)

    def run(self, *command: str, code: int = 0) -> str:
        """Run a command, check its exit code, return what it printed."""
        done = subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True, check=False
        )
        text = done.stdout + done.stderr
        assert done.returncode == code, f"{' '.join(command)} ended with {done.returncode}:\n{text[-2000:]}"
        return text

    def duplicate(self, base: Path) -> "Project":
        """Copy the whole folder, git and DVC's cache with it."""
        shutil.copytree(self.folder, base / "project", symlinks=True)
        return Project(base / "project", base / "site")

    def edit(self, values: Mapping[str, Any]) -> None:
        """Set dotted keys in params.yaml as a person would: everything else in it stays."""
        write_params(self.folder / "params.yaml", values)

    def commit(self, message: str) -> None:
        """Commit everything that git does not ignore."""
        self.run("git", "add", "-A")
        self.run("git", "commit", "-q", "--allow-empty", "-m", message)

    def read(self, name: str) -> bytes:
        """Return the bytes of a file of the project."""
        return (self.folder / name).read_bytes()


def write_params(path: Path, values: Mapping[str, Any]) -> None:
    """Set dotted keys in a params file; its comments and everything else stay."""
    yaml = YAML()
    content = yaml.load(path)
    for key, value in values.items():
        *above, last = key.split(".")
        section = content
        for part in above:
            section = section.setdefault(part, {})
        section[last] = copy.deepcopy(value)
    yaml.dump(content, path)


def complete_params(path: Path) -> dict[str, Any]:
    """Return every key of a params file, those that it leaves out included, as plain types."""
    return load_params(path).model_dump(mode="json")


def ran(output: str) -> list[str]:
    """Return the stages that a ``dvc`` command really ran, in order."""
    return [line.split("'")[1] for line in output.splitlines() if line.startswith("Running stage '")]


def copy_of(root: Path, base: Path, values: Mapping[str, Any]) -> Project:
    """Copy what git has or would take into a new repository under ``base``: uncommitted edits, but of params.yaml."""
    folder = base / "project"
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=root,
        capture_output=True,
        check=True,
    )
    for name in listed.stdout.decode().split("\0"):
        if name and (root / name).is_file():
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(root / name, target)
    shutil.copyfile(resources.shipped_params(), folder / "params.yaml")
    (folder / "dvc.lock").unlink(missing_ok=True)
    shutil.rmtree(folder / "reports", ignore_errors=True)
    project = Project(folder, base / "site")
    project.edit(values)
    project.run("git", "init", "-q", "-b", "main")
    project.commit("copy")
    return project
