"""Color changes: each alone against its definition, all as one matrix, noise and blur by their own seeds."""

import colorsys

import numpy as np
import torch
from scipy.ndimage import gaussian_filter

from maskline.augment import color_matrix
from maskline.augment.color_matrix import Photometric

NEUTRAL = {
    "brightness": 0.0,
    "contrast": 1.0,
    "saturation": 1.0,
    "hue_degrees": 0.0,
    "blur_sigma": 0.0,
    "noise_std": 0.0,
    "noise_seed": 0,
}


def sample(**changes):
    return Photometric(**{**NEUTRAL, **changes})


def changed(pictures, samples):
    return color_matrix.apply(pictures, samples, matrix=True)


def images(seed=0, low=0, high=255):
    return torch.from_numpy(np.random.default_rng(seed).uniform(low, high, (1, 3, 24, 28)).astype(np.float32))


def test_neutral_changes_nothing():
    before = images()
    torch.testing.assert_close(changed(before, [sample()]), before, atol=2e-4, rtol=0)


def test_brightness_and_contrast():
    before = images(low=60, high=120)
    after = changed(before, [sample(brightness=10.0, contrast=1.2)])
    torch.testing.assert_close(after, (before + 10) * 1.2, atol=1e-3, rtol=0)


def test_no_saturation_is_gray_of_the_same_luma():
    before = images()
    after = changed(before, [sample(saturation=0.0)])
    luma = before[:, 0] * 0.299 + before[:, 1] * 0.587 + before[:, 2] * 0.114
    for channel in range(3):
        torch.testing.assert_close(after[:, channel], luma, atol=0.02, rtol=0)


def test_hue_turns_red_towards_yellow():
    red = torch.zeros(1, 3, 2, 2)
    red[:, 0] = 120.0
    red[:, 1:] = 60.0
    after = changed(red, [sample(hue_degrees=30.0)])[0, :, 0, 0] / 255
    hue, _, _ = colorsys.rgb_to_hsv(*after.tolist())
    assert 10 < hue * 360 < 50 or 310 < hue * 360 < 350
    assert abs(hue * 360 - 30) < 20, "a positive turn goes from red to yellow"


def test_result_is_clipped():
    after = changed(images(), [sample(brightness=200.0)])
    assert after.max() <= 255
    assert changed(images(), [sample(brightness=-200.0)]).min() >= 0


def test_blur_is_a_gaussian():
    before = images()
    after = changed(before, [sample(blur_sigma=1.0)])[0, 1].numpy()
    expected = gaussian_filter(before[0, 1].numpy(), 1.0, mode="mirror", truncate=3.0)
    np.testing.assert_allclose(after, expected, atol=0.5)


def test_noise_depends_on_its_seed_alone():
    before = images(low=100, high=150)
    both = changed(before.repeat(2, 1, 1, 1), [sample(noise_std=5.0, noise_seed=1)] * 2)
    torch.testing.assert_close(both[0], both[1])
    other = changed(before, [sample(noise_std=5.0, noise_seed=2)])
    assert not torch.equal(both[0], other[0])
    assert 4.5 < float((other - before).std()) < 5.5


def test_a_sample_does_not_depend_on_its_neighbours():
    one, two = images(1), images(2)
    first = sample(brightness=12.0, saturation=0.7, hue_degrees=9.0, blur_sigma=0.8, noise_std=3.0, noise_seed=4)
    alone = changed(one, [first])
    beside = changed(torch.cat([one, two]), [first, sample(blur_sigma=2.0)])
    torch.testing.assert_close(beside[:1], alone, atol=1e-3, rtol=0)


def test_draws_stay_in_range_and_happen_as_often_as_asked():
    settings = {
        "prob": 0.5,
        "brightness": 32.0,
        "contrast": (0.5, 1.5),
        "saturation": (0.4, 1.6),
        "hue_degrees": 18.0,
        "blur_prob": 0.25,
        "blur_sigma": (0.5, 1.0),
        "noise_prob": 0.0,
        "noise_std": 8.0,
    }
    drawn = [color_matrix.draw(np.random.default_rng(seed), **settings) for seed in range(400)]
    assert all(abs(one.brightness) <= 32 and 0.5 <= one.contrast <= 1.5 for one in drawn)
    assert all(0.4 <= one.saturation <= 1.6 and abs(one.hue_degrees) <= 18 for one in drawn)
    assert 0.4 < np.mean([one.brightness != 0 for one in drawn]) < 0.6
    assert 0.17 < np.mean([one.blur_sigma > 0 for one in drawn]) < 0.33
    assert not any(one.noise_std for one in drawn)
