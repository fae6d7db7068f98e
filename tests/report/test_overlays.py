"""Grids and what lies over images."""

import numpy as np
import pytest

from maskline.data.labels import LabelSet
from maskline.report import overlays


def labels(name, color):
    return LabelSet(class_names=(name, "thing"), palette=(color, (255, 0, 0)))


@pytest.mark.parametrize(
    ("name", "color", "clear"),
    [("background", (9, 9, 9), True), ("class 0", (0, 0, 0), True), ("road", (128, 64, 128), False)],
)
def test_a_black_first_class_is_not_painted_over_the_image(name, color, clear):
    image = np.full((4, 4, 3), 200, np.uint8)
    shown = overlays.overlay(image, np.zeros((4, 4), np.uint8), labels(name, color))
    assert (shown == 200).all() == clear


def test_only_dark_images_are_brightened():
    dark = np.linspace(0, 20, 48).reshape(4, 4, 3).astype(np.uint8)
    bright, happened = overlays.stretched(dark)
    assert happened
    assert bright.max() == 255
    for image in (np.full((4, 4, 3), 90, np.uint8), np.zeros((4, 4, 3), np.uint8)):
        assert overlays.stretched(image)[0] is image


def test_a_mask_by_itself_and_a_legend():
    mask = np.array([[0, 1], [1, 255]], np.uint8)
    colors = overlays.colored(mask, labels("ground", (0, 0, 0)))
    assert colors[0, 0].tolist() == [0, 0, 0]
    assert colors[0, 1].tolist() == colors[1, 0].tolist() == [255, 0, 0]
    tiles = [("a", np.full((40, 200, 3), 90, np.uint8))] * 2
    plain = overlays.grid(tiles, columns=2)
    sheet = overlays.grid(tiles, columns=2, labels=labels("ground", (0, 0, 0)))
    assert sheet.height > plain.height
    legend = np.asarray(sheet)[plain.height :].reshape(-1, 3)
    assert (legend == (255, 0, 0)).all(-1).sum() >= 80
