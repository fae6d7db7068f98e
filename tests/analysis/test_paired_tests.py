from functools import partial

import numpy as np
import pytest

from maskline.analysis.compare.paired_tests import compare, count_scores, mean_image_scores, spread, to_floats
from maskline.metrics.scores import all_scores, flatten

KEYS = ("background", "vessel")


def runs(seed, *, number=12, gain=0.0):
    """Confusion matrices of two models on the same images; the second finds a share more of the foreground."""
    generator = np.random.default_rng(seed)
    matrices = []
    for _ in range(number):
        own, others = generator.integers(800, 1200), generator.integers(8000, 9000)
        hard = generator.uniform(0.6, 0.8)
        pair = []
        for extra in (0.0, gain):
            hits = generator.binomial(own, hard + extra)
            alarms = generator.binomial(others, 0.03)
            pair.append([[others - alarms, alarms], [own - hits, hits]])
        matrices.append(pair)
    return np.array(matrices).swapaxes(0, 1)


def counts(confusion):
    return to_floats(np.stack([np.diagonal(confusion, axis1=-2, axis2=-1), confusion.sum(-1), confusion.sum(-2)], -2))


def differences(a, b, **changes):
    options = {"groups": [str(i) for i in range(len(a))], "resamples": 1000, "seed": 0}
    options |= {"statistic": partial(count_scores, class_keys=KEYS)} | changes
    return {one.name: one for one in compare(a, b, **options)}


def test_scores_of_counts_are_those_of_the_matrix():
    confusion = runs(0)[0]
    expected = flatten(all_scores(confusion, class_keys=KEYS))
    found = count_scores(counts(confusion), class_keys=KEYS)
    assert set(found) == set(expected)
    for name, values in found.items():
        np.testing.assert_allclose(values, expected[name], err_msg=name)


def test_a_model_does_not_differ_from_itself():
    a = counts(runs(1)[0])
    for one in differences(a, a).values():
        assert one.difference == one.low == one.high == 0
        assert one.p == 1


def test_a_planted_difference_is_found():
    a, b = runs(2, gain=0.1)
    one = differences(counts(a), counts(b))["foreground.Dice"]
    assert one.difference > 0.02
    assert one.low > 0
    assert one.p < 0.01


def test_chance_alone_is_rarely_found():
    found = 0
    for seed in range(60):
        a, b = runs(100 + seed, number=10)
        found += differences(counts(a), counts(b), resamples=300)["foreground.sensitivity"].p <= 0.05
    assert found <= 9  # 3 expected


def test_all_swaps_by_hand():
    a, b = (counts(part) for part in runs(3, number=4, gain=0.05))
    dice = lambda c: 2 * c[0, 1] / (c[1, 1] + c[2, 1])  # noqa: E731
    actual = dice(b.sum(0)) - dice(a.sum(0))
    extreme = 0
    for code in range(16):
        swap = np.array([bool(code >> i & 1) for i in range(4)])[:, None, None]
        first, second = np.where(swap, b, a).sum(0), np.where(swap, a, b).sum(0)
        extreme += abs(dice(second) - dice(first)) >= abs(actual) - 1e-12
    assert differences(a, b)["foreground.Dice"].p == extreme / 16


def test_groups_stay_together():
    a, b = (counts(part) for part in runs(4, number=6, gain=0.1))
    one = differences(a, b, groups=["x"] * 6)["foreground.Dice"]
    assert one.low is None
    assert one.p == 1  # one group: swapped, it differs as much
    assert differences(a, b, groups=list("xxyyzz"))["foreground.Dice"].p == pytest.approx(2 / 8)


def test_no_draw_of_groups_changes_the_difference_of_equal_images():
    one = np.full((7, 3, 2), 5.0)
    found = differences(one, 2 * one, statistic=lambda sums: {"pixels": sums.sum((1, 2))})["pixels"]
    assert found.low == found.high == found.difference == 7 * 30


@pytest.mark.parametrize("place", range(7))
def test_each_group_is_drawn(place):
    a, b = np.zeros((7, 1)), np.zeros((7, 1))
    b[place] = 1
    one = differences(a, b, statistic=lambda sums: {"pixels": sums[:, 0]})["pixels"]
    assert one.low == 0
    assert one.high > 1


@pytest.mark.parametrize("seed", range(4))
def test_the_models_as_they_are_are_one_of_the_swaps_drawn(seed):
    a = np.full((30, 1), 5.0)
    one = differences(a, a + 1, resamples=50, seed=seed, statistic=lambda sums: {"pixels": sums[:, 0]})["pixels"]
    assert one.p == 1 / 50  # of all swaps, only none and all 30 differ as much


def test_image_means_are_means_of_scores():
    a = counts(runs(5)[0])
    sums = mean_image_scores(a, class_keys=KEYS)
    dice = count_scores(a, class_keys=KEYS)["foreground.Dice"]
    column = list(count_scores(a, class_keys=KEYS)).index("foreground.Dice")
    assert sums[:, 0, column].sum() / sums[:, 1, column].sum() == pytest.approx(dice.mean())


def test_spread_over_runs():
    assert spread([0.5, 0.7]) == pytest.approx({"mean": 0.6, "std": 0.02**0.5, "min": 0.5, "max": 0.7})
    assert np.isnan(spread([0.5])["std"])
