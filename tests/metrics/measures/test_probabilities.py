import math

import numpy as np
import pytest

from maskline.metrics.measures.probabilities import (
    RELIABILITY_BINS,
    calibration,
    calibration_scores,
    ranking,
    ranking_scores,
)


def drawn(seed, *, number=300, num_classes=2):
    generator = np.random.default_rng(seed)
    target = generator.integers(0, num_classes, number)
    probabilities = generator.dirichlet(np.ones(num_classes), number)
    # On the bins' own grid, with many ties, so that nothing is lost by binning.
    probabilities = np.round(0.6 * probabilities + 0.4 * np.eye(num_classes)[target], 2)
    return probabilities.T.astype(np.float32), target


@pytest.mark.parametrize("num_classes", [2, 4])
def test_area_and_average_precision_by_pairs_and_thresholds(num_classes):
    probabilities, target = drawn(0, num_classes=num_classes)
    counts = ranking(probabilities, target)
    for c in range(num_classes):
        own, others = probabilities[c, target == c], probabilities[c, target != c]
        wins = (own[:, None] > others).sum() + (own[:, None] == others).sum() / 2
        precision, recall = [], [0.0]
        for threshold in sorted(set(probabilities[c].tolist()), reverse=True):
            chosen = probabilities[c] >= np.float32(threshold)
            precision.append((target[chosen] == c).mean())
            recall.append((target[chosen] == c).sum() / (target == c).sum())
        scores = ranking_scores(counts[c])
        assert scores["AUC"] == pytest.approx(wins / (len(own) * len(others)))
        assert scores["AP"] == pytest.approx(np.dot(np.diff(recall), precision))


def test_counts_add():
    probabilities, target = drawn(1)
    parts = ranking(probabilities[:, :100], target[:100]) + ranking(probabilities[:, 100:], target[100:])
    np.testing.assert_array_equal(parts, ranking(probabilities, target))


def test_absent_class_has_no_ranking():
    scores = ranking_scores(ranking(*(part[..., :0] for part in drawn(2)))[1])
    assert all(math.isnan(value) for value in scores.values())


def test_calibration_error_by_hand():
    probabilities, target = drawn(3, num_classes=3)
    confidence, right = probabilities.max(0), probabilities.argmax(0) == target
    expected = 0.0
    for b in range(RELIABILITY_BINS):
        inside = (confidence > b / RELIABILITY_BINS) & (confidence <= (b + 1) / RELIABILITY_BINS)
        if inside.any():
            expected += inside.mean() * abs(right[inside].mean() - confidence[inside].astype(np.float64).mean())
    assert calibration_scores(calibration(probabilities, target))["ECE"] == pytest.approx(expected)


def test_a_network_that_knows_its_doubt_is_calibrated():
    probabilities = np.repeat(np.array([[0.25], [0.75]], np.float32), 400, axis=1)
    target = np.array([0, 1, 1, 1] * 100)
    assert calibration_scores(calibration(probabilities, target))["ECE"] == 0
    assert calibration_scores(calibration(probabilities, np.zeros(400, np.int64)))["ECE"] == pytest.approx(0.75)
    assert math.isnan(calibration_scores(np.zeros((3, RELIABILITY_BINS)))["ECE"])
