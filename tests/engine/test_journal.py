"""The journal: whole entries only, the two newest, one process at a time."""

import errno
import threading

import pytest
import torch

from maskline.core.errors import StorageError, TrainingError
from maskline.engine.journal import Journal, journal_root


def entry(value):
    return {"iteration": value, "weights": {"w": torch.full((3,), float(value))}, "rows": [{"loss": 0.5}]}


def test_newest_is_read_and_two_are_kept(tmp_path):
    journal = Journal(tmp_path / "j")
    assert journal.read() is None
    for value in (1, 2, 3):
        journal.write(value, entry(value))
    assert sorted(path.name for path in journal.folder.iterdir()) == [
        "iteration-000000002.pt",
        "iteration-000000003.pt",
    ]
    state = journal.read()
    assert state["iteration"] == 3
    assert state["weights"]["w"].tolist() == [3.0, 3.0, 3.0]


def test_entries_after_the_one_written_are_dropped(tmp_path):
    journal = Journal(tmp_path / "j")
    for value in (3, 4, 0):
        journal.write(value, entry(value))
    assert [path.name for path in journal.folder.iterdir()] == ["iteration-000000000.pt"]


def test_an_entry_written_behind_is_of_its_moment_and_the_same_file(tmp_path):
    at_once, behind = Journal(tmp_path / "a"), Journal(tmp_path / "b")
    state = entry(1)
    at_once.write(1, state)
    behind.write(1, state, behind=True)
    state["weights"]["w"].zero_()
    state["rows"].append({"loss": 9.0})
    assert behind.read()["rows"] == [{"loss": 0.5}]
    name = "iteration-000000001.pt"
    assert (behind.folder / name).read_bytes() == (at_once.folder / name).read_bytes()


def test_an_entry_is_left_out_while_the_one_before_is_being_written(tmp_path, monkeypatch):
    journal, goes_on = Journal(tmp_path / "j"), threading.Event()
    save = torch.save
    monkeypatch.setattr(torch, "save", lambda *given: (goes_on.wait(30), save(*given)))
    journal.write(1, entry(1), behind=True)
    journal.write(2, entry(2), behind=True)
    goes_on.set()
    assert journal.read()["iteration"] == 1
    journal.write(3, entry(3), behind=True)
    assert journal.read()["iteration"] == 3


def test_what_went_wrong_behind_is_raised(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(StorageError, match="no space left"), Journal(tmp_path / "j").locked() as journal:
        journal.write(1, entry(1), behind=True)
    with Journal(tmp_path / "j").locked() as journal:
        journal.write(1, entry(1), behind=True)
        with pytest.raises(StorageError, match="no space left"):
            journal.write(2, entry(2))


@pytest.mark.parametrize("damage", ["cut", "flip", "empty"])
def test_a_torn_entry_falls_back_to_the_one_before(tmp_path, damage, caplog):
    journal = Journal(tmp_path / "j")
    for value in (1, 2):
        journal.write(value, entry(value))
    newest = journal.folder / "iteration-000000002.pt"
    content = bytearray(newest.read_bytes())
    content[100] ^= 1
    newest.write_bytes({"cut": content[: len(content) // 2], "flip": content, "empty": b""}[damage])
    assert journal.read()["iteration"] == 1
    assert "iteration-000000002.pt is torn" in caplog.text


def test_one_process_at_a_time(tmp_path):
    second = Journal(tmp_path / "j").locked()
    with Journal(tmp_path / "j").locked(), pytest.raises(TrainingError, match="another process trains"):
        second.__enter__()
    with Journal(tmp_path / "j").locked() as journal:
        journal.remove()
    assert not (tmp_path / "j").exists()


def test_root_is_the_main_checkouts(monkeypatch, tmp_path):
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    assert journal_root() == tmp_path / ".maskline" / "journal"
