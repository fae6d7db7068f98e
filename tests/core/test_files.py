import errno
import hashlib
import io
import json
import os
from pathlib import Path

import pytest

from maskline.convert.format_parts.finding import visible_files
from maskline.convert.splitting.split_lists import listed
from maskline.core import files, yaml_text
from maskline.core.errors import DataError, MasklineError, StorageError
from maskline.data.labels import LabelSet
from maskline.download import archives
from maskline.params.base.reading import read_yaml
from maskline.weights.config_text import read_config


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_replace_file_makes_folders_and_leaves_nothing_beside(tmp_path):
    target = tmp_path / "a" / "b" / "c.txt"
    files.write_text(target, "one\r\ntwo\n")
    assert target.read_bytes() == b"one\r\ntwo\n"
    assert names(target.parent) == ["c.txt"]


def test_the_former_file_stays_whole_when_the_block_fails(tmp_path):
    target = tmp_path / "c.txt"
    files.write_text(target, "former")
    with pytest.raises(RuntimeError, match="half"), files.replace_file(target) as part:
        part.write_text("ha")
        raise RuntimeError("half")
    assert target.read_text() == "former"
    assert names(tmp_path) == ["c.txt"]


def test_the_target_is_not_touched_before_the_block_ends(tmp_path):
    target = tmp_path / "c.txt"
    target.write_text("former")
    with files.replace_file(target) as part:
        part.write_text("new")
        assert target.read_text() == "former"
        assert part.name == ".c.txt.part"
    assert target.read_text() == "new"


def test_replace_folder_swaps_the_whole_folder(tmp_path):
    target = tmp_path / "out"
    target.mkdir()
    (target / "old").write_text("old")
    with files.replace_folder(target) as part:
        (part / "new").write_text("new")
        assert names(target) == ["old"]
    assert names(target) == ["new"]
    assert names(tmp_path) == ["out"]


def test_replace_folder_keeps_the_former_folder_when_the_block_fails(tmp_path):
    target = tmp_path / "out"
    target.mkdir()
    (target / "old").write_text("old")
    with pytest.raises(RuntimeError, match="half"), files.replace_folder(target) as part:
        (part / "new").write_text("new")
        raise RuntimeError("half")
    assert names(target) == ["old"]
    assert names(tmp_path) == ["out"]


def test_replace_folder_mends_a_kill_between_its_two_renames(tmp_path):
    former = tmp_path / ".out.former"
    former.mkdir()
    (former / "old").write_text("old")
    stale = tmp_path / ".out.part"
    stale.mkdir()
    (stale / "half").write_text("half")
    with pytest.raises(RuntimeError, match="again"), files.replace_folder(tmp_path / "out"):
        raise RuntimeError("again")
    assert names(tmp_path / "out") == ["old"]


@pytest.mark.parametrize(
    "code", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EDQUOT, errno.EFBIG, errno.ENAMETOOLONG]
)
def test_storage_errors_name_place_and_remedy(tmp_path, code):
    with pytest.raises(StorageError) as caught, files.storage_errors(tmp_path):
        raise OSError(code, os.strerror(code))
    assert str(tmp_path) in str(caught.value)
    assert "former file is untouched" in str(caught.value)


@pytest.mark.parametrize(
    ("target", "named"), [("file", "file"), ("file/x", "file"), ("file/x/y", "file/x"), ("folder", "folder")]
)
def test_what_has_the_name_already_is_told(tmp_path, target, named):
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    writers = [files.write_text] if target == "folder" else [files.write_text, write_folder][target == "file" :]
    for write in writers:
        with pytest.raises(StorageError, match=r"; move what has that name away, or name another path$") as caught:
            write(tmp_path / target, "text")
        assert caught.value.place == str(tmp_path / named)
        assert names(tmp_path) == ["file", "folder"]


@pytest.mark.parametrize("target", ["/proc/x", "/proc/x/y/z"])
def test_where_nothing_can_be_made(target):
    for write in (files.write_text, write_folder):
        with pytest.raises(StorageError, match=f"^{target}: nothing can be made there; name another path$"):
            write(Path(target), "text")


def write_folder(target, _text):
    with files.replace_folder(target):
        pass


def test_a_library_that_hides_why_it_cannot_write(tmp_path):
    told = r"a.npy: cannot be written \(384 requested and 304 written\); free space"
    with pytest.raises(StorageError, match=told), files.write_errors(tmp_path / "a.npy"):
        raise OSError("384 requested and 304 written")


def test_other_os_errors_pass_as_they_are(tmp_path):
    with pytest.raises(FileNotFoundError), files.storage_errors(tmp_path):
        (tmp_path / "absent").read_text()


def test_a_full_disk_leaves_the_former_file(tmp_path, monkeypatch):
    target = tmp_path / "c.txt"
    files.write_text(target, "former")

    def full(_descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match="no space left on device"):
        files.write_text(target, "new")
    assert target.read_text() == "former"
    assert names(tmp_path) == ["c.txt"]


def test_json_is_stable_and_refuses_nan(tmp_path):
    target = tmp_path / "m.json"
    files.write_json(target, {"b": 1, "a": [0.5, None], "word": "Äther"})
    assert target.read_text(encoding="utf-8").startswith('{\n  "b": 1,\n  "a"')
    assert json.loads(target.read_text(encoding="utf-8"))["word"] == "Äther"
    with pytest.raises(ValueError, match="Out of range float"):
        files.write_json(target, {"x": float("nan")})


def test_a_name_that_no_file_can_hold(tmp_path):
    told = r"m.json: would hold n\\udcff.pth, which is not UTF-8; rename what has that name$"
    with pytest.raises(DataError, match=told):
        files.write_json(tmp_path / "m.json", {"source": "n\udcff.pth", "b": 1})
    assert names(tmp_path) == []


def test_hashes_agree_with_hashlib(tmp_path):
    target = tmp_path / "b.bin"
    files.write_bytes(target, b"abc")
    assert files.sha256_file(target) == hashlib.sha256(b"abc").hexdigest()
    assert files.sha256_json({"b": 1, "a": 2}) == hashlib.sha256(b'{"a":2,"b":1}').hexdigest()


def test_copy_stream_copies_all():
    sink = io.BytesIO()
    files.copy_stream(io.BytesIO(b"x" * 3_000_001), sink)
    assert sink.getvalue() == b"x" * 3_000_001


@pytest.mark.parametrize(
    "read",
    [
        lambda path: files.read_plain(path, most_bytes=1 << 20, error=DataError),
        lambda path: yaml_text.read(path, place=path, error=DataError),
        read_yaml,
        read_config,
        LabelSet.read,
        archives.suffix,
        lambda path: listed([], {"train": path}, path.parent),
        lambda path: list(visible_files(path.parent)),
    ],
)
def test_pipes_and_devices_are_not_waited_for(tmp_path, read):
    path = tmp_path / "pipe.json"
    os.mkfifo(path)
    with pytest.raises(MasklineError, match=r"^([^:]*: )?[^:]*pipe\.json: not a plain file"):
        read(path)
    path.unlink()
    path.symlink_to("/dev/zero")
    with pytest.raises(MasklineError, match=r"pipe\.json: not a plain file"):
        read(path)


def test_a_file_that_tells_no_size(tmp_path):
    """What stat says is no bound: /proc has plain files of 0 bytes that hold more."""
    with pytest.raises(DataError, match=r"/proc/self/maps: more than 0 KiB; shorten it"):
        files.read_plain(Path("/proc/self/maps"), most_bytes=10, error=DataError)
    (tmp_path / "a").write_bytes(b"12345")
    assert files.read_plain(tmp_path / "a", most_bytes=5, error=DataError) == b"12345"
