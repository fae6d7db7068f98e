"""The class index says of every box what counting its pixels says, and finds pixels of a class."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maskline.augment import geometric
from maskline.augment.class_index import ClassIndex
from maskline.core.seeds import numpy_generator


def blobs(seed, height, width, classes):
    """A mask of patches of some classes, with ignored pixels."""
    rng = np.random.default_rng(seed)
    small = rng.choice(classes, (height // 11 + 1, width // 13 + 1))
    mask = np.repeat(np.repeat(small, 11, axis=0), 13, axis=1)[:height, :width].astype(np.uint8)
    mask[rng.random(mask.shape) < 0.05] = 255
    return mask


def counted(mask, rows, columns, ratio):
    values, counts = np.unique(mask[rows, columns][mask[rows, columns] != 255], return_counts=True)
    return bool(len(values) > 1 and counts.max() / counts.sum() < ratio)


@settings(max_examples=150)
@given(
    seed=st.integers(0, 10**6),
    size=st.tuples(st.integers(1, 200), st.integers(1, 200)),
    classes=st.sampled_from([(0,), (0, 1), (0, 0, 0, 1), (2, 5, 7, 7), (255,)]),
    ratio=st.sampled_from([0.5, 0.75, 0.9]),
    corner=st.tuples(st.floats(0, 1), st.floats(0, 1)),
    extent=st.tuples(st.integers(1, 220), st.integers(1, 220)),
)
def test_boxes_are_mixed_as_their_pixels_say(seed, size, classes, ratio, corner, extent):
    mask = blobs(seed, *size, classes)
    index = ClassIndex(mask, ignore_index=255)
    rows, columns = (
        slice(start := int(at * (length - 1)), start + more)
        for at, length, more in zip(corner, size, extent, strict=True)
    )
    assert index.is_mixed(mask, rows, columns, cat_max_ratio=ratio) == counted(mask, rows, columns, ratio)


@pytest.mark.parametrize("classes", [(3,), (0, 1, 4)])
def test_every_pixel_of_a_class_is_found_once(classes):
    mask = blobs(1, 70, 90, classes)
    index = ClassIndex(mask, ignore_index=255)
    assert index.classes == sorted(classes)
    for class_ in classes:
        count = int((mask == class_).sum())
        found = {index.find(mask, class_, (k + 0.5) / count) for k in range(count)}
        assert found == {(int(row), int(column)) for row, column in np.argwhere(mask == class_)}


def drawn(mask, seed, index, scaled):
    return geometric.draw(
        numpy_generator(seed, "test"),
        mask,
        scaled=scaled,
        crop_size=(64, 80),
        cat_max_ratio=0.6,
        rotate_degrees=10,
        flip_horizontal=0.5,
        flip_vertical=0.5,
        ignore_index=255,
        index=index,
    )


@pytest.mark.parametrize("classes", [(0,), (0, 0, 0, 0, 1), (1, 2, 3)])
def test_crops_are_those_of_ten_tries(classes):
    mask = blobs(3, 150, 190, classes)
    index = ClassIndex(mask, ignore_index=255)
    for seed in range(40):
        for scaled in ((150, 190), (90, 114), (300, 380), (40, 60)):
            assert drawn(mask, seed, index, scaled) == drawn(mask, seed, None, scaled)


def test_an_aimed_crop_holds_a_pixel_of_the_drawn_class_and_rare_classes_are_as_likely():
    mask = np.zeros((300, 400), dtype=np.uint8)
    mask[280:284, 10:14] = 6
    index = ClassIndex(mask, ignore_index=255)
    with_rare = 0
    for seed in range(200):
        plain = drawn(mask, seed, index, (150, 200))
        geometry = geometric.aimed(plain, numpy_generator(seed, "aim"), mask, index, crop_size=(64, 80))
        row, column = geometry.crop_origin
        assert 0 <= row <= 150 - 64
        assert 0 <= column <= 200 - 80
        with_rare += bool((mask[2 * row : 2 * (row + 64), 2 * column : 2 * (column + 80)] == 6).any())
    assert 80 < with_rare < 140, "half, and what is there by chance"
