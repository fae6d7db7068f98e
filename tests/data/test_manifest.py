import pandas as pd
import pytest

from maskline.core.errors import DataError
from maskline.data import manifest
from maskline.data.labels import LabelSet

LABELS = LabelSet(class_names=("a", "b"), palette=((0, 0, 0), (1, 2, 3)))
SHA = "0" * 64


def row(id_, split="train", **changes):
    cells = {"id": id_, "split": split, "group": id_, "source": f"{id_}.png", "height": 2, "width": 3}
    cells |= {"shard": "shard-00000.bin", "pixels_0": 4, "pixels_1": 1, "pixels_ignored": 1}
    for part in manifest.PARTS:
        there = part in ("image", "mask")
        cells |= {f"{part}_offset": 0, f"{part}_bytes": int(there), f"{part}_sha256": SHA if there else ""}
    return {**cells, **changes}


def test_round_trip_sorted_by_split_and_id(tmp_path):
    manifest.write(tmp_path, [row("02"), row("1", "test"), row("01")], LABELS)
    frame, labels = manifest.read(tmp_path)
    assert labels == LABELS
    assert frame["id"].tolist() == ["1", "01", "02"], "ids are text"
    assert frame["valid_sha256"].tolist() == [""] * 3
    assert list(frame.columns) == manifest.columns(2)
    text = (tmp_path / "manifest.csv").read_bytes()
    assert text.count(b"\n") == 4
    assert b"\r" not in text


def test_names_are_no_formulas_in_the_file_and_themselves_again(tmp_path):
    names = ["=1+1", "'quoted", "@x", "-2"]
    manifest.write(tmp_path, [row(name) for name in names], LABELS)
    lines = (tmp_path / "manifest.csv").read_text().splitlines()[1:]
    assert not any(line.startswith(("=", "@")) for line in lines)
    assert set(manifest.read(tmp_path)[0]["id"]) == set(names)


def test_the_same_rows_give_the_same_bytes(tmp_path):
    for name, rows in (("one", [row("1"), row("2")]), ("two", [row("2"), row("1")])):
        (tmp_path / name).mkdir()
        manifest.write(tmp_path / name, rows, LABELS)
    assert (tmp_path / "one/manifest.csv").read_bytes() == (tmp_path / "two/manifest.csv").read_bytes()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"split": "dev"}, "line 2 split: .*'dev'"),
        ({"id": "1"}, "id"),
        ({"id": ""}, "id"),
        ({"height": 0}, "line 3 height"),
        ({"mask_bytes": 0}, "line 3 mask_bytes"),
        ({"image_sha256": "xyz"}, "line 3 image_sha256"),
        ({"valid_sha256": "xyz"}, "line 3 valid_sha256"),
        ({"shard": "../evil"}, "line 3 shard"),
        ({"image_offset": -1}, "line 3 image_offset"),
        ({"pixels_1": 2}, "pixel counts do not sum"),
        ({"group": "1", "split": "val"}, "group in two splits"),
    ],
)
def test_what_the_schema_refuses(tmp_path, changes, message):
    with pytest.raises(DataError, match=message):
        manifest.write(tmp_path, [row("1"), row("2", **changes)], LABELS)
    assert not (tmp_path / "manifest.csv").exists()


def edited(tmp_path, edit):
    manifest.write(tmp_path, [row("1"), row("2")], LABELS)
    path = tmp_path / "manifest.csv"
    path.write_text(edit(path.read_text()))


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda text: text.replace("1,train", "1,dev"), "line 2 split"),
        (lambda text: text.replace("id,split", "id,part"), "columns missing or not known: part, split"),
        (lambda text: "\n".join(reversed(text.splitlines()[1:])), "manifest.csv"),
        (lambda text: text.splitlines()[0] + "\n" + "\n".join(text.splitlines()[:0:-1]) + "\n", "not sorted"),
        (lambda text: text.replace(",2,3,", ",two,3,", 1), "height"),
        (lambda text: "", "not a manifest"),
        (lambda text: text + "a,b,c" + 99 * ",", "not a manifest"),
    ],
)
def test_what_a_hand_can_break(tmp_path, edit, message):
    edited(tmp_path, edit)
    with pytest.raises(DataError, match=message):
        manifest.read(tmp_path)


def test_a_missing_manifest(tmp_path):
    LABELS.write(tmp_path / "labels.json")
    with pytest.raises(DataError, match="run the convert stage first"):
        manifest.read(tmp_path)


def test_the_label_schema():
    table = manifest.label_table(LABELS)
    assert table.to_dict("list") == {"id": [0, 1], "name": ["a", "b"], "red": [0, 1], "green": [0, 2], "blue": [0, 3]}
    manifest.label_schema().validate(table)
    for column, values in (("red", [0, 256]), ("name", ["a", "a"]), ("id", [1, 2])):
        with pytest.raises(Exception, match=column if column != "id" else "ids are not"):
            manifest.label_schema().validate(table.assign(**{column: pd.Series(values)}))


@pytest.mark.parametrize(
    ("splits", "expected"), [(("train", "val", "test"), "test"), (("train", "val"), "val"), (("train", "test"), "test")]
)
def test_what_is_scored(tmp_path, splits, expected):
    manifest.write(tmp_path, [row(split, split) for split in splits], LABELS)
    assert manifest.scored_split(tmp_path, "auto") == expected
    assert manifest.scored_split(tmp_path, "train") == "train"


def test_nothing_to_score(tmp_path):
    manifest.write(tmp_path, [row("a")], LABELS)
    with pytest.raises(DataError, match=r"no images in the splits test and val.*or set evaluate\.split to train"):
        manifest.scored_split(tmp_path, "auto")
