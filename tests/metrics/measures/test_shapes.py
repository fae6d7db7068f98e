import math

import numpy as np
import pytest

from maskline.metrics.measures.shapes import boundary, cldice, outline, surface


def blobs(seed, size=(24, 30)):
    """Two masks of a few overlapping rectangles."""
    generator = np.random.default_rng(seed)
    masks = []
    for _ in range(2):
        mask = np.zeros(size, bool)
        for _ in range(3):
            top, left = generator.integers(0, size[0] - 6), generator.integers(0, size[1] - 6)
            mask[top : top + generator.integers(2, 12), left : left + generator.integers(2, 12)] = True
        masks.append(mask)
    return masks


def outline_by_hand(mask):
    padded = np.pad(mask, 1)
    return [
        (r, c)
        for r, c in np.argwhere(mask)
        if not (padded[r, c + 1] and padded[r + 2, c + 1] and padded[r + 1, c] and padded[r + 1, c + 2])
    ]


def nearest(points, others):
    return np.array([min(math.dist(p, o) for o in others) for p in points])


@pytest.mark.parametrize("seed", range(5))
def test_surface_distances_by_hand(seed):
    ours, theirs = blobs(seed)
    a, b = outline_by_hand(ours), outline_by_hand(theirs)
    np.testing.assert_array_equal(np.argwhere(outline(ours)), a)
    forth, back = nearest(a, b), nearest(b, a)
    scores = surface(ours, theirs)
    assert scores["HD95"] == pytest.approx(max(np.quantile(forth, 0.95), np.quantile(back, 0.95)))
    assert scores["ASD"] == pytest.approx((forth.sum() + back.sum()) / (len(a) + len(b)))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("tolerance", [1.0, 2.5])
def test_boundary_scores_by_hand(seed, tolerance):
    ours, theirs = blobs(seed)
    a, b = outline_by_hand(ours), outline_by_hand(theirs)
    precision, recall = (nearest(a, b) <= tolerance).mean(), (nearest(b, a) <= tolerance).mean()
    bands = [
        {tuple(p) for p in np.argwhere(mask) if min(math.dist(p, o) for o in edge) <= tolerance}
        for mask, edge in ((ours, a), (theirs, b))
    ]
    scores = boundary(ours, theirs, boundary_px=tolerance)
    assert scores["boundary_F"] == pytest.approx(2 * precision * recall / (precision + recall))
    assert scores["boundary_IoU"] == pytest.approx(len(bands[0] & bands[1]) / len(bands[0] | bands[1]))


def test_a_shift_is_the_distance():
    ours, theirs = np.zeros((40, 40), bool), np.zeros((40, 40), bool)
    ours[10:20, 10:20] = theirs[10:20, 13:23] = True
    assert surface(ours, theirs)["HD95"] == 3
    assert boundary(ours, theirs, boundary_px=3)["boundary_F"] == 1
    assert boundary(ours, theirs, boundary_px=2)["boundary_F"] < 1


def test_equal_masks():
    ours, _ = blobs(0)
    assert boundary(ours, ours, boundary_px=1) == {"boundary_IoU": 1, "boundary_F": 1}
    assert surface(ours, ours) == {"HD95": 0, "ASD": 0}
    assert cldice(ours, ours) == {"clDice": 1}


def test_empty_masks():
    ours, empty = blobs(0)[0], np.zeros((24, 30), bool)
    for one, other in ((ours, empty), (empty, ours)):
        assert boundary(one, other, boundary_px=1) == {"boundary_IoU": 0, "boundary_F": 0}
        assert all(math.isnan(v) for v in surface(one, other).values())
        assert cldice(one, other) == {"clDice": 0}
    for scores in (boundary(empty, empty, boundary_px=1), cldice(empty, empty)):
        assert all(math.isnan(value) for value in scores.values())


def test_centerline_dice_sees_a_gap_and_not_the_width():
    vessel = np.zeros((21, 40), bool)
    vessel[10] = True
    thick = np.zeros_like(vessel)
    thick[9:12] = True
    assert cldice(thick, vessel)["clDice"] > 0.97
    cut = vessel.copy()
    cut[:, 10:20] = False
    # Its own line lies in the vessel; three quarters of the vessel's line lie in it.
    assert cldice(cut, vessel)["clDice"] == pytest.approx(2 * 0.75 / 1.75)
