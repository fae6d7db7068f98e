import gzip
import io
import lzma
import os
import stat
import tarfile
import tracemalloc
import zipfile

import pytest

from maskline.core.errors import DataError, StorageError
from maskline.download import archives
from tests.sets import tree, zip_of

BIG = 10**9


def tar_of(path, members, mode="w"):
    with tarfile.open(path, mode) as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


FILES = {"a.txt": b"A" * 5000, "sub/b.bin": os.urandom(3000)}


@pytest.mark.parametrize("kind", [".zip", ".tar", ".tar.gz", ".tar.bz2", ".tar.xz"])
def test_each_kind_is_known_by_content_and_unpacks(tmp_path, kind):
    path = tmp_path / "archive.dat"
    if kind == ".zip":
        zip_of(path, FILES)
    else:
        tar_of(path, FILES, "w:" + kind.removeprefix(".tar").removeprefix("."))
    assert archives.suffix(path) == kind
    assert archives.inspect(path, max_bytes=BIG) == 2
    (tmp_path / "out").mkdir()
    archives.unpack(path, tmp_path / "out", max_bytes=BIG)
    assert tree(tmp_path / "out") == FILES


@pytest.mark.parametrize("kind", ["w", "w:gz", "w:bz2", "w:xz", "zip"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_truncated(tmp_path, kind, share):
    files = {f"{i}.bin": os.urandom(4000) for i in range(5)}
    path = zip_of(tmp_path / "a", files) if kind == "zip" else tar_of(tmp_path / "a", files, kind)
    content = path.read_bytes()
    if kind == "w":
        content = content.rstrip(b"\0")  # a tar ends in padding that is not missed
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(DataError, match="truncated or damaged"):
        archives.inspect(path, max_bytes=BIG)


def test_zeros_behind_the_end_of_a_tar_count(tmp_path):
    whole = tar_of(tmp_path / "a.tar", FILES).read_bytes()
    path = tmp_path / "a.tar.gz"
    path.write_bytes(gzip.compress(whole + bytes(8 << 20)))
    assert archives.inspect(path, max_bytes=BIG) == 2
    with pytest.raises(DataError, match="unpacks to more than"):
        archives.inspect(path, max_bytes=1 << 20, max_members=10)


def test_a_tar_cut_between_members_is_truncated(tmp_path):
    path = tar_of(tmp_path / "a.tar", {"a": b"x" * 512, "b": b"y" * 512})
    path.write_bytes(path.read_bytes()[:1024])
    with pytest.raises(DataError, match="no end mark"):
        archives.inspect(path, max_bytes=BIG)


@pytest.mark.parametrize("kind", ["zip", "w:gz"])
def test_a_flipped_byte_is_found(tmp_path, kind):
    files = {"a.bin": os.urandom(20000)}
    path = zip_of(tmp_path / "a", files) if kind == "zip" else tar_of(tmp_path / "a", files, kind)
    content = bytearray(path.read_bytes())
    content[10000] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match="truncated or damaged"):
        archives.inspect(path, max_bytes=BIG)


@pytest.mark.parametrize(
    "name", ["../evil", "a/../../evil", "/etc/evil", "..\\evil", "C:\\evil", "c:/evil", "a/\x01b", "..", "a\nb"]
)
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_paths_outside_are_refused_and_nothing_is_written_there(tmp_path, name, kind):
    make = zip_of if kind == "zip" else tar_of
    path = make(tmp_path / "a", {name: b"evil"})
    inside = tmp_path / "x" / "inside"
    inside.mkdir(parents=True)
    for call in (
        lambda: archives.inspect(path, max_bytes=BIG),
        lambda: archives.unpack(path, inside, max_bytes=BIG),
    ):
        with pytest.raises(DataError, match="outside of the target"):
            call()
    assert tree(tmp_path / "x") == {}
    assert not (tmp_path / "evil").exists()


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_zip_that_python_unpacks_at_once_is_refused(tmp_path, method):
    with zipfile.ZipFile(tmp_path / "a", "w", method) as archive:
        archive.writestr("zeros", bytes(10**6))
    with pytest.raises(DataError, match="packed by bzip2"):
        archives.inspect(tmp_path / "a", max_bytes=BIG)


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME])
def test_a_long_header_takes_no_memory(tmp_path, kind):
    with tarfile.open(tmp_path / "a", "w:bz2") as archive:
        info = tarfile.TarInfo("header")
        info.type, info.size = kind, 50 << 20
        archive.addfile(info, io.BytesIO(bytes(50 << 20)))
    tracemalloc.start()
    with pytest.raises(DataError, match="header of more than 4 MiB"):
        archives.inspect(tmp_path / "a", max_bytes=10**6)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20 << 20


def test_many_small_headers_take_no_memory(tmp_path):
    with tarfile.open(tmp_path / "a", "w:gz", format=tarfile.PAX_FORMAT) as archive:
        for number in range(8):
            content = tarfile.TarInfo.create_pax_global_header({f"key{number}": "x" * (1 << 20)})
            archive.fileobj.write(content)
            archive.offset += len(content)
            archive.addfile(tarfile.TarInfo(f"file{number}"), io.BytesIO())
    with pytest.raises(DataError, match="headers of more than 4 MiB"):
        archives.inspect(tmp_path / "a", max_bytes=BIG)


@pytest.mark.parametrize("name", [".", "./"])
def test_the_folder_itself_is_no_attack(tmp_path, name):
    """``tar -C FOLDER .`` begins with it."""
    with tarfile.open(tmp_path / "a", "w") as archive:
        info = tarfile.TarInfo(name)
        info.type = tarfile.DIRTYPE
        archive.addfile(info)
        archive.addfile(tarfile.TarInfo("./b"), io.BytesIO())
    assert archives.inspect(tmp_path / "a", max_bytes=BIG) == 1


def test_links_and_devices_are_refused(tmp_path):
    for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE):
        with tarfile.open(tmp_path / "a.tar", "w") as archive:
            info = tarfile.TarInfo("link")
            info.type, info.linkname = kind, "/etc/passwd"
            archive.addfile(info)
        with pytest.raises(DataError, match="'link' is a link or device"):
            archives.inspect(tmp_path / "a.tar", max_bytes=BIG)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        info = zipfile.ZipInfo("link")
        info.create_system, info.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, "/etc/passwd")
    with pytest.raises(DataError, match="'link' is a link or device"):
        archives.inspect(tmp_path / "a.zip", max_bytes=BIG)


@pytest.mark.parametrize("kind", ["zip", "w:gz"])
def test_a_bomb_is_counted_as_it_unpacks(tmp_path, kind):
    if kind == "zip":
        with zipfile.ZipFile(tmp_path / "a", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("zeros", bytes(10**6))
    else:
        tar_of(tmp_path / "a", {"zeros": bytes(10**6)}, kind)
    assert (tmp_path / "a").stat().st_size < 5000
    assert archives.inspect(tmp_path / "a", max_bytes=10**6) == 1
    with pytest.raises(DataError, match="max_unpacked_gib"):
        archives.inspect(tmp_path / "a", max_bytes=10**6 - 1)


def test_a_header_that_lies_about_the_size(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros", bytes(10**6))
    content = (tmp_path / "a.zip").read_bytes()
    true, lie = (10**6).to_bytes(4, "little"), (100).to_bytes(4, "little")
    assert content.count(true) == 2
    (tmp_path / "a.zip").write_bytes(content.replace(true, lie))
    with pytest.raises(DataError, match="truncated or damaged"):
        archives.inspect(tmp_path / "a.zip", max_bytes=1000)


def test_too_many_members(tmp_path):
    path = zip_of(tmp_path / "a.zip", {str(i): b"" for i in range(4)})
    assert archives.inspect(path, max_bytes=BIG, max_members=4) == 4
    with pytest.raises(DataError, match="more than 3 members"):
        archives.inspect(path, max_bytes=BIG, max_members=3)
    tar_of(tmp_path / "a.tar", {str(i): b"" for i in range(4)})
    with pytest.raises(DataError, match="more than 3 members"):
        archives.inspect(tmp_path / "a.tar", max_bytes=BIG, max_members=3)


def test_members_in_each_others_way(tmp_path):
    for names in (("a", "a/b"), ("a/b", "a"), ("a", "./a")):
        path = tmp_path / "a.tar"
        with tarfile.open(path, "w") as archive:
            for name in names:
                archive.addfile(tarfile.TarInfo(name), io.BytesIO())
        with pytest.raises(DataError, match="stands twice"):
            archives.inspect(path, max_bytes=BIG)


def test_an_encrypted_zip(tmp_path):
    path = zip_of(tmp_path / "a.zip", {"a": b"secret"})
    content = bytearray(path.read_bytes())
    content[6] |= 1
    content[content.rindex(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match="encrypted"):
        archives.inspect(path, max_bytes=BIG)


@pytest.mark.parametrize(("content", "problem"), [(b"", "empty file"), (b"7z\xbc\xaf\x27\x1c" * 99, "neither a zip")])
def test_not_an_archive(tmp_path, content, problem):
    (tmp_path / "a.7z").write_bytes(content)
    with pytest.raises(DataError, match=problem):
        archives.suffix(tmp_path / "a.7z")


def test_an_archive_without_files(tmp_path):
    with pytest.raises(DataError, match="without files"):
        archives.inspect(zip_of(tmp_path / "a.zip", {"folder/": b""}), max_bytes=BIG)


@pytest.mark.parametrize("name", ["n" * 256, "a/" * 600 + "x.png"])
def test_a_name_that_no_disk_takes(tmp_path, name):
    with pytest.raises(DataError, match="too long a name"):
        archives.inspect(zip_of(tmp_path / "a.zip", {name: b""}), max_bytes=BIG)
    path = zip_of(tmp_path / "a.zip", {"a/" * 500 + "x.png": b""})
    archives.unpack(path, tmp_path, max_bytes=BIG)


def test_a_disk_that_fills_up_is_not_called_a_damaged_archive(tmp_path, monkeypatch):
    path = zip_of(tmp_path / "a.zip", {"a": b"a"})

    def full(source, sink):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(archives, "copy_stream", full)
    with pytest.raises(StorageError, match="no space left"):
        archives.unpack(path, tmp_path, max_bytes=BIG)


def test_names_that_are_not_utf_8(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w", format=tarfile.GNU_FORMAT, encoding="latin-1") as archive:
        archive.addfile(tarfile.TarInfo("caf\xe9"), io.BytesIO())
    with pytest.raises(DataError, match="not UTF-8"):
        archives.inspect(tmp_path / "a.tar", max_bytes=BIG)


def test_other_letters_are_fine(tmp_path):
    path = tar_of(tmp_path / "a.tar", {"Gefäße/眼.png": b"x"})
    (tmp_path / "out").mkdir()
    archives.unpack(path, tmp_path / "out", max_bytes=BIG)
    assert (tmp_path / "out/Gefäße/眼.png").read_bytes() == b"x"


def test_an_xz_takes_no_more_memory_than_those_that_people_make(tmp_path):
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 1 << 28}]
    tar_of(tmp_path / "a.tar", {"a.png": b"pixels"})
    packed = lzma.compress((tmp_path / "a.tar").read_bytes(), lzma.FORMAT_XZ, filters=filters)
    (tmp_path / "a.tar.xz").write_bytes(packed)
    with pytest.raises(DataError, match="Memory usage limit exceeded"):
        archives.inspect(tmp_path / "a.tar.xz", max_bytes=10**6)


def test_an_xz_of_several_parts(tmp_path):
    tar_of(tmp_path / "a.tar", {f"{i}.png": bytes([i]) * 3_000_000 for i in range(3)})
    content = (tmp_path / "a.tar").read_bytes()
    parts = [lzma.compress(content[start : start + 700_000]) for start in range(0, len(content), 700_000)]
    (tmp_path / "a.tar.xz").write_bytes(b"\0\0\0\0".join(parts) + b"\0\0\0\0")
    (tmp_path / "out").mkdir()
    archives.unpack(tmp_path / "a.tar.xz", tmp_path / "out", max_bytes=10**8)
    assert tree(tmp_path / "out") == {f"{i}.png": bytes([i]) * 3_000_000 for i in range(3)}
