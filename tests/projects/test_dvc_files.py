"""DVC's text files: whole or untouched. DVC runs in processes of its own here, as it does for users."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from maskline.projects import dvc_files

# DVC's own way to write dvc.lock, with a dumper that is slow enough to be killed in.
KILLED = """
import os, signal
from dvc.fs import localfs
from dvc.utils.serialize import _common
def dump(data, stream):
    stream.write("schema: ")
    stream.flush()
    {end}
with _common._modify_data("dvc.lock", lambda text, path: {{"text": text}}, dump, fs=localfs):
    pass
"""


def _run(program: str, folder: Path) -> int:
    return subprocess.run([sys.executable, "-c", program], cwd=folder, check=False, capture_output=True).returncode


@pytest.mark.parametrize(
    ("end", "code"),
    [("os.kill(os.getpid(), signal.SIGKILL)", -9), ("os._exit(7)", 7), ("raise OSError(28, 'no space left')", 1)],
)
def test_dvc_that_dies_while_it_writes_leaves_the_former_file(tmp_path, end, code):
    lock = tmp_path / "dvc.lock"
    lock.write_text("schema: '2.0'\n")
    assert _run(KILLED.format(end=end), tmp_path) == code
    assert lock.read_text() == "schema: '2.0'\n"
    assert _run(KILLED.format(end="stream.write(\"'3.0'\")"), tmp_path) == 0
    assert lock.read_text() == "schema: '3.0'"
    assert list(tmp_path.iterdir()) == [lock], "the next one takes what was left"


def test_dvc_that_dies_while_it_writes_its_list_of_users(tmp_path):
    program = """
import json, os, types
from dvc import rwlock
from dvc.fs import localfs
def dump(value, stream):
    stream.write("{")
    stream.flush()
    os._exit(7)
with rwlock.rwlock(".", localfs, "dvc repro", ["a"], ["b"], False):
    rwlock.json = types.SimpleNamespace(**{**vars(json), "dump": dump})
"""
    assert _run(program, tmp_path) == 7
    assert '"dvc repro"' in (tmp_path / "rwlock").read_text()


def test_fsspec_keeps_its_own_local_files():
    program = """
import sys, fsspec
from fsspec.implementations.local import LocalFileSystem
assert fsspec.get_filesystem_class("file") is LocalFileSystem
assert "maskline.projects.dvc_files" in sys.modules and "dvc_objects" not in sys.modules
import dvc.fs
assert type(fsspec.filesystem("file")) is LocalFileSystem
"""
    assert _run(program, Path.cwd()) == 0


class _Local:
    def open(self, path, mode="r", encoding=None):
        return Path(path).open(mode, encoding=encoding)


@pytest.fixture
def local():
    class Whole(_Local):
        pass

    dvc_files.write_whole(Whole)
    return Whole()


def test_text_is_written_whole_with_the_mode_and_through_links(local, tmp_path):
    target = tmp_path / "target"
    target.write_text("former")
    target.chmod(0o640)
    (tmp_path / "link").symlink_to(target)
    stream = local.open(tmp_path / "link", "w+", encoding="utf-8")
    stream.write("größer")
    stream.seek(0)
    assert (stream.read(), target.read_text()) == ("größer", "former")
    stream.close()
    stream.close()
    assert target.read_bytes() == "größer".encode()
    assert stat.S_IMODE(target.stat().st_mode) == 0o640
    assert (tmp_path / "link").is_symlink()
    local.open(tmp_path / "new", "w").close()
    assert (tmp_path / "new").read_text() == ""
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "new", "target"]


def test_what_is_no_plain_text_file_is_opened_in_place(local, tmp_path):
    with local.open(os.devnull, "w") as stream:
        assert not isinstance(stream, dvc_files.WholeTextFile)
    for mode in ("wb", "a"):
        with local.open(tmp_path / "file", mode) as stream:
            assert not isinstance(stream, dvc_files.WholeTextFile)
    with local.open(tmp_path / "file") as stream:
        assert stream.read() == ""
    with pytest.raises(FileNotFoundError):
        local.open(tmp_path / "none" / "file", "w")


def test_a_folder_without_room_for_a_second_file(local, tmp_path):
    (tmp_path / ".file.part").mkdir()  # as good as a folder that cannot be written, and it stops root too
    with local.open(tmp_path / "file", "w") as stream:
        stream.write("in place")
    assert (tmp_path / "file").read_text() == "in place"


def test_a_file_that_cannot_be_finished_leaves_the_former(tmp_path, monkeypatch):
    target = tmp_path / "target"
    target.write_text("former")

    def full(*_):
        raise OSError(28, "no space left")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="no space left"), dvc_files.WholeTextFile(target) as stream:
        stream.write("new")
    assert target.read_text() == "former"
    assert list(tmp_path.iterdir()) == [target]
