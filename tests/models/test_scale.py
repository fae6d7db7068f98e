"""Images at the scale that evaluation names: the bytes of OpenCV, and logits at the image's own size."""

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from maskline.inference.pipeline import Inference
from maskline.inference.predictor import Predictor
from maskline.inference.tta import Tta
from maskline.models.scale import resized_bytes, scaled_size

SCALE = (24, 60)


def opencv_linear(image, size):
    """What cv2.resize (5.0.0, INTER_LINEAR) makes of bytes HWC, a pixel at a time, by its fixed-point arithmetic."""

    def places(before, after, *, clipped):
        for i in range(after):
            place = np.float32((i + 0.5) * (before / after) - 0.5)
            first = math.floor(place)
            share = np.float32(0) if clipped and not 0 <= first < before - 1 else place - np.float32(first)
            weights = [int(np.rint(np.float32(2048) * part)) for part in (np.float32(1) - share, share)]
            yield [(min(max(at, 0), before - 1), w) for at, w in zip((first, first + 1), weights, strict=True)]

    height, width = image.shape[:2]
    rows, columns = places(height, size[0], clipped=False), list(places(width, size[1], clipped=True))
    values, result = image.astype(np.int64), np.zeros((*size, image.shape[2]), np.uint8)
    for y, row in enumerate(rows):
        for x, column in enumerate(columns):
            across = [sum(values[at, left] * part for left, part in column) >> 4 for at, _ in row]
            down = sum(part * value >> 16 for (_, part), value in zip(row, across, strict=True))
            result[y, x] = down + 2 >> 2
    return result


def image(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("size", "scale", "expected"),
    [  # of mmcv 2.1.0's Resize with keep_ratio; (375, 500) with (2048, 512) is 512x683 there
        ((375, 500), (512, 2048), (512, 683)),
        ((364, 500), (2048, 512), (512, 703)),
        ((1024, 2048), (1025, 2049), (1025, 2049)),
        ((500, 375), (520, 520), (520, 390)),
        ((300, 3000), (512, 2048), (205, 2048)),
        ((683, 512), (512, 2048), (683, 512)),
        ((17, 29), (24, 60), (24, 41)),
        ((1, 200), (24, 60), (0, 60)),
    ],
)
def test_sizes_are_those_of_mmcv(size, scale, expected):
    assert scaled_size(size, scale) == expected


@pytest.mark.parametrize(
    ("size", "new"), [((17, 29), (24, 41)), ((40, 31), (20, 16)), ((33, 8), (33, 8)), ((3, 7), (64, 5))]
)
def test_bytes_are_those_of_opencv(size, new):
    one = image(*size)
    found = resized_bytes(torch.from_numpy(np.stack([one, one[::-1]])), new).numpy()
    np.testing.assert_array_equal(found[0], opencv_linear(one, new))
    np.testing.assert_array_equal(found[1], opencv_linear(one[::-1], new))


def test_known_bytes_of_opencv():
    """``cv2.resize`` itself, 5.0.0."""
    one = np.array([[[0], [100], [255]], [[7], [30], [200]]], np.uint8)
    known = [[0, 40, 100, 193, 255], [4, 28, 65, 163, 228], [7, 16, 30, 132, 200]]
    assert resized_bytes(torch.from_numpy(one)[None], (3, 5))[0, :, :, 0].tolist() == known


@pytest.fixture
def network():
    torch.manual_seed(0)
    return nn.Conv2d(3, 4, 3, padding=1).eval().requires_grad_(requires_grad=False)


def predictor(network, **changes):
    values = {"mode": "whole", "window": (16, 16), "stride": (11, 11), "batch_size": 2, "scale": SCALE} | changes
    more = {"weighting": "uniform", "average": "logits", "precision": "fp32"}
    return Predictor(model=network, mean=(120.0,) * 3, std=(60.0,) * 3, **values, **more)


def seen(one, size):
    values = (opencv_linear(one, size).astype(np.float32) - 120) / 60
    return torch.from_numpy(values).permute(2, 0, 1)[None]


@pytest.mark.parametrize("align_corners", [False, True])
def test_logits_are_of_the_scaled_image_at_the_own_size(network, align_corners):
    one = image(17, 29)
    expected = F.interpolate(network(seen(one, (24, 41))), (17, 29), mode="bilinear", align_corners=align_corners)
    use = predictor(network, align_corners=align_corners)
    torch.testing.assert_close(use.logits(torch.from_numpy(one)[None]), expected)
    assert torch.equal(use.classes(torch.from_numpy(one)[None]).long(), expected.argmax(1))


def test_windows_are_of_the_scaled_image(network):
    one, seen_windows = image(17, 29), []

    def forward(windows):
        seen_windows.append(windows)
        return network(windows)

    module = nn.Module()
    module.forward = forward
    found = predictor(module, mode="slide").logits(torch.from_numpy(one)[None])
    windows = torch.cat(seen_windows)
    assert windows.shape == (8, 3, 16, 16)  # 24x41: rows from 0 and 8, columns from 0, 11, 22 and 25
    torch.testing.assert_close(windows[0], seen(one, (24, 41))[0, :, :16, :16])
    assert found.shape == (1, 4, 17, 29)


def test_factors_multiply_the_scale(network):
    one = image(17, 29)
    use = predictor(network)
    views = Tta(scales=(1.0, 1.5), flips=("none", "horizontal"))
    steps = {"crf": None, "threshold": None, "min_component_px": 0, "max_hole_px": 0}
    found = Inference(predictor=use, tta=views, **steps).segment(torch.from_numpy(one)[None], probabilities=True)
    expected = 0
    for size in ((24, 41), (36, 61)):  # resized once, to what fits (36, 90)
        pixels = seen(one, size)
        for logits in (network(pixels), network(pixels.flip(3)).flip(3)):
            expected = expected + F.interpolate(logits, (17, 29), mode="bilinear").softmax(1)
    torch.testing.assert_close(found.probabilities, expected / 4)
