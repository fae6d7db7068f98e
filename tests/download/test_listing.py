import os

import pytest

from maskline.core.errors import DataError
from maskline.download import listing

OLD = (10**9, 10**9)  # seconds; of files that were not written a moment ago


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A set with what is no part of it, and a working folder of its own."""
    monkeypatch.delenv("DVC_ROOT", raising=False)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    for name in (
        "images/a b,c.png",
        "masks/\u773c.png",
        ".hidden/x",
        "masks/.DS_Store",
        "masks/Thumbs.db",
        "desktop.ini",
    ):
        path = tmp_path / "set" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
        os.utime(path, OLD)
    return tmp_path / "set"


@pytest.fixture
def read_files(monkeypatch):
    """The files that were read, by name."""
    names = []
    real = listing.sha256_file
    monkeypatch.setattr(listing, "sha256_file", lambda path: names.append(path.name) or real(path))
    monkeypatch.setattr(listing, "_TICK_NS", -(10**18))  # the change time cannot be set back
    return names


def test_what_counts_and_a_round_trip(folder, tmp_path):
    files = listing.list_folder(folder)
    assert list(files) == ["images/a b,c.png", "masks/\u773c.png"]
    listing.write(tmp_path / "listing.csv", files)
    assert listing.read(tmp_path / "listing.csv") == files
    for text in ("file,bytes\n", (tmp_path / "listing.csv").read_text() + "x" * 200_000):
        (tmp_path / "listing.csv").write_text(text)
        with pytest.raises(DataError, match="not a listing"):
            listing.read(tmp_path / "listing.csv")


def test_only_what_changed_is_read_again(folder, read_files):
    first = listing.list_folder(folder)
    assert len(read_files) == 2
    assert listing.list_folder(folder) == first
    assert len(read_files) == 2
    mask = folder / "masks/\u773c.png"
    size = mask.stat().st_size
    mask.write_bytes(b"x" * size)
    os.utime(mask, OLD)  # a program that sets the time back
    assert listing.list_folder(folder) != first
    assert read_files[2:] == ["\u773c.png"]


def test_a_file_of_this_very_moment_is_read_again(folder, read_files, monkeypatch):
    monkeypatch.setattr(listing, "_TICK_NS", 10**18)
    listing.list_folder(folder)
    listing.list_folder(folder)
    assert len(read_files) == 4


def test_links_are_followed(folder, tmp_path):
    (tmp_path / "store").mkdir()
    (tmp_path / "store/b.png").write_bytes(b"b")
    (folder / "images/b.png").symlink_to(tmp_path / "store/b.png")
    (folder / "more").symlink_to(tmp_path / "store")
    files = listing.list_folder(folder)
    assert files["images/b.png"] == files["more/b.png"]
    listing.write(tmp_path / "listing.csv", files)
    (tmp_path / "laid").mkdir()
    listing.ListedFolder(folder=folder, listing=tmp_path / "listing.csv").link(tmp_path / "laid")
    laid = {path.relative_to(tmp_path / "laid").as_posix() for path in (tmp_path / "laid").rglob("*") if path.is_file()}
    assert laid == set(files)
    assert (tmp_path / "laid/more/b.png").read_bytes() == b"b"


@pytest.mark.parametrize(("target", "problem"), [("nowhere", "a link to nothing"), (".", "folder that it lies in")])
def test_links_that_lead_nowhere(folder, target, problem):
    (folder / "link").symlink_to(target)
    with pytest.raises(DataError, match=problem):
        listing.list_folder(folder)


def test_nothing_to_list(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no files"):
        listing.list_folder(tmp_path / "empty")
    with open(os.fsencode(tmp_path / "empty") + b"/caf\xe9", "wb"):  # noqa: PTH123
        pass
    with pytest.raises(DataError, match="not UTF-8"):
        listing.list_folder(tmp_path / "empty")


def test_the_project_is_no_part_of_the_set_that_it_lies_in(folder, monkeypatch):
    (folder / "project/data").mkdir(parents=True)
    (folder / "project/data/x").write_bytes(b"x")
    monkeypatch.chdir(folder / "project")
    assert len(listing.list_folder(folder)) == 2


def test_an_edit_since_it_was_listed(folder, tmp_path):
    listing.write(tmp_path / "listing.csv", listing.list_folder(folder))
    listed = listing.ListedFolder(folder=folder, listing=tmp_path / "listing.csv")
    listed.check()
    (folder / "images/new.png").write_bytes(b"new")
    with pytest.raises(DataError, match=r"new\.png added since download listed it"):
        listed.check()


def test_a_listing_without_its_folder(tmp_path):
    with pytest.raises(DataError, match="no archive in it"):
        listing.source(tmp_path, None)
    (tmp_path / "listing.csv").write_text("")
    with pytest.raises(DataError, match="no such folder"):
        listing.source(tmp_path, tmp_path / "gone")
