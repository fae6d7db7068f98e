"""Which images are shown."""

import numpy as np
import pytest

from maskline.evaluation.page import gallery, tables
from tests.evaluation.conftest import TWO


def rows(*scores):
    return [{"id": f"image_{i}", "Dice": score, "aAcc": 1.0} for i, score in enumerate(scores)]


def kinds(picks):
    return {kind: [pick.index for pick in picks if pick.kind == kind] for kind in ("worst", "median", "best")}


def test_worst_median_best():
    picks = gallery.choose(rows(0.5, 0.1, 0.9, 0.3, 0.7, 0.2, 0.8, 0.4, 0.6), each=2)
    assert kinds(picks) == {"worst": [1, 5], "median": [7, 0], "best": [6, 2]}
    assert [pick.name for pick in picks] == ["worst_01", "worst_02", "median_01", "median_02", "best_02", "best_01"]


@pytest.mark.parametrize("number", range(1, 12))
@pytest.mark.parametrize("each", [1, 3])
def test_none_twice_and_few_are_all_shown(number, each):
    picks = gallery.choose(rows(*np.linspace(0, 1, number).tolist()), each=each)
    indices = [pick.index for pick in picks]
    assert indices == sorted(set(indices))
    assert len(indices) == min(number, 3 * each)
    assert all(len(chosen) <= each for chosen in kinds(picks).values())
    if number >= 2:
        assert kinds(picks)["worst"][0] == 0
        assert kinds(picks)["best"][-1] == number - 1


def test_equal_scores_are_ordered_by_name():
    assert [pick.index for pick in gallery.choose(rows(0.5, 0.5, 0.5), each=1)] == [0, 1, 2]


def test_images_without_any_score_are_not_chosen():
    unscored = [{"id": "a", "Dice": None, "aAcc": None}, *rows(0.5)]
    assert [pick.index for pick in gallery.choose(unscored, each=3)] == [1]
    assert gallery.choose(unscored[:1], each=3) == []


def test_exhibits_and_their_images(two_classes):
    split, evaluation = two_classes
    image_rows = tables.per_image_rows(evaluation.scores, TWO)
    picks = gallery.choose(image_rows, each=1)
    exhibits = list(
        gallery.open_exhibits(picks, image_rows, split, evaluation.scores, ignore_index=255, within_valid=True)
    )
    assert [exhibit.pick.kind for exhibit in exhibits] == ["worst", "median", "best"]
    worst = exhibits[0]
    assert worst.caption.startswith(f"worst 1 · {image_rows[worst.pick.index]['id']} · Dice 0.")
    assert (worst.target[:2] == 255).all()
    picture = gallery.page_image(worst, TWO)
    assert list(picture.layers) == ["image", "truth", "prediction", "error"]
    assert all(address.startswith("data:image/") for address in picture.layers.values())
    assert picture.size == (worst.target.shape[1], worst.target.shape[0])
    assert len(gallery.file_image(worst, TWO)) < 120_000
