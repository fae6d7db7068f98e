"""Images of an image's labels, prediction and errors."""

import io

import numpy as np
import pytest
from PIL import Image
from skimage.color import rgb2lab

from maskline.data.labels import LabelSet
from maskline.evaluation.page import layers
from tests.evaluation.conftest import FOUR, TWO


def opened(content: bytes) -> Image.Image:
    return Image.open(io.BytesIO(content))


def test_errors_of_two_classes():
    target = np.array([[0, 0, 1, 1, 255]])
    prediction = np.array([[0, 1, 1, 0, 1]])
    names = [entry.name for entry in layers.error_legend(TWO)]
    found = layers.error_ids(prediction, target, TWO)[0]
    assert [names[i] if i < len(names) else "clear" for i in found] == [
        "clear",
        "false alarm (FP)",
        "vessel found (TP)",
        "missed (FN)",
        "clear",
    ]


def test_errors_of_more_classes():
    target = np.array([[0, 1, 2, 255]])
    prediction = np.array([[0, 2, 2, 1]])
    assert layers.error_ids(prediction, target, FOUR).tolist() == [[1, 0, 1, 1]]
    assert [entry.name for entry in layers.error_legend(FOUR)] == ["wrong class"]


# Linear RGB as seen by dichromats: Viénot, Brettel and Mollon (1999); tritan: Machado, Oliveira and Fernandes (2009).
COLOR_VISION = {
    "normal": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
    "protan": [[0.11238, 0.88762, 0], [0.11238, 0.88762, 0], [0.00401, -0.00401, 1]],
    "deutan": [[0.29275, 0.70725, 0], [0.29275, 0.70725, 0], [-0.02234, 0.02234, 1]],
    "tritan": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}


@pytest.mark.parametrize("vision", COLOR_VISION)
def test_error_colors_differ_whoever_looks(vision):
    for gray in (5, 50, 107):  # what the darkened image can be
        under = np.full(3, gray)
        shown = [e.opacity * np.array(e.color) + (1 - e.opacity) * under for e in layers.error_legend(TWO)]
        linear = (np.array([*shown, under]) / 255) ** 2.2
        seen = np.clip(linear @ np.array(COLOR_VISION[vision]).T, 0, 1) ** (1 / 2.2)
        lab = rgb2lab(seen)
        distances = [np.linalg.norm(lab[i] - lab[j]) for i in range(4) for j in range(i)]
        assert min(distances) >= 35


def test_class_layer_is_clear_where_background_or_ignored():
    ids = np.array([[0, 1], [255, 1]], dtype=np.uint8)
    rgba = np.asarray(opened(layers.class_layer(ids, TWO, longest_px=2)).convert("RGBA"))
    assert rgba[..., 3].tolist() == [[0, 255], [0, 255]]
    assert rgba[0, 1, :3].tolist() == [230, 60, 60]


def test_class_layer_shows_a_first_class_that_is_no_background():
    rgba = np.asarray(opened(layers.class_layer(np.zeros((2, 2), int), FOUR, longest_px=2)).convert("RGBA"))
    assert rgba[0, 0].tolist() == [70, 130, 180, 255]


def test_class_layer_of_more_classes_than_a_palette_holds():
    labels = LabelSet(
        class_names=tuple(f"class {i}" for i in range(300)),
        palette=tuple((i % 256, i // 256, 7) for i in range(300)),
        ignore_index=65535,
    )
    ids = np.array([[299, 65535]])
    rgba = np.asarray(opened(layers.class_layer(ids, labels, longest_px=2)).convert("RGBA"))
    assert rgba[0].tolist() == [[43, 1, 7, 255], [0, 0, 0, 0]]


@pytest.mark.parametrize(
    ("size", "longest", "expected"),
    [((1000, 500), 100, (50, 100)), ((10, 8), 100, (80, 100)), ((60, 60), 100, (60, 60)), ((1, 5000), 100, (100, 1))],
)
def test_layers_of_one_image_have_one_size(size, longest, expected):
    generator = np.random.default_rng(0)
    ids = generator.integers(0, 2, size).astype(np.uint8)
    image = generator.integers(0, 256, (*size, 3)).astype(np.uint8)
    pictures = [
        layers.photo(image, longest_px=longest, quality=80),
        layers.class_layer(ids, TWO, longest_px=longest),
        layers.error_layer(ids, ids, TWO, longest_px=longest),
    ]
    assert [opened(picture).size for picture in pictures] == [expected] * 3


def test_overlay_image_is_small_even_for_noise():
    generator = np.random.default_rng(0)
    image = generator.integers(0, 256, (1500, 1000, 3)).astype(np.uint8)
    ids = generator.integers(0, 2, (1500, 1000)).astype(np.uint8)
    content = layers.overlay_image(image, ids, 1 - ids, TWO, caption="worst 1", longest_px=640, max_bytes=250_000)
    assert max(opened(content).size) <= 640
    assert len(content) <= 250_000


def test_overlay_image_shows_the_errors_colors():
    target = np.zeros((100, 400), np.uint8)
    prediction = target.copy()
    target[:, 200:], prediction[:, 300:] = 1, 1
    prediction[:, 100:200] = 1
    image = np.full((100, 400, 3), 100, np.uint8)
    content = layers.overlay_image(image, prediction, target, TWO, caption="x", longest_px=640, max_bytes=10**6)
    pixels = np.asarray(opened(content)).astype(int)[50, [50, 150, 250, 350]]
    hit = round(0.85 * 245 + 0.15 * 42)
    for found, expected in zip(pixels, [(42,) * 3, layers.FALSE_ALARM, layers.MISS, (hit,) * 3], strict=True):
        assert np.abs(found - expected).max() <= 4


def test_bytes_are_the_same_twice():
    image = np.random.default_rng(0).integers(0, 256, (50, 60, 3)).astype(np.uint8)
    ids = (image[..., 0] > 100).astype(np.uint8)
    make = [
        lambda: layers.overlay_image(image, ids, 1 - ids, TWO, caption="x", longest_px=640, max_bytes=10**6),
        lambda: layers.class_layer(ids, TWO, longest_px=640),
        lambda: layers.photo(image, longest_px=640, quality=80),
    ]
    assert all(one() == one() for one in make)
