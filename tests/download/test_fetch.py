import dataclasses
import hashlib
import json
import os
import shutil

import pytest

from maskline.core.errors import DataError, StorageError
from maskline.download import fetch as fetching
from maskline.download import transfer
from maskline.download.archives import source_archive
from maskline.download.catalog import Published, is_drawn, published
from maskline.download.fetch import Order, fetch
from tests.server import serving
from tests.sets import tree, zip_of

BIG = 10**9
CHUNK = 1 << 16  # what is written at a time


@pytest.fixture
def archive(tmp_path):
    return zip_of(tmp_path / "mine.zip", {"a": os.urandom(200_000), "b": b"b"})


@pytest.fixture
def server(archive):
    with serving(archive.read_bytes()) as running:
        yield running


@pytest.fixture
def waits(monkeypatch):
    waited = []
    monkeypatch.setattr(transfer.time, "sleep", waited.append)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return waited


@pytest.fixture
def get(tmp_path):
    """Fetch into tmp_path/raw."""

    def run(*, mirror=None, max_bytes=BIG, name="folder", **order):
        fetch(
            Order(name=name, **order),
            tmp_path / "raw",
            mirror=mirror,
            downloads=tmp_path / "downloads",
            max_unpacked_bytes=max_bytes,
        )
        return json.loads((tmp_path / "raw/source.json").read_text())

    return run


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("url", "file"),
    [
        ("http://host/a%20b.zip", "a b.zip"),
        ("http://host/..%2f..%2fdvc.yaml", "dvc.yaml"),
        ("http://host/x%5c..%5cdvc.yaml", "dvc.yaml"),
        ("http://host/%2e%2e", None),
        ("http://host/a%00b", None),
        ("http://host/" + "a" * 300, None),
    ],
)
def test_the_name_in_an_address_leads_to_no_other_folder(url, file):
    assert Order(name="folder", url=url).file == file


def test_a_password_is_in_no_line(get, waits):
    with pytest.raises(DataError) as caught:
        get(url="http://me:secret@127.0.0.1:1/a.zip?token=hidden")
    assert "127.0.0.1:1/a.zip" in str(caught.value)
    assert "secret" not in str(caught.value)
    assert "hidden" not in str(caught.value)


def test_what_is_checked_is_what_is_taken(get, archive, tmp_path, monkeypatch):
    """An archive that is replaced after its hash was read does not get through."""
    good, whole = sha256(archive), fetching.sha256_file

    def replaced_behind(path):
        found = whole(path)
        zip_of(archive, {"a": b"another"})
        return found

    monkeypatch.setattr(fetching, "sha256_file", replaced_behind)
    get(archive=archive, sha256=good)
    assert sha256(tmp_path / "raw/archive.zip") == good


def test_an_own_archive(get, archive, tmp_path):
    found = get(archive=archive)
    assert found == {
        "name": "folder",
        "file": "mine.zip",
        "sha256": sha256(archive),
        "bytes": archive.stat().st_size,
        "origin": "archive",
    }
    assert source_archive(tmp_path / "raw") == tmp_path / "raw/archive.zip"
    assert sorted(tree(tmp_path / "raw")) == ["archive.zip", "source.json"]
    assert sha256(tmp_path / "raw/archive.zip") == sha256(archive)


def test_the_suffix_follows_the_content(get, archive, tmp_path):
    shutil.copy(archive, tmp_path / "odd.bin")
    get(archive=tmp_path / "odd.bin")
    assert source_archive(tmp_path / "raw").name == "archive.zip"


def test_a_folder_stays_where_it_is_and_is_listed_the_same_each_time(get, tmp_path):
    (tmp_path / "mine/sub").mkdir(parents=True)
    (tmp_path / "mine/sub/a").write_bytes(b"a")
    first = get(archive=tmp_path / "mine")
    assert (first["origin"], first["file"], first["files"], first["bytes"]) == ("folder", "mine", 1, 1)
    before = tree(tmp_path / "raw")
    os.utime(tmp_path / "mine/sub/a", (0, 0))
    assert get(archive=tmp_path / "mine", sha256=first["sha256"]) == first
    assert tree(tmp_path / "raw") == before
    assert sorted(before) == ["listing.csv", "source.json"]
    (tmp_path / "mine/sub/a").write_bytes(b"b")
    with pytest.raises(DataError, match="mine: SHA-256 is"):
        get(archive=tmp_path / "mine", sha256=first["sha256"])


def test_an_archive_of_ones_own_is_inspected_once(get, archive, tmp_path, monkeypatch):
    looked = []
    monkeypatch.setattr(fetching.archives, "inspect", lambda path, **_: looked.append(path))
    for _ in range(2):
        get(archive=archive)
    assert len(looked) == 1
    get(archive=archive, max_bytes=BIG + 1)
    assert len(looked) == 2, "another limit"


def test_other_files_that_are_watched(get, archive, tmp_path):
    (tmp_path / "val.txt").write_text("a")
    watched = {"val.txt": tmp_path / "val.txt", "gone.txt": tmp_path / "gone.txt"}
    first = get(archive=archive, watched=watched)
    assert first["watched"] == {"val.txt": sha256(tmp_path / "val.txt")}
    (tmp_path / "val.txt").write_text("b")
    assert get(archive=archive, watched=watched) != first
    assert "watched" not in get(archive=archive)


@pytest.mark.parametrize("prefix", ["", "sha256:"])
def test_the_users_hash(get, archive, prefix):
    get(archive=archive, sha256=prefix + sha256(archive).upper())
    with pytest.raises(DataError, match=f"mine.zip: SHA-256 is {sha256(archive)}, not {'0' * 64}"):
        get(archive=archive, sha256=prefix + "0" * 64)


def test_an_own_archive_need_not_be_the_published_one(get, archive, tmp_path):
    known = Published(file="mine.zip", url="http://nowhere.invalid/mine.zip", sha256="0" * 64)
    assert get(archive=archive, published=known)["sha256"] == sha256(archive)
    with pytest.raises(DataError, match="SHA-256 is"):
        get(mirror=tmp_path, published=known)
    assert get(mirror=tmp_path, published=dataclasses.replace(known, sha256=sha256(archive)))["origin"] == "archive"


def test_a_mirror_comes_before_the_address(get, archive, server, tmp_path):
    shutil.copy(archive, tmp_path / "SET 1.zip")
    assert get(mirror=tmp_path, url=server.url)["file"] == "SET 1.zip"
    assert server.requests == []


def test_mirror_and_download_give_the_same_bytes(get, archive, server, tmp_path, waits):
    shutil.copy(archive, tmp_path / "SET 1.zip")
    get(mirror=tmp_path, url=server.url)
    first = tree(tmp_path / "raw")
    get(url=server.url)
    assert tree(tmp_path / "raw") == first


def test_a_missing_mirror(get, tmp_path):
    with pytest.raises(DataError, match="MASKLINE_MIRROR: no such folder"):
        get(mirror=tmp_path / "none", url="http://nowhere.invalid/a.zip")


def test_nothing_at_hand(get):
    with pytest.raises(DataError, match=r"data.archive: null, and folder has no download address"):
        get()


def test_a_missing_archive(get, tmp_path):
    with pytest.raises(DataError, match="no such file or folder"):
        get(archive=tmp_path / "none.zip")


def test_a_drawn_set(get, archive):
    assert get(draw=lambda path: shutil.copy(archive, path))["origin"] == "drawn"
    for key in ("archive", "url"):
        with pytest.raises(DataError, match=f"data.{key}: .* is drawn, not read; set it to null"):
            get(draw=lambda path: shutil.copy(archive, path), **{key: archive})


def test_a_former_folder_stays_on_any_failure(get, archive, tmp_path):
    get(archive=archive)
    before = tree(tmp_path / "raw")
    (tmp_path / "broken.zip").write_bytes(archive.read_bytes()[:1000])
    for order in (
        {"archive": tmp_path / "broken.zip"},
        {"archive": archive, "sha256": "0" * 64},
        {"archive": archive, "max_bytes": 1000},
        {"archive": tmp_path / "none"},
    ):
        with pytest.raises(DataError):
            get(**order)
        assert tree(tmp_path / "raw") == before
        assert [path.name for path in tmp_path.glob(".*")] == []


def test_a_full_disk(get, archive, tmp_path, monkeypatch):
    get(archive=archive)
    before = tree(tmp_path / "raw")

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(fetching.shutil, "copyfile", full)
    with pytest.raises(StorageError, match="no space left"):
        get(archive=archive)
    assert tree(tmp_path / "raw") == before


def test_a_download(get, archive, server, tmp_path, waits):
    found = get(url=server.url, sha256=sha256(archive))
    assert (found["file"], found["sha256"]) == ("SET 1.zip", sha256(archive))
    assert tree(tmp_path / "downloads").keys() == {"SET 1.zip.lock", sha256(archive)}, "for a stage that runs again"
    assert waits == []


def test_a_wrong_checksum(get, server, tmp_path, waits):
    with pytest.raises(DataError, match=f"does not have the SHA-256 {'0' * 64}"):
        get(url=server.url, sha256="0" * 64)
    assert not (tmp_path / "raw").exists()
    assert list(tree(tmp_path / "downloads")) == ["SET 1.zip.lock"]


def test_a_broken_connection_is_resumed(get, archive, server, waits):
    server.break_after = [CHUNK, CHUNK + 10]
    assert get(url=server.url)["sha256"] == sha256(archive)
    assert [request.get("Range") for request in server.requests] == [None, f"bytes={CHUNK}-", f"bytes={2 * CHUNK}-"]
    assert server.requests[1]["If-Range"].startswith('"')
    assert waits == [1.0, 2.0]


def test_a_later_run_resumes(get, archive, server, tmp_path, waits):
    server.break_after = [CHUNK] + [0] * 4
    with pytest.raises(DataError, match="cannot be downloaded"):
        get(url=server.url)
    assert (tmp_path / "downloads/SET 1.zip.part").stat().st_size == CHUNK
    assert not (tmp_path / "raw").exists()
    server.requests.clear()
    assert get(url=server.url)["sha256"] == sha256(archive)
    assert [request.get("Range") for request in server.requests] == [f"bytes={CHUNK}-"]


def test_a_file_that_changed_meanwhile_comes_anew(get, server, archive, tmp_path, waits):
    server.break_after = [CHUNK] + [0] * 4
    with pytest.raises(DataError):
        get(url=server.url)
    other = zip_of(tmp_path / "other.zip", {"other": os.urandom(300_000)})
    server.content = other.read_bytes()
    assert get(url=server.url)["sha256"] == sha256(other)


def test_a_server_without_ranges_sends_all_again(get, archive, server, waits):
    server.ranges, server.break_after = False, [CHUNK]
    assert get(url=server.url)["sha256"] == sha256(archive)


def test_without_marks_only_a_checked_file_is_resumed(get, archive, server, waits):
    server.etag, server.break_after = False, [CHUNK]
    get(url=server.url)
    assert [request.get("Range") for request in server.requests] == [None, None]
    server.requests.clear()
    server.break_after = [CHUNK]
    get(url=server.url, sha256=sha256(archive))
    assert [request.get("Range") for request in server.requests] == [None, f"bytes={CHUNK}-"]


def test_a_complete_part_is_taken(get, archive, server, tmp_path, waits):
    (tmp_path / "downloads").mkdir()
    (tmp_path / "downloads/SET 1.zip.part").write_bytes(archive.read_bytes())
    (tmp_path / "downloads/SET 1.zip.part.json").write_text(json.dumps({"url": server.url, "marker": None}))
    assert get(url=server.url, sha256=sha256(archive))["sha256"] == sha256(archive)


def test_a_part_that_is_too_long_comes_anew(get, archive, server, tmp_path, waits):
    (tmp_path / "downloads").mkdir()
    (tmp_path / "downloads/SET 1.zip.part").write_bytes(archive.read_bytes() + b"more")
    (tmp_path / "downloads/SET 1.zip.part.json").write_text(json.dumps({"url": server.url, "marker": None}))
    assert get(url=server.url, sha256=sha256(archive))["sha256"] == sha256(archive)


@pytest.mark.parametrize("length", ["abc", "-5", "9" * 5000])
def test_a_length_that_is_none(get, server, waits, length):
    server.headers = {"Content-Length": length}
    with pytest.raises(DataError, match=rf"SET%201.zip: the server says that it is '{length[:40]}' bytes long; fetch"):
        get(url=server.url)


def test_another_part_than_was_asked_for_is_not_the_file(get, archive, server, waits):
    server.break_after, server.parts = [CHUNK], [None, 10]
    assert get(url=server.url)["sha256"] == sha256(archive)
    assert [request.get("Range") for request in server.requests] == [None, f"bytes={CHUNK}-", None]
    server.parts = [10]
    with pytest.raises(DataError, match=r"sent a part of the file \(206\), which was not asked for; fetch"):
        get(url=server.url)


def test_a_busy_server_is_asked_again(get, archive, server, waits):
    server.status = [503, 429]
    assert get(url=server.url)["sha256"] == sha256(archive)
    assert waits == [1.0, 2.0]


@pytest.mark.parametrize("code", [404, 403])
def test_no_such_file(get, server, waits, code):
    server.status = [code]
    with pytest.raises(DataError, match=f"SET%201.zip: the server answered {code} .*data.url"):
        get(url=server.url)
    assert waits == []


def test_too_long_a_file_is_stopped(get, server, tmp_path, waits):
    with pytest.raises(DataError, match="longer than"):
        get(url=server.url, max_bytes=150_000)
    assert list(tree(tmp_path / "downloads")) == ["SET 1.zip.lock"]


def test_an_error_page_is_no_archive(get, server, tmp_path, waits):
    server.content = b"<html>please log in</html>"
    with pytest.raises(DataError, match=r"SET%201.zip: neither a zip nor a tar"):
        get(url=server.url)


@pytest.mark.parametrize("url", ["ftp://host/a.zip", "file:///etc/passwd", "a.zip"])
def test_other_addresses(get, url, waits):
    with pytest.raises(DataError, match="no http or https address"):
        get(url=url)


@pytest.mark.parametrize(
    "url", ["http://me:se/cret@host/a.zip", "http://me:se#cret@host/a.zip", "http://me:secret@[::1/a.zip"]
)
def test_an_address_that_is_none_is_told_without_its_password(get, url, waits):
    with pytest.raises(DataError, match=r"^data.url: .* is no address; check it") as caught:
        get(url=url)
    assert "cret" not in str(caught.value)


def test_a_host_that_cannot_be(get, waits):
    with pytest.raises(DataError, match=r"^http://\*\*\*@a\.\.b/x\.zip: leads to no host"):
        get(url="http://me:secret@a..b/x.zip")


def test_offline_names_address_file_and_where_to_put_it(get, server, waits):
    port = server.url.split(":")[2].split("/")[0]
    url = f"http://127.0.0.1:{port}/SET.zip".replace(port, "9")  # the discard port: nobody listens
    with pytest.raises(DataError) as caught:
        get(url=url)
    text = str(caught.value)
    assert "\n" not in text
    for word in (url, "fetch SET.zip", "data.archive", "MASKLINE_MIRROR"):
        assert word in text
    assert waits == [], "fails at once"


def test_an_empty_raw_folder(tmp_path):
    with pytest.raises(DataError, match="no archive in it; run the download stage"):
        source_archive(tmp_path)
    with pytest.raises(DataError, match="no archive in it"):
        source_archive(tmp_path / "none")


def test_the_catalog():
    chase = published("chase_db1")
    assert chase.file == "CHASEDB1.zip"
    assert chase.sha256 == "6899d626325134c1f3957facb596f56cca245624161640046c89cbbe44870cef"
    assert published("folder") is None
    assert is_drawn("synthetic_fundus")
    assert not is_drawn("chase_db1")
    assert published("drive") is None, "behind a registration"


def test_the_known_hash_is_that_of_the_archive(shared_data):
    assert sha256(shared_data / "CHASEDB1.zip") == published("chase_db1").sha256


def test_a_download_of_known_hash_is_not_fetched_again(get, archive, server, tmp_path):
    first = get(url=server.url, sha256=sha256(archive))
    server.requests.clear()
    assert get(url=server.url, sha256=sha256(archive)) == first
    assert server.requests == []
    (kept,) = (path for path in tmp_path.rglob(sha256(archive)) if path.is_file())
    kept.unlink()
    kept.write_bytes(b"damaged")
    assert get(url=server.url, sha256=sha256(archive)) == first
    assert len(server.requests) == 1


def test_a_download_of_unknown_hash_is_fetched_anew(get, server):
    get(url=server.url)
    server.requests.clear()
    get(url=server.url)
    assert len(server.requests) == 1
