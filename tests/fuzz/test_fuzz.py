"""A short fuzz of what others write, the same each time, and what longer ones have shown (``python -m tests.fuzz``)."""

import json
from pathlib import Path

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from maskline.core.errors import DataError
from tests.fuzz.changes import changes, damage
from tests.fuzz.targets import TARGETS, Target, check

CORPUS = json.loads(Path(__file__).with_name("corpus.json").read_text())


@pytest.mark.parametrize("name", TARGETS)
def test_the_sound_document_is_taken(name, tmp_path):
    target = TARGETS[name]
    target.use(target.text(target.document()), tmp_path)


@pytest.mark.parametrize(("name", "listed", "hurt"), CORPUS)
def test_what_was_a_traceback_once(name, listed, hurt, tmp_path):
    check(name, listed, hurt, tmp_path)


@pytest.mark.parametrize("name", TARGETS)
def test_no_traceback(name, tmp_path_factory):
    @settings(max_examples=20, derandomize=True, database=None, phases=[Phase.generate])
    @given(changes, st.none() | damage)
    def one(listed, hurt):
        check(name, listed, hurt, tmp_path_factory.mktemp("fuzz"))

    one()


def test_the_fuzz_sees_a_traceback(monkeypatch, tmp_path):
    def use(text, folder):
        if json.loads(text) != {"a": 1}:
            raise KeyError("a")
        raise DataError("a", "b", "c")

    monkeypatch.setitem(TARGETS, "bad", Target(lambda: {"a": 1}, use))
    check("bad", [], None, tmp_path)
    with pytest.raises(KeyError):
        check("bad", [[0, "remove", None]], None, tmp_path)
