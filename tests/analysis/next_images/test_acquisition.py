"""How unsure models are, and which images are chosen."""

import numpy as np
import pytest

from maskline.analysis.next_images.acquisition import choose, uncertainty


def field(*columns):
    return np.array(columns, np.float32).T[:, None]


def test_uncertainty_by_hand():
    sure, even = (1.0, 0.0), (0.5, 0.5)
    one = uncertainty([field(sure, even)])
    assert one == pytest.approx({"entropy": 0.5, "margin": 0.5, "disagreement": 0})
    # Two models that are sure of different classes disagree; two that are unsure alike do not.
    assert uncertainty([field((1, 0)), field((0, 1))])["disagreement"] == pytest.approx(1)
    assert uncertainty([field(even), field(even)])["disagreement"] == pytest.approx(0)
    assert uncertainty([field(even), field(even)])["entropy"] == pytest.approx(1)


def test_the_most_uncertain_first_then_what_is_unlike():
    scores = {"a": 0.9, "b": 0.8, "c": 0.7, "d": 0.1}
    features = {"a": [1, 0], "b": [2, 0.01], "c": [0, 1], "d": [-1, 0]}
    assert choose(scores, features, 2) == ["a", "d"]  # all are candidates, and d is the farthest
    assert choose(scores, features, 9) == ["a", "d", "c", "b"]
    many = scores | {f"z{i}": 0.0 for i in range(9)}
    unlike = features | {f"z{i}": [0, -1] for i in range(9)}
    assert choose({**many, "d": -1.0}, unlike, 1) == ["a"]
    # Of five candidates for one image, what comes after them is no candidate.
    assert "d" not in choose({**many, "d": -1.0}, unlike, 2)


def test_equal_images_follow_by_name():
    assert choose({"b": 1, "a": 1, "c": 1}, {name: [1, 1] for name in "abc"}, 2) == ["a", "b"]
    assert choose({}, {}, 3) == []
