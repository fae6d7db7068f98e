import numpy as np

from maskline.convert import checks
from maskline.convert.records import Record
from maskline.data.labels import LabelSet

LABELS = LabelSet(class_names=("background", "vessel"), palette=((0, 0, 0), (1, 1, 1)))


def record(id_, group, split):
    return Record(id=id_, group=group, split=split, image=None, mask=None)


def test_values():
    mask = np.array([[0, 1, 255], [7, 0, 7]], dtype=np.int32)
    (problem,) = checks.check_values(mask, LABELS, place="m.png")
    assert str(problem).startswith(
        "m.png: label value 7 in 2 pixels (first at row 1, column 0), classes are 0..1, ignore index 255; "
    )
    assert checks.check_values(np.where(mask == 7, 0, mask), LABELS, place="m.png") == []
    (problem,) = checks.check_values(np.array([[-1, 300]], dtype=np.int32), LABELS, place="m.png")
    assert "value -1" in problem.problem
    assert "value 300" in problem.problem


def test_size():
    (problem,) = checks.check_size((3, 4), (5, 6), place="m.png")
    assert problem.problem == "4x3 pixels, its image has 6x5"
    assert checks.check_size((5, 6), (5, 6), place="m.png") == []


def test_groups_and_ids():
    good = [record("a", "1", "train"), record("b", "1", None), record("c", "2", "test")]
    assert checks.check_groups(good) == []
    (problem,) = checks.check_groups([*good, record("d", "2", "val")])
    assert problem.problem == "group 2 is in val and, with c, in test"
    (problem,) = checks.check_groups([*good, record("a", "1", "train")])
    assert problem.problem == "two images of one id"


def test_equal_images_have_equal_hashes_whatever_their_shape_of_bytes():
    one = np.zeros((2, 6, 3), np.uint8)
    assert checks.image_hash(one) == checks.image_hash(one.copy(order="F"))
    assert checks.image_hash(one) != checks.image_hash(one.reshape(6, 2, 3))
    assert checks.same_images({"c": "x", "a": "x", "b": "y", "d": "x"}) == [("a", "c"), ("a", "d")]


def test_leaks():
    pairs = [("a", "b"), ("a", "c")]
    sources = {id_: f"{id_}.png" for id_ in "abc"}
    (problem,) = checks.check_leaks(pairs, {"a": "train", "b": "train", "c": "test"}, sources)
    assert (problem.place, problem.problem) == (
        "c.png",
        "the same image as a.png, but in test and that one in train",
    )


def test_odd_but_legal_masks():
    def remarks(counts, ignored=0):
        return checks.content_warnings(np.array(counts), ignored, labels=LABELS)

    assert remarks([3, 4]) == []
    assert remarks([3, 0]) == ["empty mask, single class: background"]
    assert remarks([0, 3], 5) == ["single class: vessel"]
    assert remarks([0, 0], 5) == ["every pixel is ignored"]


def test_a_split_in_which_no_pixel_counts():
    rows = [
        {"split": split, "pixels_0": count, "pixels_1": 0, "pixels_ignored": 9}
        for split, count in (("train", 1), ("train", 0), ("val", 0), ("val", 0), ("test", 0))
    ]
    (problem,) = checks.check_counted(rows, LABELS)
    assert str(problem).startswith("val split: every pixel of its 2 images is ignored")
    assert checks.check_counted(rows[:2], LABELS) == []
