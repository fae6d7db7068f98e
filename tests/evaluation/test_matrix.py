"""The confusion matrix in words."""

import numpy as np
import pytest

from maskline.evaluation.page import matrix

COUNTS = np.array([[90, 10, 0], [300, 700, 0], [0, 0, 0]])
NAMES = ("a", "b", "c")


def test_rows_are_shares_of_the_actual_class():
    rows = matrix.matrix_rows(COUNTS, NAMES)
    assert [cell["share"] for cell in rows[0]["cells"]] == ["90.0 %", "10.0 %", "0.00 %"]
    assert rows[1]["cells"][0]["says"] == "b predicted as a: 300 pixels, 30.0 % of b"
    assert [cell["dark"] for cell in rows[1]["cells"]] == [False, True, False]
    assert [row["first"] for row in rows] == [True, False, False]


def test_absent_class_has_no_share():
    assert [cell["share"] for cell in matrix.matrix_rows(COUNTS, NAMES)[2]["cells"]] == ["n/a"] * 3


def test_largest_confusions_are_by_share_not_by_pixels():
    counts = np.array([[90, 10, 0], [50, 9950, 0], [1, 0, 1]])
    found = matrix.largest_confusions(counts, NAMES, number=2)
    assert [(one["actual"], one["predicted"], one["share"]) for one in found] == [
        ("c", "a", "50.0 %"),
        ("a", "b", "10.0 %"),
    ]


def test_no_confusion_no_entry():
    assert matrix.largest_confusions(np.diag([5, 5, 0]), NAMES, number=5) == []


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0.00 %"), (0.00001, "<0.01 %"), (0.0123, "1.23 %"), (0.5, "50.0 %"), (1, "100.0 %")]
)
def test_share_text(value, text):
    assert matrix.share_text(value) == text
