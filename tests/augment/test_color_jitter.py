"""Colors step by step: MMSegmentation's numbers to the gray level, torchvision's formulas, what is drawn how often."""

import colorsys

import numpy as np
import pytest
import torch

from maskline.augment.color_jitter import ColorJitter, Step, Steps, apply
from maskline.augment.hsv import hsv_to_rgb, rgb_to_hsv

# Computed with OpenCV 4.10 by the steps of MMSegmentation's PhotoMetricDistortion, tiled to a width of 256 px.
SOURCE = [
    [[7, 7, 7], [0, 0, 0], [255, 255, 255], [5, 204, 153]],
    [[213, 53, 37], [173, 192, 206], [63, 120, 6], [131, 236, 96]],
    [[87, 4, 118], [71, 124, 161], [237, 73, 42], [250, 194, 16]],
]
CONTRAST_FIRST = [
    [[29, 29, 29], [20, 20, 20], [255, 255, 255], [109, 255, 163]],
    [[255, 134, 174], [239, 255, 250], [159, 165, 78], [240, 255, 181]],
    [[102, 76, 163], [145, 215, 212], [255, 138, 166], [255, 195, 117]],
]
CONTRAST_LAST = [
    [[0, 0, 0], [0, 0, 0], [181, 181, 181], [0, 99, 143]],
    [[150, 99, 0], [110, 110, 145], [0, 81, 8], [17, 167, 67]],
    [[79, 0, 58], [14, 18, 111], [167, 122, 0], [118, 177, 0]],
]


def chw(pixels):
    return torch.tensor(pixels, dtype=torch.float32).permute(2, 0, 1)[None]


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ([("brightness", 17.3), ("contrast", 1.21), ("saturation", 0.63), ("hue", -13)], CONTRAST_FIRST),
        ([("brightness", -9.7), ("saturation", 1.44), ("hue", 17), ("contrast", 0.74)], CONTRAST_LAST),
    ],
)
def test_mmseg_to_the_gray_level(steps, expected):
    made = apply(chw(SOURCE), [Steps("mmseg", tuple(Step(*each) for each in steps))])
    np.testing.assert_array_equal(made.numpy(), chw(expected).numpy())


def test_hsv_goes_there_and_back():
    """Of whole hues, saturations and values little is lost: two gray levels, by the cut-off of each way."""
    image = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (1, 3, 64, 64)))
    hue, saturation, value = rgb_to_hsv(image)[0]
    assert hue.min() >= 0
    assert hue.max() < 180
    assert torch.equal(value, image[0].amax(0))
    for i in range(0, 64, 7):
        expected = colorsys.rgb_to_hsv(*(image[0, :, i, i] / 255).tolist())
        assert abs((hue[i, i].item() - expected[0] * 180 + 90) % 180 - 90) <= 0.51
        assert abs(saturation[i, i].item() - expected[1] * 255) <= 0.51
    back = hsv_to_rgb(rgb_to_hsv(image))
    assert (back - image).abs().max() <= 5
    assert (back - image).abs().mean() < 1


def drawn(count=600, **changes):
    settings = {
        "mode": "mmseg",
        "prob": 0.5,
        "brightness": 32.0,
        "contrast": (0.5, 1.5),
        "saturation": (0.5, 1.5),
        "hue_degrees": 36.0,
    }
    made = ColorJitter(**{**settings, **changes})
    return [made.draw(np.random.default_rng(seed)).steps for seed in range(count)]


def test_mmseg_draws_as_it_does():
    samples = drawn(count=3000)
    values = {name: [s.value for steps in samples for s in steps if s.name == name] for name in NAMES}
    for name in NAMES:
        assert 0.46 < len(values[name]) / len(samples) < 0.54, "a coin each"
    assert -32 <= min(values["brightness"]) < -31
    assert 31 < max(values["brightness"]) <= 32
    assert 0.5 <= min(values["contrast"]) < 0.52
    assert 1.48 < max(values["contrast"]) <= 1.5
    assert sorted(set(values["hue"])) == list(range(-18, 18)), "hue_delta 18: whole numbers, without the upper end"
    places = [[s.name for s in steps] for steps in samples]
    first = [names.index("contrast") < names.index("saturation") for names in places if {*names} >= {*NAMES[1:3]}]
    assert 0.44 < np.mean(first) < 0.56, "contrast before or after saturation and hue, by a coin"
    assert all(names[0] == "brightness" for names in places if "brightness" in names)


NAMES = ("brightness", "contrast", "saturation", "hue")


def test_jitter_orders_are_drawn():
    orders = {tuple(s.name for s in steps) for steps in drawn(mode="jitter", prob=1.0)}
    assert len(orders) == 24
    assert {len(steps) for steps in drawn(mode="jitter", prob=0.0)} == {0}


def test_jitter_is_torchvisions():
    image = chw(SOURCE)
    gray = (image * torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)).sum(1, keepdim=True)

    def jittered(name, value):
        return apply(image, [Steps("jitter", (Step(name, value),))])

    torch.testing.assert_close(jittered("brightness", 1.2), (image * 1.2).clamp(0, 255), atol=0.01, rtol=0)
    contrasted = (gray.mean() + 0.5 * (image - gray.mean())).clamp(0, 255)
    torch.testing.assert_close(jittered("contrast", 0.5), contrasted, atol=0.1, rtol=0)
    saturated = (gray + 1.4 * (image - gray)).clamp(0, 255)
    torch.testing.assert_close(jittered("saturation", 1.4), saturated, atol=0.1, rtol=0)
    turned = jittered("hue", 90.0)[0, :, 1, 0] / 255
    hue, saturation, value = colorsys.rgb_to_hsv(213 / 255, 53 / 255, 37 / 255)
    expected = colorsys.hsv_to_rgb((hue + 0.25) % 1, saturation, value)
    torch.testing.assert_close(turned, torch.tensor(expected), atol=0.01, rtol=0)


@pytest.mark.parametrize("mode", ["mmseg", "jitter"])
def test_channels_that_are_no_colors_keep_to_brightness_and_contrast(mode):
    image = torch.full((1, 4, 2, 2), 100.0)
    steps = tuple(Step(name, value) for name, value in zip(NAMES, (2.0, 1.0, 0.5, 8.0), strict=True))
    made = apply(image, [Steps(mode, steps)])
    torch.testing.assert_close(made, torch.full_like(image, 102.0 if mode == "mmseg" else 200.0))
