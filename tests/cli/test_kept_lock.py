"""What is installed leaves DVC alone, and what the stages keep of dvc.lock."""

import subprocess
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest

from maskline.cli import kept_lock
from maskline.cli.entry import stage


def test_only_the_command_is_registered(root):
    """An entry point of another group would be loaded into programs that have nothing to do with maskline."""
    settings = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    assert list(settings["scripts"]) == ["maskline"]
    assert "entry-points" not in settings
    assert "gui-scripts" not in settings
    assert "entry_points" not in (root / "setup.py").read_text()
    try:
        registered = distribution("maskline").entry_points
    except PackageNotFoundError:  # run from its sources
        return
    assert [(point.group, point.name) for point in registered] == [("console_scripts", "maskline")]


def test_dvc_is_as_it_comes(tmp_path):
    """DVC in an environment with maskline: it loads nothing of it, and its file system is its own, imported or not."""
    program = """
import io, sys
from pathlib import Path
import dvc_objects.fs.local as local
from dvc.fs import localfs
from dvc.utils.serialize import modify_yaml
before = {name: vars(local.FsspecLocalFileSystem)[name] for name in vars(local.FsspecLocalFileSystem)}
assert not [name for name in sys.modules if name.split(".")[0] == "maskline"]
import maskline.cli.kept_lock, maskline.cli.entry, maskline.cli.guard, maskline.doctor.fixing
assert {name: vars(local.FsspecLocalFileSystem)[name] for name in vars(local.FsspecLocalFileSystem)} == before
assert {function.__module__ for function in before.values() if callable(function)} == {"dvc_objects.fs.local"}
with localfs.open("file", "w", encoding="utf-8") as stream:
    assert type(stream) is io.TextIOWrapper and Path("file").exists()
with modify_yaml("dvc.lock", fs=localfs) as data:
    data["schema"] = "2.0"
"""
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dvc.lock", "file"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A repository with a dvc.lock that is not committed."""
    for name in ("GIT_AUTHOR_NAME", "GIT_COMMITTER_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_EMAIL"):
        monkeypatch.setenv(name, "test")
    commands(tmp_path, "git init -q", "git commit -q --allow-empty -m first")
    (tmp_path / "dvc.lock").write_text("schema: '2.0'\n")
    return tmp_path


def commands(folder, *lines):
    for line in lines:
        subprocess.run(line.split(), cwd=folder, check=True)


def kept(folder):
    return [path.read_text() for path in sorted((folder / ".maskline" / "locks").glob("*"))]


def test_a_copy_belongs_to_a_version_of_git(folder):
    kept_lock.keep_lock(folder)
    assert kept_lock.kept_lock(folder).name == "none"
    assert kept_lock.kept_lock(folder).read_text() == "schema: '2.0'\n"
    commands(folder, "git add dvc.lock", "git commit -q -m second")
    assert not kept_lock.kept_lock(folder).exists(), "git's own is the newer one"
    (folder / "dvc.lock").write_text("schema: '2.0'\nstages: {}\n")
    kept_lock.keep_lock(folder)
    assert kept(folder) == ["schema: '2.0'\nstages: {}\n"], "there is one copy"
    commands(folder, "git commit -q --allow-empty -m other")
    assert kept_lock.kept_lock(folder).exists(), "a commit of other files makes no newer dvc.lock"


def test_what_is_being_written_is_not_copied(folder):
    kept_lock.keep_lock(folder)
    for torn in ("", "schema: '2.0'\nstages:\n  a:\n    cm"):
        (folder / "dvc.lock").write_text(torn)
        kept_lock.keep_lock(folder)
        assert kept(folder) == ["schema: '2.0'\n"]
    (folder / "dvc.lock").unlink()
    kept_lock.keep_lock(folder)
    assert kept(folder) == ["schema: '2.0'\n"]


def test_no_copy_stops_no_stage(folder, tmp_path_factory):
    (folder / ".maskline").write_text("a file where the folder should be")
    kept_lock.keep_lock(folder)
    assert (folder / ".maskline").is_file()
    bare = tmp_path_factory.mktemp("bare")
    (bare / "dvc.lock").write_text("schema: '2.0'\n")
    kept_lock.keep_lock(bare)
    assert kept(bare) == ["schema: '2.0'\n"], "without git too"


def test_stages_keep_it_under_dvc_only(folder, monkeypatch):
    monkeypatch.chdir(folder)
    (folder / "dvc.yaml").write_text("stages: {a: {cmd: x}}")
    (folder / "params.yaml").write_text("{}")
    run = stage(lambda params_path: None)
    monkeypatch.delenv("DVC_STAGE", raising=False)
    run(params_path=Path("params.yaml"))
    assert kept(folder) == []
    monkeypatch.setenv("DVC_STAGE", "a")
    run(params_path=Path("params.yaml"))
    assert kept(folder) == ["schema: '2.0'\n"]
