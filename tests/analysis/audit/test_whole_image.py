"""Label quality, shift and swap of a whole image."""

import numpy as np
import pytest

from maskline.analysis.audit.whole_image import find_shift, find_swap, soft_confusion, soft_minimum
from tests.analysis.audit.test_regions import OBJECT, mask, sure_of


def test_the_soft_minimum_by_hand():
    field = np.array([[[0.9, 0.2]], [[0.1, 0.8]]], np.float32)
    given = np.zeros((1, 2), np.uint8)
    weights = np.exp(np.array([0.1, 0.8]) / 0.1)
    expected = (np.array([0.9, 0.2]) * weights).sum() / weights.sum()
    assert soft_minimum(given, field, ignore_index=255) == pytest.approx(expected, abs=1e-6)
    given[0, 1] = 255
    assert soft_minimum(given, field, ignore_index=255) == pytest.approx(0.9)
    assert np.isnan(soft_minimum(np.full((1, 2), 255, np.uint8), field, ignore_index=255))


@pytest.mark.parametrize("step", [(3, -4), (-5, 2), (0, 6)])
def test_a_shift_is_found_and_says_where_to(step):
    truth = mask(OBJECT, (2, 24, 20, 9, 9))
    given = np.roll(truth, (-step[0], -step[1]), axis=(0, 1))
    shift = find_shift(given, sure_of(truth, classes=3), ignore_index=255)
    assert shift.step == step
    agrees = sure_of(truth, classes=3)[given, np.arange(40)[:, None], np.arange(40)].mean()
    # Only where the moved labels are does it count.
    assert (0.9 - agrees) * 0.7 < shift.gain <= 0.9 - agrees + 1e-6


def test_labels_that_fit_are_not_to_be_moved():
    truth = mask(OBJECT)
    assert find_shift(truth, sure_of(truth, classes=3), ignore_index=255).step == (0, 0)
    ignored = np.full_like(truth, 255)
    assert find_shift(ignored, sure_of(truth, classes=3), ignore_index=255).gain == 0


def test_a_shift_of_a_large_image_is_in_its_own_pixels():
    truth = np.kron(mask(OBJECT), np.ones((16, 16), np.uint8))
    shift = find_shift(np.roll(truth, (-48, 24), axis=(0, 1)), sure_of(truth, classes=3), ignore_index=255)
    assert shift.step == (48, -24)


def test_two_classes_that_were_exchanged():
    truth = mask(OBJECT, (2, 24, 20, 9, 9))
    given = np.array([0, 2, 1], np.uint8)[truth]
    swap = find_swap(soft_confusion(given, sure_of(truth, classes=3)))
    assert swap.classes == (1, 2)
    assert swap.gain == pytest.approx((120 + 81) * 0.85 / 1600)
    # One class that is predicted as another is no exchange.
    assert find_swap(soft_confusion(np.where(truth == 2, 1, truth), sure_of(truth, classes=3))) is None


def test_what_is_no_class_is_in_no_sum():
    given = mask(OBJECT)
    given[0] = 255
    assert soft_confusion(given, sure_of(mask(OBJECT), classes=3)).sum() == pytest.approx(1600 - 40)
