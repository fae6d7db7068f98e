import numpy as np
import pytest

from maskline.metrics import statistics
from maskline.metrics.scores import all_scores, foreground_scores
from maskline.metrics.statistics import bootstrap_intervals, expanded_tail


def matrices(seed: int, num: int) -> np.ndarray:
    """Two-class matrices of images of unlike difficulty."""
    generator = np.random.default_rng(seed)
    quality = generator.beta(8, 2, num)
    return np.stack([[[800, 30], [int(100 * (1 - q)), int(100 * q)]] for q in quality]).astype(np.int64)


def intervals(confusions, **changes):
    options = {
        "statistic": foreground_scores,
        "groups": [str(i) for i in range(len(confusions))],
        "resamples": 300,
        "level": 0.95,
        "seed": 0,
    }
    return bootstrap_intervals(confusions, **(options | changes))


def test_holds_the_score_and_is_repeatable():
    confusions = matrices(0, 20)
    score = float(foreground_scores(confusions.sum(0))["Dice"])
    found = intervals(confusions)
    low, high = found["Dice"]
    assert 0 < low < score < high < 1
    assert found == intervals(confusions)
    assert found != intervals(confusions, seed=1)


def test_does_not_depend_on_the_order_of_images():
    confusions = matrices(0, 12)
    groups = [f"patient {i // 2}" for i in range(12)]
    order = np.random.default_rng(0).permutation(12)
    assert intervals(confusions, groups=groups) == intervals(confusions[order], groups=[groups[i] for i in order])


def test_chunks_change_nothing(monkeypatch):
    confusions = matrices(0, 12)
    whole = intervals(confusions)
    monkeypatch.setattr(statistics, "_CHUNK_VALUES", 40)
    assert intervals(confusions) == whole


def test_copies_of_an_image_in_one_group_do_not_narrow_the_interval():
    confusions = matrices(2, 10)
    copied = np.repeat(confusions, 5, axis=0)
    groups = [str(i // 5) for i in range(50)]
    assert intervals(copied, groups=groups)["Dice"] == pytest.approx(intervals(confusions)["Dice"])
    low, high = intervals(copied)["Dice"]
    wide_low, wide_high = intervals(copied, groups=groups)["Dice"]
    assert high - low < 0.7 * (wide_high - wide_low)


def test_as_many_groups_are_drawn_as_there_are():
    equal = np.repeat(matrices(3, 1), 7, axis=0)
    pixels = float(equal.sum())
    assert intervals(equal, statistic=lambda sums: {"pixels": sums.sum((1, 2))})["pixels"] == (pixels, pixels)
    weights = statistics.image_weights([str(i) for i in range(7)], resamples=50, seed=0)
    assert (weights.sum(1) == 7).all()
    assert (weights.std(0) > 0).all(), "each of them is drawn"


def test_one_group_gives_no_interval():
    assert intervals(matrices(0, 3), groups=["a", "a", "a"]) == {}


def test_undefined_scores_are_left_out():
    confusions = np.zeros((5, 3, 3), np.int64)
    confusions[:, 0, 0] = 10
    confusions[0, 1, 1] = 4  # class 1 in one image only, class 2 in none
    found = intervals(confusions, statistic=lambda c: all_scores(c, class_keys=("a", "b", "c")))
    assert "per_class.b.IoU" in found
    assert "per_class.c.IoU" not in found


def test_tail_is_wider_for_few_groups_and_plain_for_many():
    assert expanded_tail(8, level=0.95) < 0.01
    assert expanded_tail(100_000, level=0.95) == pytest.approx(0.025, abs=1e-4)


@pytest.mark.parametrize("num_images", [8, 30])
def test_covers_the_true_score_as_often_as_it_says(num_images):
    # The truth is known: the score of the sum over a very large draw from the same population.
    truth = float(foreground_scores(matrices(123, 200_000).sum(0))["sensitivity"])
    trials = 400
    hits = 0
    for trial in range(trials):
        low, high = intervals(matrices(1000 + trial, num_images), resamples=1000, seed=trial)["sensitivity"]
        hits += low <= truth <= high
    assert 0.93 <= hits / trials <= 0.97
