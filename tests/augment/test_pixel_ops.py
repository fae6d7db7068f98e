"""CLAHE, gamma, gray, lost channels, erased boxes: what each does, how often, and to which masks."""

import numpy as np
import pytest
import torch
from kornia.enhance import equalize_clahe

from maskline.augment.pixel_ops import Effect
from maskline.core.seeds import numpy_generator
from tests.augment.conftest import effects

NOTHING = {"clahe_clip": None, "gamma": None, "grayscale": False, "lost_channel": None, "erased": ()}
FILL = torch.tensor([11.0, 22.0, 33.0])


def sample(**changes):
    return Effect(**{**NOTHING, **changes})


def images(count=2, seed=0, channels=3):
    return torch.from_numpy(np.random.default_rng(seed).uniform(0, 255, (count, channels, 24, 28)).astype(np.float32))


def changed(before, samples):
    return effects().recolor(before, samples, fill=FILL)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"gamma": 1.5}, lambda x: (x / 255) ** 1.5 * 255),
        ({"clahe_clip": 2.0}, lambda x: equalize_clahe(x / 255, 2.0, (4, 4)) * 255),
        ({"grayscale": True}, lambda x: (0.299 * x[0] + 0.587 * x[1] + 0.114 * x[2]).expand(3, -1, -1)),
        ({"lost_channel": 1}, lambda x: torch.stack([x[0], torch.full_like(x[1], 22.0), x[2]])),
        ({}, lambda x: x),
    ],
)
def test_each_is_what_it_is_and_leaves_its_neighbour_alone(change, expected):
    before = images()
    kept = before.clone()
    after = changed(before, [sample(**change), sample()])
    torch.testing.assert_close(after[0], expected(before[0]), atol=0.01, rtol=0)
    assert torch.equal(after[1], before[1])
    assert torch.equal(before, kept)


def test_channels_that_are_no_colors_do_not_go_gray():
    before = images(channels=4)
    after = effects(channels=4).recolor(before, [sample(grayscale=True)] * 2, fill=torch.zeros(4))
    assert torch.equal(after, before)


@pytest.mark.parametrize("labels", ["keep", "ignore"])
def test_erased_boxes(labels):
    before, mask, valid = images(), torch.ones(2, 24, 28, dtype=torch.int64), torch.ones(2, 24, 28, dtype=torch.int64)
    after = before.clone()
    effects(erase_labels=labels).erase(
        after, [(mask, 255), (valid, 0)], [sample(erased=((2, 3, 9, 20),)), sample()], fill=FILL
    )
    box = torch.zeros(24, 28, dtype=torch.bool)
    box[2:9, 3:20] = True
    assert (after[0].permute(1, 2, 0)[box] == FILL).all()
    assert torch.equal(after[0][:, ~box], before[0][:, ~box])
    assert torch.equal(after[1], before[1])
    assert (mask[0][box] == (255 if labels == "ignore" else 1)).all()
    assert (valid[0][box] == (0 if labels == "ignore" else 1)).all()
    assert (mask[0][~box] == 1).all()
    assert (mask[1] == 1).all()


def happens(drawn, field):
    value = getattr(drawn, field)
    return value is not None and value is not False and value != ()


@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("clahe_prob", "clahe_clip"),
        ("gamma_prob", "gamma"),
        ("grayscale_prob", "grayscale"),
        ("channel_dropout_prob", "lost_channel"),
        ("erase_prob", "erased"),
    ],
)
def test_each_happens_as_often_as_asked(name, field):
    drawn = [effects(**{name: 0.3}).draw(numpy_generator(seed, "test"), (32, 40)) for seed in range(600)]
    happened = [happens(one, field) for one in drawn]
    assert 0.24 < np.mean(happened) < 0.36
    others = {"clahe_clip", "gamma", "grayscale", "lost_channel", "erased"} - {field}
    assert not any(happens(one, other) for one in drawn for other in others)


def test_draws_stay_in_range():
    made = effects(clahe_prob=1.0, gamma_prob=1.0, channel_dropout_prob=1.0, erase_prob=1.0)
    drawn = [made.draw(numpy_generator(seed, "test"), (32, 40)) for seed in range(400)]
    assert all(1 <= one.clahe_clip <= 4 and 0.5 <= one.gamma <= 2 for one in drawn)
    assert 0.4 < np.mean([one.gamma < 1 for one in drawn]) < 0.6, "darker as often as lighter"
    assert {one.lost_channel for one in drawn} == {0, 1, 2}
    boxes = np.array([one.erased for one in drawn])
    assert boxes.shape == (400, 2, 4)
    top, left, bottom, right = boxes.reshape(-1, 4).T
    assert (top >= 0).all()
    assert (left >= 0).all()
    assert (bottom <= 32).all()
    assert (right <= 40).all()
    area = (bottom - top) * (right - left) / (32 * 40)
    assert area.min() > 0.04
    assert area.max() < 0.23
