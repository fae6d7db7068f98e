"""The promise: exact at its definition, and kept over many draws of images."""

import numpy as np
import pytest

from maskline.core.errors import DataError
from maskline.metrics.risk_control import CANDIDATES, certified, check_number, miss_rate, miss_rates
from maskline.metrics.scores_table import promise_sentences


@pytest.fixture(scope="module")
def population():
    """Miss rates of 400 images, from easy to hopeless, some without foreground."""
    generator = np.random.default_rng(0)
    rates = []
    for _ in range(400):
        pixels = generator.beta(generator.uniform(0.5, 6), generator.uniform(0.3, 2), generator.integers(0, 900))
        rates.append(miss_rates(pixels.astype(np.float32)))
    return np.stack(rates)


def test_rates_are_what_a_threshold_misses():
    values = np.array([0.1, 0.4, 0.4, 0.9], dtype=np.float32)
    rates = miss_rates(values)
    for i in range(0, len(CANDIDATES), 97):
        assert rates[i] == 1 - (values >= CANDIDATES[i]).mean()
    assert not miss_rates(np.zeros(0, dtype=np.float32)).any()
    assert miss_rate(np.array([[5, 1], [1, 3]])) == 0.25
    assert miss_rate(np.array([[5, 1], [0, 0]])) == 0


def test_the_highest_threshold_within_the_bound(population):
    rates = population[:30]
    chosen = certified(rates, at_most=0.1)
    place = list(CANDIDATES).index(np.float32(chosen))
    bounds = [(column.sum() + 1) / 31 for column in rates.T]
    assert bounds[place] <= 0.1 < bounds[place + 1]
    assert certified(np.ones((30, len(CANDIDATES))), at_most=0.1) is None


@pytest.mark.parametrize("n", [20, 60])
def test_over_2000_draws_the_mean_is_at_most_the_promise_and_hardly_less(population, n):
    generator = np.random.default_rng(n)
    seen = []
    for _ in range(2000):
        drawn = population[generator.permutation(len(population))[: n + 1]]
        place = np.searchsorted(CANDIDATES, np.float32(certified(drawn[:n], at_most=0.1)))
        seen.append(drawn[n, place])
    mean, error = np.mean(seen), np.std(seen) / len(seen) ** 0.5
    assert mean - 2 * error <= 0.1
    assert mean + 2 * error >= 0.1 - 2 / (n + 1)


def test_a_threshold_for_the_mean_alone_would_break_the_promise(population):
    """The test above can fail: without the further image of worst case, few images choose too high a threshold."""
    generator = np.random.default_rng(1)
    seen = []
    for _ in range(2000):
        drawn = population[generator.permutation(len(population))[:10]]
        fit = np.flatnonzero(drawn[:9].mean(0) <= 0.1)
        seen.append(drawn[9, fit[-1]])
    assert np.mean(seen) - 2 * np.std(seen) / len(seen) ** 0.5 > 0.1


@pytest.mark.parametrize(("at_most", "needed"), [(0.1, 9), (0.5, 1), (0.03, 33)])
def test_how_many_images_a_promise_needs(at_most, needed):
    check_number(needed, at_most=at_most)
    with pytest.raises(DataError, match=f"needs {needed} val images, there are {needed - 1}"):
        check_number(needed - 1, at_most=at_most)
    assert certified(np.zeros((needed, len(CANDIDATES))), at_most=at_most) is not None


def test_the_promise_sentences_tell_condition_and_outcome():
    lines = promise_sentences(
        {"at_most": 0.1, "images": 12, "miss_rate": 0.071}, threshold=0.2314, scored="the test split"
    )
    assert "from probability 0.2314 on, at most 10.0% of an image's foreground" in lines[0]
    assert "12 images of the val split" in lines[0]
    assert "not for one image" in lines[1]
    assert lines[2] == "Seen on the test split: 7.1%."
