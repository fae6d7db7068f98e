"""The one reader of YAML; what params files get of it is in tests/params."""

import pytest
from ruamel.yaml.constructor import SafeConstructor

from maskline.core import yaml_text
from maskline.core.errors import DataError, ParamsError


def test_a_file_longer_than_is_parsed_is_not_read(tmp_path):
    path = tmp_path / "data.yaml"
    with path.open("wb") as stream:
        stream.truncate(1 << 40)  # a hole, which no memory holds
    with pytest.raises(DataError, match=r"^data\.yaml: more than 512 KiB; shorten it, or name the right file$"):
        yaml_text.read(path, place="data.yaml", error=DataError)


def test_text_is_counted_in_bytes():
    with pytest.raises(ParamsError, match="more than 512 KiB"):
        yaml_text.load("# " + "é" * (256 << 10), place="a", error=ParamsError)


@pytest.mark.parametrize(
    "text",
    [
        "a0: &a0 [1]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 30)),
        "a0: &a0 {k: 1}\n" + "".join(f"a{i}: &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 9)}]}}\n" for i in range(1, 30)),
        f"a: &a {{{', '.join(f'k{i}: 1' for i in range(500))}}}\nb: {{<<: [{', '.join(['*a'] * 500)}]}}",
        f"a: &a {'x' * 50_000}\nb: [{', '.join(['*a'] * 50)}]",
        f"a: &a {'x' * 1000}\nm: &m {{*a : 1}}\nb: [{', '.join(['*m'] * 2000)}]",
        "a: &a [*a, *a]",
        "a: &a {<<: *a}",
        "[" * 52 + "]" * 52,
        f"a: &a {'[' * 30}{']' * 30}\nb: {'[' * 30}*a{']' * 30}",
    ],
)
def test_aliases_are_counted_before_any_value_is_made(text, monkeypatch):
    monkeypatch.setattr(SafeConstructor, "construct_object", None)
    with pytest.raises(DataError, match=r"^b: more than 100000 values or 50 levels, aliases and merge keys unfolded; "):
        yaml_text.load(text, place="b", error=DataError)


def test_aliases_that_people_write():
    text = f"a: &a {{x: 1, y: 2}}\nb: {{<<: *a, y: 3}}\nc: [*a, *a]\nd: {'[' * 50}{']' * 50}"
    value = yaml_text.load(text, place="b", error=DataError)
    assert (value["b"], value["c"]) == ({"x": 1, "y": 3}, [{"x": 1, "y": 2}] * 2)


def test_lines_that_are_no_yaml():
    with pytest.raises(DataError, match=r"^b: not YAML: .*; fix the line it names$"):
        yaml_text.load("a: [", place="b", error=DataError)
