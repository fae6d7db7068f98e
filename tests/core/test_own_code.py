"""Code of the user's own is found by path:Name; what cannot be is one line."""

import pytest

from maskline.core import own_code
from maskline.core.errors import ParamsError


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own").mkdir()
    return tmp_path


@pytest.mark.parametrize("name", ["own/a.py:A", "a.py:b", "a.py", "own/a.py:"])
def test_a_name_of_ones_own(name):
    assert own_code.is_own(name)


@pytest.mark.parametrize("name", ["fcn", "resnet18_v1c", "resnet50.a1_in1k", "hf-hub:timm/python", 5, None])
def test_another_name(name):
    assert not own_code.is_own(name)


def test_it_is_loaded_once_for_each_content(folder):
    file = folder / "own" / "a.py"
    file.write_text("class A:\n    pass\n")
    first = own_code.load("own/a.py:A", place="p")
    assert own_code.load("own/a.py:A", place="p") is first
    file.write_text("class A:\n    x = 1\n")  # of the same second, for which Python would take old bytecode
    assert own_code.load("own/a.py:A", place="p").x == 1
    assert not list(folder.rglob("__pycache__"))


def test_data_classes_and_annotations_work(folder):
    text = (
        "from __future__ import annotations\nfrom dataclasses import dataclass\n@dataclass\nclass A:\n    x: int = 1\n"
    )
    (folder / "a.py").write_text(text)
    assert own_code.load("a.py:A", place="p")().x == 1


@pytest.mark.parametrize(
    ("text", "name", "message"),
    [
        ("", "own/a.py", "p: own/a.py: not of the form path/to/file.py:Name; give path/to/file.py:Name"),
        ("", "own/a.py:1", "not of the form"),
        ("", "/own/a.py:A", "outside of the project's folder"),
        ("", "../a.py:A", "outside of the project's folder"),
        ("", "own/b.py:A", "no such file; give path/to/file.py:Name, relative to the project's folder, and run there"),
        ("x = 1", "own/a.py:A", "nothing called A in it"),
        ("class A(", "own/a.py:A", "cannot be imported"),
        ("import no_such_package", "own/a.py:A", "cannot be imported (ModuleNotFoundError"),
        ("raise ValueError('two\\nlines')", "own/a.py:A", "cannot be imported"),
    ],
)
def test_what_cannot_be_loaded_is_one_line(folder, text, name, message):
    (folder / "own" / "a.py").write_text(text)
    with pytest.raises(ParamsError) as caught:
        own_code.load(name, place="p")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_another_file_of_the_project_is_not_imported(folder, monkeypatch):
    (folder / "helper_of_mine.py").write_text("x = 1")
    (folder / "own" / "a.py").write_text("import helper_of_mine\nA = 1\n")
    monkeypatch.syspath_prepend(str(folder))
    with pytest.raises(ParamsError, match=r"imports helper_of_mine\.py, a file of the project whose edits would not"):
        own_code.load("own/a.py:A", place="p")


def test_hashes_are_of_files(folder):
    for name in "ab":
        (folder / "own" / f"{name}.py").write_text(name)
    found = own_code.hashes(["own/b.py:X", "own/a.py:Y", "own/b.py:Z"], place="p")
    assert list(found) == ["own/a.py", "own/b.py"]
    assert found["own/a.py"] == "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"
    with pytest.raises(ParamsError, match=r"p: own/c\.py: no such file"):
        own_code.hashes(["own/c.py:X"], place="p")
