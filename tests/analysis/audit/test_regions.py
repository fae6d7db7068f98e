"""Regions of disagreement: found, measured, and told apart by what they look like."""

import numpy as np
import pytest

from maskline.analysis.audit.regions import MISSING, OUTLINE, SUPERFLUOUS, WRONG_CLASS, find_regions

SIDE = 40


def mask(*squares):
    """Class ids of squares (class, top, left, height, width) on class 0."""
    ids = np.zeros((SIDE, SIDE), np.uint8)
    for one, top, left, height, width in squares:
        ids[top : top + height, left : left + width] = one
    return ids


def sure_of(ids, *, classes, sure=0.9):
    """Probabilities CHW of a model that is sure of these classes."""
    rest = (1 - sure) / (classes - 1)
    return np.where(np.arange(classes)[:, None, None] == ids, sure, rest).astype(np.float32)


def regions(given, predicted, *, classes=3, has_background=True, **options):
    options = {"ignore_index": 255, "min_area_px": 4, "min_depth_px": 2.0} | options
    return find_regions(given, sure_of(predicted, classes=classes), has_background=has_background, **options)


OBJECT = (1, 5, 8, 10, 12)


@pytest.mark.parametrize(
    ("given", "predicted", "has_background", "reason"),
    [
        (mask(), mask(OBJECT), True, MISSING),
        (mask(OBJECT), mask(), True, SUPERFLUOUS),
        (mask(OBJECT), mask((2, *OBJECT[1:])), True, WRONG_CLASS),
        (mask(OBJECT), mask((1, 5, 8, 10, 17)), True, OUTLINE),  # wider than labelled
        (mask((1, 5, 8, 10, 20)), mask(OBJECT), True, OUTLINE),  # narrower
        (mask(), mask(OBJECT), False, MISSING),  # class 0 is a class as any other
        (mask(OBJECT), mask((2, *OBJECT[1:])), False, WRONG_CLASS),
        (mask(OBJECT), mask(), False, WRONG_CLASS),
    ],
)
def test_reasons(given, predicted, has_background, reason):
    (one,) = regions(given, predicted, has_background=has_background)
    assert one.reason == reason


def test_what_is_told_of_a_region():
    (one,) = regions(mask(), mask(OBJECT))
    assert (one.box, one.given, one.predicted, one.area_px) == ((8, 5, 20, 15), 0, 1, 120)
    assert one.confidence == pytest.approx(0.9)
    assert one.margin == pytest.approx(0.85)
    assert one.depth_px == pytest.approx(5)


def test_slivers_small_regions_and_ignored_pixels_do_not_count():
    assert regions(mask(OBJECT), mask((1, 5, 8, 10, 14)), min_depth_px=2.0) == []
    assert len(regions(mask(OBJECT), mask((1, 5, 8, 10, 14)), min_depth_px=1.0)) == 1
    assert regions(mask(), mask(OBJECT), min_area_px=121) == []
    ignored = np.where(mask(OBJECT) == 1, 255, 0).astype(np.uint8)
    assert regions(ignored, mask(OBJECT)) == []


def test_regions_of_other_pairs_that_touch_are_two():
    given, predicted = mask((1, 5, 8, 10, 6)), mask((2, 5, 8, 10, 12))
    assert [(one.given, one.predicted) for one in regions(given, predicted)] == [(1, 2), (0, 2)]
