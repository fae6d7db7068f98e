"""The input guard: a stage fails when a dependency or parameter of it was edited while it ran.

DVC hashes a stage's deps and params after the command has ended. An edit in between would be recorded as the
input of a result that never saw it (DVC issue 11058, probed with 3.67.1). The guard compares both at start and end.
"""

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from maskline.core.errors import InputsChangedError, ParamsError
from maskline.core.files import sha256_file
from maskline.core.own_code import file_of
from maskline.params.base.reading import read_yaml

_ABSENT = "(absent)"
_CODE = ("lib", "stages")
_SOURCES = {".py", ".html", ".css", ".js", ".md"}  # as in .dvcignore


@contextmanager
def unchanged_inputs() -> Iterator[None]:
    """Compare the running stage's deps and params before and after the block; do nothing outside DVC.

    Raises:
        InputsChangedError: Names what was edited. DVC then records nothing.
    """
    name = os.environ.get("DVC_STAGE")
    if not name:
        yield
        return
    before = snapshot(name)
    yield
    after = snapshot(name)
    changed = [key for key in sorted(before.keys() | after.keys()) if before.get(key) != after.get(key)]
    if changed:
        raise InputsChangedError(changed[0], f"edited while stage {name} ran", "run dvc repro again")


def check_listed(own_code: Mapping[str, str]) -> None:
    """Check that DVC will run the running stage again when the user edits this code; do nothing outside DVC.

    Args:
        own_code: Key of params.yaml -> name of the user's own code, ``path/to/file.py:Name``.

    Raises:
        ParamsError: A file that lies under none of the stage's deps.
    """
    name = os.environ.get("DVC_STAGE")
    if not name or not own_code:
        return
    deps = [Path(dep) for dep in _stage(name).get("deps", [])]
    for key, text in own_code.items():
        file = file_of(text)
        if not any(file.is_relative_to(dep) for dep in deps):
            problem = f"no dep of stage {name}, so that DVC would not see an edit of it"
            remedy = f"in dvc.yaml, add '- {file}' to stages.{name}.deps"
            if name == "train":
                remedy = f"move it into the folder own, or {remedy}"
            raise ParamsError(f"params.yaml: {key}: {file}", problem, remedy)


def check_watched(files: Mapping[str, Path]) -> None:
    """Check that DVC will run the stage convert again when the user edits these files; do nothing outside DVC.

    A download stage that runs each time writes their hashes down; else they must be deps.

    Args:
        files: Key of params.yaml -> file.

    Raises:
        ParamsError: A file that neither sees.
    """
    name = os.environ.get("DVC_STAGE")
    if not name or is_always_changed("download"):
        return
    deps = [Path(dep) for dep in _stage(name).get("deps", [])]
    for key, file in files.items():
        if not any(file.is_relative_to(dep) for dep in deps):
            problem = f"no dep of stage {name}, so that DVC would not see an edit of it"
            remedy = f"in dvc.yaml, add '- {file}' to stages.{name}.deps, or 'always_changed: true' to stages.download"
            raise ParamsError(f"params.yaml: {key}: {file}", problem, remedy)


def is_always_changed(name: str) -> bool:
    """Return whether dvc.yaml says that a stage runs each time; true outside DVC, which alone skips stages."""
    return not os.environ.get("DVC_STAGE") or _stage(name).get("always_changed") is True


def _stage(name: str) -> Mapping[str, Any]:
    """Return what dvc.yaml says about a stage, by the name that DVC gives it in DVC_STAGE."""
    stage = read_yaml(Path("dvc.yaml"))["stages"][re.sub(r"^.*:|@.*$", "", name)]
    assert isinstance(stage, Mapping)
    return stage


def snapshot(stage_name: str) -> dict[str, str]:
    """Return path or param key -> content of each dep and param that dvc.yaml lists for the stage.

    Params of files other than params.yaml and ``${}`` in paths are not followed: our dvc.yaml has none.
    """
    stage = _stage(stage_name)
    values = read_yaml(Path("params.yaml"))
    contents = {f"params.yaml: {key}": repr(_lookup(values, key)) for key in stage.get("params", [])}
    for dep in stage.get("deps", []):
        files = [Path(dep)] if not Path(dep).is_dir() else sorted(Path(dep).rglob("*"))
        contents |= {str(file): sha256_file(file) for file in files if file.is_file() and _counts(file)}
    return contents


def _counts(file: Path) -> bool:
    """Tell whether DVC hashes a file: of code, what .dvcignore lets in; of data, all of it."""
    if "__pycache__" in file.parts:
        return False
    return file.parts[0] not in _CODE or file.suffix in _SOURCES


def _lookup(values: Mapping[str, Any], dotted: str) -> Any:
    value: Any = values
    for key in dotted.split("."):
        value = value.get(key, _ABSENT) if isinstance(value, Mapping) else _ABSENT
    return value
