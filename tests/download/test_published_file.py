"""A published file: from the mirror, kept, downloaded; each way to fail in one line."""

import threading

import pytest
from filelock import FileLock

from maskline.core.errors import DataError
from maskline.download import published_file
from tests.server import serving

CONTENT = b"abc" * 1000
NAME = "SET%201.zip"


def fault(path):
    return None if path.read_bytes() == CONTENT else "other bytes"


def obtain(url, mirror=None):
    return published_file.obtain(url, mirror=mirror, fault=fault, max_bytes=10_000, otherwise=", or do without")


@pytest.fixture(autouse=True)
def project(monkeypatch, tmp_path):
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr("maskline.download.transfer._WAITS_S", ())


def test_the_downloads_folder_is_the_projects(tmp_path):
    assert published_file.downloads_folder() == tmp_path / ".maskline/downloads"


def test_the_second_time_it_is_at_hand():
    with serving(CONTENT) as server:
        first = obtain(server.url)
        assert obtain(server.url) == first
    assert obtain(server.url).read_bytes() == CONTENT
    assert len(server.requests) == 1


def test_of_a_mirror(tmp_path):
    (tmp_path / "mirror").mkdir()
    (tmp_path / "mirror" / NAME).write_bytes(CONTENT)
    assert obtain(f"http://127.0.0.1:1/{NAME}", tmp_path / "mirror") == tmp_path / "mirror" / NAME
    (tmp_path / "mirror" / NAME).write_bytes(b"")
    with pytest.raises(DataError, match=r"other bytes; fetch it again into the folder"):
        obtain(f"http://127.0.0.1:1/{NAME}", tmp_path / "mirror")
    with pytest.raises(DataError, match="MASKLINE_MIRROR: no such folder"):
        obtain(f"http://127.0.0.1:1/{NAME}", tmp_path / "none")


def test_another_file_is_not_kept():
    with serving(b"something else") as server, pytest.raises(DataError, match="other bytes; try again"):
        obtain(server.url)
    assert [path.name for path in published_file.downloads_folder().iterdir()] == [f"{NAME}.lock"]


def test_two_at_once_fetch_it_once(capsys):
    folder = published_file.downloads_folder()
    folder.mkdir(parents=True)
    got = []
    with serving(CONTENT) as server:
        with FileLock(folder / f"{NAME}.lock"):  # as another process that has begun
            second = threading.Thread(target=lambda: got.append(obtain(server.url)))
            second.start()
            second.join(timeout=0.5)
            assert second.is_alive()
            (folder / NAME).write_bytes(CONTENT)  # that one ends
        second.join(timeout=10)
    assert got == [folder / NAME]
    assert not server.requests
    assert capsys.readouterr().err == f"{NAME}: another process downloads it; waiting for that one.\n"


def test_no_server_and_no_such_file():
    remedy = f"fetch {NAME} from there .* MASKLINE_MIRROR names, or do without"
    with pytest.raises(DataError, match=rf"cannot be downloaded \(ConnectionError\); {remedy}"):
        obtain(f"http://127.0.0.1:1/{NAME}")
    with serving(CONTENT) as server:
        server.status.append(404)
        with pytest.raises(DataError, match=rf"answered 404 Not Found; {remedy}"):
            obtain(server.url)
