"""The one reader of YAML; what params files get of it is in tests/params."""

import pytest

from maskline.core import yaml_text
from maskline.core.errors import DataError, ParamsError


def test_a_file_longer_than_is_parsed_is_not_read(tmp_path):
    path = tmp_path / "data.yaml"
    with path.open("wb") as stream:
        stream.truncate(1 << 40)  # a hole, which no memory holds
    with pytest.raises(DataError, match=r"^data\.yaml: more than 512 KiB of YAML; shorten it$"):
        yaml_text.read(path, place="data.yaml", error=DataError)


def test_text_is_counted_in_bytes():
    with pytest.raises(ParamsError, match="more than 512 KiB"):
        yaml_text.load("# " + "é" * (256 << 10), place="a", error=ParamsError)


def test_aliases_and_lines_that_are_no_yaml():
    lists = "a0: &a0 [1]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 9))
    with pytest.raises(DataError, match=r"^b: more than 100000 values or 50 levels, aliases unfolded"):
        yaml_text.load(lists, place="b", error=DataError)
    with pytest.raises(DataError, match=r"^b: not YAML: .*; fix the line it names$"):
        yaml_text.load("a: [", place="b", error=DataError)
