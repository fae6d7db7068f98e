import json
import time

import pytest

from maskline.core.errors import DataError
from maskline.data.labels import LabelSet


def two(**changes):
    values = {"class_names": ("background", "vessel"), "palette": ((0, 0, 0), (255, 0, 0)), **changes}
    return LabelSet(**values)


def test_written_and_read_it_is_the_same(tmp_path):
    labels = two(ignore_index=254, reduce_zero_label=True)
    labels.write(tmp_path / "labels.json")
    assert LabelSet.read(tmp_path / "labels.json") == labels


def test_ids_are_positions():
    assert two().num_classes == 2
    assert two().class_names.index("vessel") == 1


@pytest.mark.parametrize(("ignore_index", "dtype"), [(255, "uint8"), (256, "uint16"), (65535, "uint16")])
def test_masks_take_the_smallest_type_that_holds_every_value(ignore_index, dtype):
    assert two(ignore_index=ignore_index).mask_dtype == dtype


def test_keys_are_plain_and_each_different():
    labels = LabelSet(
        class_names=("Sky", "sky!", "traffic light", "日"), palette=((0, 0, 0), (1, 1, 1), (2, 2, 2), (3, 3, 3))
    )
    assert labels.keys == ("sky_0", "sky_1", "traffic_light", "class")


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"class_names": ("one",), "palette": ((0, 0, 0),)}, "at least two classes"),
        ({"class_names": ("a", "a")}, "stands twice"),
        ({"palette": ((0, 0, 0),)}, "one color a class"),
        ({"palette": ((0, 0, 0), (-5, 999, 3))}, r"color \[-5, 999, 3\] of "),
        ({"ignore_index": 1}, "ignore_index 1"),
        ({"ignore_index": 65536}, "ignore_index 65536"),
    ],
)
def test_wrong_labels_are_refused(changes, text):
    with pytest.raises(DataError, match=text):
        two(**changes)


@pytest.mark.parametrize(
    ("names", "keys"),
    [
        (("a", "A", "a_0", "a 1"), ("a_0_0", "a_1_1", "a_0", "a_1")),
        (("a 1", "a", "a-1", "A", "a_1_2"), None),
    ],
)
def test_keys_that_a_number_makes_alike_are_numbered_again(names, keys):
    labels = two(class_names=names, palette=((0, 0, 0),) * len(names))
    assert len(set(labels.keys)) == len(names)
    assert keys is None or labels.keys == keys


@pytest.mark.parametrize("name", ["\x1b[2J", "a\nb", " a", "\u202egnp"])
def test_a_name_that_moves_the_cursor_is_refused(name):
    with pytest.raises(DataError, match="control characters"):
        two(class_names=("a", name))


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b'{"class_names": ["\xe9", "b"]}', "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (None, "not a plain file; name "),
    ],
)
def test_a_file_that_cannot_be_read(tmp_path, content, problem):
    path = tmp_path / "labels.json"
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content)
    with pytest.raises(DataError, match=rf"labels\.json: {problem}"):
        LabelSet.read(path)


def test_many_names_take_no_time():
    count, start = 60_000, time.process_time()
    labels = two(class_names=tuple(f"c {i}" for i in range(count)), palette=((0, 0, 0),) * count, ignore_index=65535)
    assert labels.keys[:2] == ("c_0", "c_1")
    assert time.process_time() - start < 5


def test_a_missing_file_names_the_remedy(tmp_path):
    with pytest.raises(DataError, match="run the convert stage first"):
        LabelSet.read(tmp_path / "labels.json")


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "{}",
        json.dumps({"class_names": ["a", "b"], "palette": [[0, 0], [1, 1]]}),
        '{"class_names": ["a", "b"], "palette": [[0, 0, 0], [1, 1, 1e999]]}',
    ],
)
def test_a_damaged_file_is_named(tmp_path, text):
    path = tmp_path / "labels.json"
    path.write_text(text)
    with pytest.raises(DataError, match=r"labels\.json: not "):
        LabelSet.read(path)
