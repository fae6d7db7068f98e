"""Class-aware crops of a 1024x2048 image of one class: ten tries, and the class index. ``make bench`` times them."""

import numpy as np
import pytest

from maskline.augment import geometric
from maskline.augment.class_index import ClassIndex
from maskline.core.seeds import numpy_generator

CROP = (512, 1024)


def drawn(mask, index):
    return geometric.draw(
        numpy_generator(3, "bench"),
        mask,
        scaled=(1024, 2048),
        crop_size=CROP,
        cat_max_ratio=0.75,
        rotate_degrees=0,
        flip_horizontal=0.5,
        flip_vertical=0.0,
        ignore_index=255,
        index=index,
    )


@pytest.mark.benchmark(group="class-aware crop, single class 1024x2048")
@pytest.mark.parametrize("how", ["ten tries", "index", "index with its making"])
def test_single_class(benchmark, how):
    mask = np.zeros((1024, 2048), dtype=np.uint8)
    kept = ClassIndex(mask, ignore_index=255)
    make = {
        "ten tries": lambda: None,
        "index": lambda: kept,
        "index with its making": lambda: ClassIndex(mask, ignore_index=255),
    }[how]
    assert benchmark(lambda: drawn(mask, make())) == drawn(mask, None)


@pytest.mark.benchmark(group="class-aware crop, 19 classes 1024x2048")
@pytest.mark.parametrize("how", ["ten tries", "index"])
def test_many_classes(benchmark, how):
    rng = np.random.default_rng(0)
    mask = np.kron(rng.integers(0, 19, (16, 32)), np.ones((64, 64))).astype(np.uint8)
    mask[:, : 2048 * 3 // 4] = 0  # most crops have to be drawn again
    index = None if how == "ten tries" else ClassIndex(mask, ignore_index=255)
    assert benchmark(drawn, mask, index) == drawn(mask, None)
