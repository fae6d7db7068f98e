from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from maskline.core.errors import DataError
from maskline.evaluation.scoring import Counting, same_size_batches, score_split
from maskline.inference.pipeline import Inference
from maskline.inference.predictor import Predictor
from maskline.inference.tta import Tta
from maskline.metrics.extra import Measures


@dataclass
class Picture:
    id: str
    group: str
    image: np.ndarray
    mask: np.ndarray
    valid: np.ndarray | None = None
    second: np.ndarray | None = None


class Pictures:
    def __init__(self, *pictures: Picture) -> None:
        self.pictures = pictures
        self.sizes = [picture.mask.shape for picture in pictures]

    def sample(self, index: int) -> Picture:
        return self.pictures[index]


def picture(name: str, seed: int, size=(20, 24), **parts: Any) -> Picture:
    """An image whose class is the brighter of its first two channels, four pixels wrong."""
    generator = np.random.default_rng(seed)
    mask = generator.integers(0, 2, size).astype(np.uint8)
    image = np.zeros((*size, 3), np.uint8)
    image[..., 0], image[..., 1] = np.where(mask == 0, 200, 100), np.where(mask == 1, 200, 100)
    mask[0, :4] = 1 - mask[0, :4]
    return Picture(id=name, group=name[0], image=image, mask=mask, **parts)


class BrighterChannel(nn.Module):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images[:, :2]


def inference(*, steps=None, **changes) -> Inference:
    parts = {"mode": "whole", "window": (16, 16), "stride": (8, 8), "batch_size": 2}
    parts |= {"weighting": "uniform", "average": "logits", "precision": "fp32"}
    predictor = Predictor(model=BrighterChannel(), mean=(0.0,) * 3, std=(1.0,) * 3, **(parts | changes))
    after = {"tta": Tta(scales=(1.0,), flips=("none",)), "crf": None, "threshold": None}
    after |= {"min_component_px": 0, "max_hole_px": 0} | (steps or {})
    return Inference(predictor=predictor, **after)


def score(split, *, within_valid=False, names=(), steps=None, **changes):
    measures = Measures(names=names, options={"boundary_px": 2})
    counting = Counting(num_classes=2, ignore_index=255, within_valid=within_valid, measures=measures)
    scores = score_split(inference(steps=steps, **changes), split, counting)
    return sorted(scores, key=lambda score: score.index)


def test_counts_at_each_images_own_size():
    split = Pictures(picture("a1", 0), picture("b1", 1, size=(17, 40)), picture("a2", 2))
    scores = score(split)
    assert [s.id for s in scores] == ["a1", "b1", "a2"]
    assert [s.group for s in scores] == ["a", "b", "a"]
    for one, expected in zip(scores, split.pictures, strict=True):
        assert one.size == expected.mask.shape
        assert one.confusion.sum() == expected.mask.size
        assert one.confusion.sum() - np.trace(one.confusion) == 4
        np.testing.assert_array_equal(one.prediction[1:], expected.mask[1:])
        assert one.second is None


@pytest.mark.parametrize("mode", ["whole", "slide"])
@pytest.mark.parametrize("batch_size", [1, 5])
def test_batches_change_nothing(mode, batch_size):
    split = Pictures(*(picture(f"a{i}", i) for i in range(5)))
    reference = score(split)
    for one, other in zip(reference, score(split, mode=mode, batch_size=batch_size), strict=True):
        np.testing.assert_array_equal(one.confusion, other.confusion)


def test_ignored_pixels_do_not_count():
    one = picture("a", 0)
    one.mask[0] = 255
    result = score(Pictures(one))[0]
    assert result.confusion.sum() == one.mask.size - 24
    assert result.confusion.sum() == np.trace(result.confusion)


def test_valid_area_only_where_asked_for():
    valid = np.ones((20, 24), bool)
    valid[:2] = False
    split = Pictures(picture("a", 0, valid=valid), picture("b", 1))
    assert [s.confusion.sum() for s in score(split)] == [480, 480]
    assert [s.confusion.sum() for s in score(split, within_valid=True)] == [432, 480]


def test_second_annotator_is_scored_against_the_first():
    one = picture("a", 0)
    one.second = one.mask.copy()
    one.second[5, :3] = 1 - one.second[5, :3]
    one.second[6, :2] = 255  # left open by the second
    one.mask[7, :5] = 255  # left open by the first
    second = score(Pictures(one))[0].second
    assert second.confusion.sum() == 480 - 2 - 5
    assert second.confusion.sum() - np.trace(second.confusion) == 3


def test_valid_area_holds_for_the_second_annotator_too():
    valid = np.zeros((20, 24), bool)
    valid[:3] = True
    one = picture("a", 0, valid=valid)
    one.second = one.mask
    assert score(Pictures(one), within_valid=True)[0].second.confusion.sum() == 72


def test_unknown_label_is_an_error():
    one = picture("a", 0)
    one.mask[3, 3] = 7
    with pytest.raises(DataError, match="value 7 in 1 pixels"):
        score(Pictures(one))


def test_read_only_and_16_bit_masks():
    one = picture("a", 0)
    one.mask = one.mask.astype(np.uint16)
    one.mask.flags.writeable = False
    one.image.flags.writeable = False
    assert score(Pictures(one))[0].confusion.sum() == 480


def test_same_size_batches_hold_each_image_once():
    sizes = [(4, 4), (5, 4), (4, 4), (4, 4), (5, 4)]
    assert list(same_size_batches(sizes, batch_size=2)) == [[0, 2], [3], [1, 4]]


def test_each_step_is_counted_by_itself():
    result = score(Pictures(picture("a", 0)), steps={"min_component_px": 481, "threshold": 0.5})[0]
    assert list(result.steps) == ["network", "threshold", "cleanup"]
    np.testing.assert_array_equal(result.steps["cleanup"], result.confusion)
    assert result.steps["network"].trace() == 476
    assert result.confusion[:, 1].sum() == 0  # no component is that large
    assert not score(Pictures(picture("a", 0)))[0].steps


def test_both_areas_are_counted_where_there_is_a_mask():
    valid = np.ones((20, 24), bool)
    valid[:2] = False
    split = Pictures(picture("a", 0, valid=valid), picture("b", 1))
    for within_valid in (False, True):
        first, second = score(split, within_valid=within_valid)
        areas = first.own.areas
        assert {name: int(area.confusion.sum()) for name, area in areas.items()} == {"inside": 432, "whole": 480}
        np.testing.assert_array_equal(first.confusion, areas["inside" if within_valid else "whole"].confusion)
        assert not second.own.areas


def test_extras_stay_inside_what_counts():
    one = picture("a", 0)
    every = ("boundary", "surface", "cldice", "ranking", "calibration")
    wrong = score(Pictures(one), names=every)[0].own.extras
    assert wrong.shapes["boundary_IoU"][1] < 1
    assert np.isnan(wrong.shapes["boundary_F"][0])  # background of two classes
    assert wrong.counts["ranking"].values[[1]].sum() == wrong.counts["calibration"].values[0].sum() == 480
    one.mask[0, :4] = 255  # the wrong pixels
    right = score(Pictures(one), names=every)[0].own.extras
    assert right.shapes["boundary_IoU"][1] == right.shapes["clDice"][1] == 1
    assert right.shapes["HD95"][1] == 0
    assert right.counts["ranking"].values[[1]].sum() == right.counts["calibration"].values[0].sum() == 476
    nothing = score(Pictures(one))[0].own.extras
    assert not nothing.shapes
    assert not nothing.counts
