"""Scaled sizes: MMSegmentation's golden numbers, ranges of two scales, aspects kept and not."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maskline.augment.resize import Resize, rescaled_size
from tests.augment.conftest import resize


class Fixed:
    """A generator that gives one ratio."""

    def __init__(self, ratio):
        self.ratio = ratio

    def uniform(self, low, high):
        assert low <= self.ratio <= high
        return self.ratio


GOLDEN = [  # size, scale, ratio, expected: (height, width), as MMSegmentation's RandomResize gave them
    ((584, 565), (565, 584), 0.5, (291, 282)),
    ((584, 565), (584, 565), 0.5, (291, 282)),  # the order of a scale does not matter where the aspect is kept
    ((584, 565), (565, 584), 0.777, (453, 438)),
    ((584, 565), (565, 584), 1.99, (1162, 1124)),
    ((1024, 2048), (1024, 2048), 0.777, (795, 1590)),
    ((375, 500), (512, 2048), 0.5, (256, 341)),
    ((375, 500), (512, 2048), 1.0, (512, 683)),
    ((364, 500), (512, 2048), 1.0, (512, 703)),
    ((584, 565), None, 0.777, (453, 438)),  # an image's own size is the base
]


@pytest.mark.parametrize(("size", "scale", "ratio", "expected"), GOLDEN)
def test_sizes_are_those_of_mmsegmentation(size, scale, ratio, expected):
    assert resize(scale=scale).draw(Fixed(ratio), None, size) == expected


@pytest.mark.parametrize("ratio", [0.5, 0.777, 1.99])
def test_without_aspect_the_scale_itself_is_taken(ratio):
    """MMSegmentation cuts off to whole pixels: int(584 * 0.777) is 453."""
    drawn = resize(scale=(584, 565), keep_ratio=False).draw(Fixed(ratio), None, (100, 900))
    assert drawn == (int(584 * ratio), int(565 * ratio))


def test_two_scales_bound_the_sides():
    ranged = resize(scale=((320, 640), (480, 1024)), keep_ratio=False)
    rng = np.random.default_rng(0)
    drawn = np.array([ranged.draw(Fixed(1.0), lambda: rng, (100, 100)) for _ in range(4000)])
    assert drawn.min(axis=0).tolist() == [320, 640], "both ends of whole numbers are drawn"
    assert drawn.max(axis=0).tolist() == [480, 1024]
    assert abs(np.corrcoef(drawn.T)[0, 1]) < 0.1, "each side for itself"


def test_two_upright_scales_stay_upright():
    ranged = resize(scale=((640, 320), (1024, 480)), keep_ratio=False)
    height, width = ranged.draw(Fixed(1.0), lambda: np.random.default_rng(1), (100, 100))
    assert 640 <= height <= 1024
    assert 320 <= width <= 480


def test_two_scales_keep_the_aspect_where_told():
    ranged = resize(scale=((512, 2048), (512, 2048)))
    assert ranged.draw(Fixed(1.0), lambda: np.random.default_rng(1), (375, 500)) == (512, 683)


@pytest.mark.parametrize(
    ("size", "longest", "expected"),
    [
        ((1024, 2048), 4096, (512, 1024)),
        ((500, 375), 4096, (683, 512)),
        ((300, 2000), 2560, (384, 2560)),  # 512 x 3413 is too long
        ((300, 2000), None, (512, 3413)),
    ],
)
def test_a_shorter_side_is_taken_as_mmsegmentation_does(size, longest, expected):
    made = resize(shorter_sides=(512,), longer_side=longest, ratio_range=(1.0, 1.0))
    assert made.draw(Fixed(1.0), lambda: np.random.default_rng(0), size) == expected
    assert made.largest(size) == expected


def test_each_shorter_side_is_drawn():
    made, rng = resize(shorter_sides=(100, 120, 150)), np.random.default_rng(0)
    drawn = [made.draw(np.random.default_rng(1), lambda: rng, (200, 300))[0] for _ in range(300)]
    assert {side: drawn.count(side) > 70 for side in drawn} == {100: True, 120: True, 150: True}
    assert made.largest((200, 300)) == (150, 225)


def test_one_number_is_drawn_whatever_the_settings():
    """What is drawn afterwards must not depend on the kind of resize."""
    after = set()
    for made in (
        resize(),
        resize(scale=(50, 60)),
        resize(scale=((50, 60), (70, 80)), keep_ratio=False),
        resize(shorter_sides=(9, 8)),
    ):
        rng = np.random.default_rng(3)
        made.draw(rng, lambda: np.random.default_rng(4), (30, 40))
        after.add(rng.random())
    assert len(after) == 1


sides = st.tuples(st.integers(1, 3000), st.integers(1, 3000))


@settings(max_examples=200)
@given(size=sides, target=sides)
def test_a_kept_aspect_fits_and_touches(size, target):
    """The rescaled image fits the target turned either way, and is the largest one that does."""
    height, width = rescaled_size(size, target)
    assert max(height, width) <= max(*target, 1) + 0.5
    assert min(height, width) <= min(target) + 0.5
    exact = min(max(target) / max(size), min(target) / min(size))
    assert abs(height - max(size[0] * exact, 1)) <= 0.5 + 1e-6
    assert abs(width - max(size[1] * exact, 1)) <= 0.5 + 1e-6


@settings(max_examples=100)
@given(size=sides, seed=st.integers(0, 1000), keep=st.booleans(), scale=st.sampled_from([None, (30, 700)]))
def test_no_drawn_size_exceeds_the_largest(size, seed, keep, scale):
    made = Resize(ratio_range=(0.5, 2.0), scale=scale, keep_ratio=keep)
    rng = np.random.default_rng(seed)
    drawn, most = made.draw(rng, lambda: rng, size), made.largest(size)
    assert 1 <= drawn[0] <= most[0]
    assert 1 <= drawn[1] <= most[1]
