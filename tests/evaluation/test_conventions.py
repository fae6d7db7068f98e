"""Each convention against the same by hand."""

import numpy as np
import pytest

from maskline.evaluation import conventions
from maskline.evaluation.conventions import AS_EVALUATED, LIKELY, NATIVE, Conventions

KEYS = ("ground", "vessel")


def counting(num_classes):
    """Return how label map and target are counted; a target of no class does not count."""

    def count(labels, target):
        matrix = np.zeros((num_classes, num_classes), dtype=np.int64)
        known = target < num_classes
        np.add.at(matrix, (target[known], labels[known]), 1)
        return matrix

    return count


def counted(probability, mask, **changes):
    way = Conventions(**({"thresholds": {"low": 0.2}, "size": None, "as_evaluated": False} | changes))
    probability = np.asarray(probability, dtype=np.float32)
    own, likely = ((probability >= value).astype(np.uint8) for value in (0.9, 0.5))
    fields = np.stack([1 - probability, probability])
    return way.count(own, likely, fields, {"whole image": np.asarray(mask, dtype=np.uint8)}, counting(2))


def test_rules_averages_and_scores():
    first = counted([[0.1, 0.3, 0.6, 0.7]], [[0, 1, 0, 1]])
    second = counted([[0.95, 0.1, 0.1, 0.1]], [[1, 1, 0, 0]])
    rows = {row["convention"]: row for row in conventions.rows([first, second], class_keys=KEYS)}
    assert len(rows) == 4
    assert rows["the more likely class, whole image, native, pooled over pixels"]["Dice"] == pytest.approx(
        2 * 2 / (4 + 3), abs=1e-6
    )
    assert rows["the more likely class, whole image, native, mean over images"]["Dice"] == pytest.approx(
        (0.5 + 2 / 3) / 2, abs=1e-6
    )
    assert rows["low, whole image, native, pooled over pixels"]["sensitivity"] == 0.75
    assert rows["low, whole image, native, mean over images"]["IoU"] == pytest.approx((2 / 3 + 1 / 2) / 2, abs=1e-6)
    assert rows["the more likely class, whole image, native, mean over images"]["images"] == 2


def test_what_is_not_defined_is_left_out_of_a_mean():
    without = counted([[0, 0, 0, 0]], [[0, 0, 0, 0]], thresholds={})
    with_one = counted([[0.9, 0.1, 0.1, 0.1]], [[1, 1, 0, 0]], thresholds={})
    pooled, each = conventions.rows([without, with_one], class_keys=KEYS)
    assert each["sensitivity"] == 0.5  # of the one image that has any
    assert each["specificity"] == 1.0
    assert conventions.rows([without], class_keys=KEYS)[0]["Dice"] is None
    assert pooled["images"] == each["images"] == 2


def test_sizes_and_the_evaluations_own_map():
    probability = np.repeat(np.repeat(np.array([[0.1, 0.8], [0.6, 0.3]]), 4, 0), 4, 1)
    matrices = counted(probability, probability > 0.5, size=(2, 2), as_evaluated=True)
    assert set(matrices) == {
        (rule, "whole image", size) for rule in (AS_EVALUATED, LIKELY, "low") for size in (NATIVE, "2 x 2 px")
    }
    native, small = (matrices[LIKELY, "whole image", size] for size in (NATIVE, "2 x 2 px"))
    np.testing.assert_array_equal(native, 16 * small)
    assert native.sum() == 64
    assert matrices[AS_EVALUATED, "whole image", NATIVE][1, 1] == 0


def test_more_classes_have_one_rule():
    likely = np.random.default_rng(0).integers(0, 3, (4, 5)).astype(np.uint8)
    way = Conventions(thresholds={}, size=None, as_evaluated=False)
    target = np.full((4, 5), 2, np.uint8)
    matrices = way.count(likely, likely, None, {"whole image": target}, counting(3))
    assert list(matrices) == [(LIKELY, "whole image", NATIVE)]
    assert matrices[LIKELY, "whole image", NATIVE][2, 1] == (likely == 1).sum()
