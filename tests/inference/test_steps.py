"""What follows the network: views, clean-up, threshold, and all of them in a row."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from maskline.core.errors import DataError, ParamsError
from maskline.evaluation.tuning import (
    best_field,
    best_threshold,
    fields_around,
    tuned_threshold,
    tuned_values,
    with_crf,
    with_threshold,
)
from maskline.inference.crf import DenseCrf
from maskline.inference.postprocess import fill_holes, remove_small_components
from maskline.inference.tta import Tta, averaged_probabilities, view_size
from maskline.models.layers import resize
from tests.evaluation.test_scoring import Pictures, inference, picture

PLAIN = Tta(scales=(1.0,), flips=("none",))


@pytest.fixture
def network():
    torch.manual_seed(0)
    return nn.Conv2d(3, 4, 3, padding=1).eval().requires_grad_(requires_grad=False)


def test_views_are_the_mean_of_single_predictions(network):
    images = torch.randn(2, 3, 20, 27)
    expected = network(images).softmax(1) + network(images.flip(3)).flip(3).softmax(1)
    half = F.interpolate(images, size=(15, 20), mode="bilinear")  # 27 x 0.75 = 20.25
    for flip in ((), (3,)):
        logits = network(half.flip(flip)).flip(flip)
        expected = expected + F.interpolate(logits, size=(20, 27), mode="bilinear").softmax(1)
    views = Tta(scales=(1.0, 0.75), flips=("none", "horizontal"))
    torch.testing.assert_close(averaged(network, images, views), expected / 4)


def test_flips_of_a_scale_are_one_batch(network):
    seen = []

    def forward(images):
        seen.append(tuple(images.shape))
        return network(images)

    views = Tta(scales=(0.5, 1.0), flips=("none", "horizontal", "vertical", "both"))
    averaged(forward, torch.zeros(1, 3, 20, 27), views)
    seen = seen[1:]  # the first is the image as it is
    assert seen == [(4, 3, 10, 14), (3, 3, 20, 27)]  # 13.5 is rounded up; the image as it is is known


def test_result_of_all_flips_is_mirrored_with_the_image(network):
    images = torch.randn(1, 3, 12, 18)
    views = Tta(scales=(1.0,), flips=("none", "horizontal", "vertical", "both"))
    found = averaged(network, images, views)
    torch.testing.assert_close(averaged(network, images.flip(2), views).flip(2), found)


def test_views_without_the_image_itself(network):
    images = torch.randn(1, 3, 12, 18)
    mirrored = network(images.flip(3)).flip(3).softmax(1)
    found = averaged(network, images, Tta(scales=(1.0,), flips=("horizontal",)))
    torch.testing.assert_close(found, mirrored)


def averaged(network, images, views):
    def view(factor):
        return resize(images, view_size(images.shape[2:], factor), align_corners=False)

    restored = partial(resize, align_corners=False)
    return averaged_probabilities(network, view, views, plain=network(images).softmax(1), restored=restored)


def test_only_the_image_itself_is_plain():
    assert PLAIN.is_plain
    assert not Tta(scales=(1.0,), flips=("horizontal",)).is_plain
    assert not Tta(scales=(1.0, 2.0), flips=("none",)).is_plain


MAP = """
0000000
0220010
0220000
0001110
0001010
0001110
"""


def drawn(text):
    return np.array([[int(c) for c in row] for row in text.split()], dtype=np.uint8)


def test_small_components_go_to_their_neighbours():
    found = remove_small_components(drawn(MAP), min_px=4)
    assert found.dtype == np.uint8
    assert found[1, 5] == 0
    changed = found != drawn(MAP)
    assert changed.sum() == 1
    assert (remove_small_components(drawn(MAP), min_px=9)[1:3, 1:3] == 0).all()


def test_a_component_inside_another_class_becomes_that_class():
    ids = np.ones((7, 7), np.uint8)
    ids[3, 3] = 2
    assert (remove_small_components(ids, min_px=2) == 1).all()


def test_a_map_without_anything_large_enough_stays():
    ids = np.ones((3, 3), np.uint8)
    np.testing.assert_array_equal(remove_small_components(ids, min_px=100), ids)


def test_holes_are_filled_but_not_bays():
    found = fill_holes(drawn(MAP), max_px=1)
    assert found[4, 4] == 1
    assert (found != drawn(MAP)).sum() == 1
    ring = np.ones((6, 6), np.uint8)
    ring[2:4, 2:4] = 0
    np.testing.assert_array_equal(fill_holes(ring, max_px=3), ring)
    assert fill_holes(ring, max_px=4).all()
    ring[2, 4:] = 0  # open to the edge
    np.testing.assert_array_equal(fill_holes(ring, max_px=9), ring)


def test_threshold_by_brute_force():
    generator = np.random.default_rng(0)
    counts = generator.integers(0, 50, (2, 11))
    dice = []
    for first in range(11):
        hits, false = counts[1, first:].sum(), counts[0, first:].sum()
        dice.append(2 * hits / (hits + false + counts[1].sum()))
    assert best_threshold(counts) == int(np.argmax(dice)) / 10


def test_a_tuned_threshold_recovers_a_shifted_network():
    class Shy(nn.Module):
        """Knows the class, but gives the foreground 0.3 at most."""

        def forward(self, images):
            foreground = torch.where(images[:, 1:2] > images[:, :1], 0.3, 0.1)
            return torch.cat([1 - foreground, foreground], 1).log()

    made = inference()
    made = replace(made, predictor=replace(made.predictor, model=Shy()))
    split = Pictures(picture("a", 0), picture("b", 1))
    tuned = with_threshold(
        made, tune=True, num_classes=2, validation=lambda: split, ignore_index=255, within_valid=False
    )
    assert 0.1 < tuned.threshold <= 0.3
    images = torch.from_numpy(split.sample(0).image)[None]
    assert not made.segment(images, probabilities=False).labels.any()
    found = tuned.segment(images, probabilities=False)
    assert list(found.steps) == ["network", "threshold"]
    np.testing.assert_array_equal(found.labels[0, 1:].numpy(), split.sample(0).mask[1:])


def test_nothing_to_tune_on_is_an_error():
    one = picture("a", 0)
    one.mask[:] = 0
    with pytest.raises(DataError, match="no foreground in the val split"):
        tuned_threshold(inference(), Pictures(one), ignore_index=255, within_valid=False)


def test_a_threshold_is_for_two_classes():
    for made, tune in ((inference(steps={"threshold": 0.4}), False), (inference(), True)):
        with pytest.raises(ParamsError, match="set for 3 classes"):
            with_threshold(made, tune=tune, num_classes=3, validation=None, ignore_index=255, within_valid=False)


CRF = DenseCrf(
    iterations=3,
    radius=2,
    bilateral_weight=1.0,
    bilateral_px=4.0,
    bilateral_grey=10.0,
    smooth_weight=1.0,
    smooth_px=1.0,
)


def test_fields_around_a_field_start_with_itself():
    fields = list(fields_around(CRF))
    assert fields[0] == CRF
    assert len(set(fields)) == 27
    assert {field.bilateral_grey for field in fields} == {5.0, 10.0, 20.0}
    assert {field.smooth_px for field in fields} == {1.0}


def test_best_field_by_dice_or_by_mean_iou():
    good, bad = [[90, 10], [10, 90]], [[50, 50], [50, 50]]
    assert best_field(np.array([bad, good, good])) == 1
    three = np.stack([np.diag([5, 5, 5]) + spoilt for spoilt in (3, 1, 2)])
    assert best_field(three) == 1


def test_a_tuned_crf_is_the_one_that_scores_best_on_the_split():
    split = Pictures(picture("a", 0), picture("b", 1))
    made = inference(steps={"crf": replace(CRF, bilateral_grey=60.0, bilateral_weight=6.0, smooth_weight=4.0)})
    made = replace(made, predictor=replace(made.predictor, std=(60.0,) * 3))  # a network in doubt
    tuned = with_crf(made, split, ignore_index=255, within_valid=False)
    scores = [dice(replace(made, crf=field), split) for field in fields_around(made.crf)]
    assert max(scores) > scores[0]  # as given it smooths a noisy truth away
    assert dice(tuned, split) == max(scores)
    assert tuned_values(tuned)["smooth_weight"] == tuned.crf.smooth_weight


def dice(made, split):
    hits = total = 0
    for i in range(2):
        found = made.segment(torch.from_numpy(split.sample(i).image)[None], probabilities=False).labels[0].numpy()
        mask = split.sample(i).mask
        hits, total = hits + 2 * (found & mask).sum(), total + found.sum() + mask.sum()
    return hits / total


def test_no_label_to_tune_a_crf_on_is_an_error():
    one = picture("a", 0)
    one.mask[:] = 255
    with pytest.raises(DataError, match="no labelled pixel in the val split"):
        with_crf(inference(steps={"crf": CRF}), Pictures(one), ignore_index=255, within_valid=False)


def test_probabilities_are_those_that_the_labels_come_from():
    made = inference(steps={"tta": Tta(scales=(1.0,), flips=("none", "vertical")), "threshold": 0.5})
    found = made.segment(torch.from_numpy(picture("a", 0).image)[None], probabilities=True)
    assert list(found.steps) == ["network", "views", "threshold"]
    assert torch.equal(found.probabilities.argmax(1).to(torch.uint8), found.labels)
