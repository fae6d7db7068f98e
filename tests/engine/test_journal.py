"""The journal: whole entries only, the two newest, one process at a time."""

import pytest
import torch

from maskline.core.errors import TrainingError
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
