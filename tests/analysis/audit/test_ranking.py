"""Planted errors come first, each with its reason."""

import numpy as np
import pytest

from maskline.analysis.audit.evidence import examine
from maskline.analysis.audit.ranking import rank, unusual_pairs
from tests.analysis.audit.test_regions import OBJECT, mask, sure_of

TRUTH = mask(OBJECT, (2, 24, 20, 9, 9))


def evidence(given, predicted, *, classes=3):
    generator = np.random.default_rng(int(given.sum()))
    field = sure_of(predicted, classes=classes) + generator.uniform(0, 0.05, (classes, 40, 40)).astype(np.float32)
    return examine(given, field / field.sum(0), ignore_index=255, has_background=True, min_area_px=16)


def others(number, *, classes=3):
    """Images whose labels are right, their outlines a pixel off here and there."""
    drawn = []
    for i in range(number):
        truth = np.roll(TRUTH % classes, i, axis=1)
        given = truth.copy()
        given[5 : 5 + i % 4, :] = np.roll(given[5 : 5 + i % 4, :], 1, axis=1)
        drawn.append(evidence(given, truth, classes=classes))
    return drawn


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (mask(OBJECT), "missing object"),
        (mask(OBJECT, (2, 24, 20, 9, 9), (1, 26, 4, 8, 8)), "superfluous object"),
        (mask(OBJECT, (1, 24, 20, 9, 9)), "wrong class"),
        (np.roll(TRUTH, (4, 3), axis=(0, 1)), "shifted"),
        (np.array([0, 2, 1], np.uint8)[TRUTH], "swapped classes"),
    ],
)
def test_an_error_is_first_and_named(given, reason):
    findings = rank([*others(8), evidence(given, TRUTH)])
    assert findings[0].image == 8
    assert findings[0].reasons[0] == reason
    assert findings[0].score > 2 * findings[1].score


def test_an_inverted_mask_of_two_classes():
    truth = TRUTH % 2
    findings = rank([*others(8, classes=2), evidence(1 - truth, truth, classes=2)])
    assert (findings[0].image, findings[0].reasons) == (8, ("inverted",))


def test_a_confusion_that_the_models_always_make_is_not_unusual():
    blind = [evidence(TRUTH, np.where(TRUTH == 2, 0, TRUTH)) for _ in range(6)]
    unusual = unusual_pairs(sum(one.confusion for one in blind), blind[0].confusion)
    assert unusual[2, 0] == 0
    assert unusual[1, 0] > 0.9
    (region,) = rank(blind)[0].regions
    assert region.score == 0


def test_no_images_and_one():
    assert rank([]) == []
    assert len(rank([evidence(TRUTH, TRUTH)])) == 1
    ignored = evidence(np.full_like(TRUTH, 255), TRUTH)
    assert rank([ignored, evidence(TRUTH, TRUTH)])[0].score == pytest.approx(0, abs=1)
