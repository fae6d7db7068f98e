import numpy as np
import pytest
from scipy import ndimage

from maskline.download.synthetic.eyes import draw_eye, draw_eyes


@pytest.fixture(scope="module")
def eyes():
    return list(draw_eyes(num_eyes=8, first_patient=1, size=256, seed=7))


def dice(one, other):
    return 2 * (one & other).sum() / (one.sum() + other.sum())


def stacked(eyes, value):
    return np.concatenate([value(eye)[eye.valid] for eye in eyes])


def test_the_same_seed_draws_the_same_bytes_and_another_does_not(eyes):
    again = draw_eye(patient=2, left=True, size=256, seed=7)
    for name in ("image", "mask", "second", "valid"):
        assert np.array_equal(getattr(eyes[3], name), getattr(again, name))
    assert not np.array_equal(again.image, draw_eye(patient=2, left=True, size=256, seed=8).image)


def test_two_eyes_a_patient(eyes):
    assert [eye.id for eye in eyes[:3]] == ["001_right", "001_left", "002_right"]
    assert [eye.group for eye in eyes[:3]] == ["001", "001", "002"]
    assert len({eye.image.tobytes() for eye in eyes}) == 8


def test_arrays_have_one_size_and_stay_inside_the_field_of_view(eyes):
    for eye in eyes:
        assert eye.image.shape == (256, 256, 3)
        assert eye.image.dtype == np.uint8
        for name in ("mask", "second", "valid"):
            assert getattr(eye, name).shape == (256, 256)
            assert getattr(eye, name).dtype == bool
        assert not (eye.mask & ~eye.valid).any()
        assert not (eye.second & ~eye.valid).any()
        assert 0.6 < eye.valid.mean() < 0.8
        outside = ndimage.binary_erosion(~eye.valid, iterations=3)
        assert eye.image[outside].max() < 40


def test_the_disc_is_on_the_nasal_side(eyes):
    for eye in eyes:
        brightest = ndimage.gaussian_filter(eye.image[..., 1].astype(float), 8).argmax() % 256
        assert (brightest > 128) == eye.id.endswith("right")


def test_vessels_are_a_tenth_and_darker_than_around(eyes):
    assert 0.06 < stacked(eyes, lambda eye: eye.mask).mean() < 0.16
    for eye in eyes:
        ring = ndimage.binary_dilation(eye.mask, iterations=3) & ~ndimage.binary_dilation(eye.mask) & eye.valid
        assert eye.image[..., 1][eye.mask].mean() < eye.image[..., 1][ring].mean() - 8


def test_vessels_hang_together_and_some_are_wide(eyes):
    for eye in eyes:
        _, count = ndimage.label(eye.mask, structure=np.ones((3, 3)))
        assert count <= 8, "trees, not crumbs"
        assert ndimage.distance_transform_edt(eye.mask).max() >= 2


def test_the_second_annotator_agrees_as_people_do(eyes):
    scores = [dice(eye.mask, eye.second) for eye in eyes]
    assert 0.65 < min(scores) <= max(scores) < 0.9
    assert stacked(eyes, lambda eye: eye.second).mean() < 1.1 * stacked(eyes, lambda eye: eye.mask).mean()


def test_no_threshold_finds_the_vessels(eyes):
    vessel, green = stacked(eyes, lambda eye: eye.mask), stacked(eyes, lambda eye: eye.image[..., 1])
    assert max(dice(green < level, vessel) for level in range(10, 200, 3)) < 0.5

    def contrast(eye, window):
        weight = eye.valid.astype(float)
        level = eye.image[..., 1] * weight
        mean = ndimage.uniform_filter(level, window) / np.maximum(ndimage.uniform_filter(weight, window), 1e-3)
        return level - mean

    for window in (9, 15, 21, 31):
        found = stacked(eyes, lambda eye, window=window: contrast(eye, window))
        assert max(dice(found < level, vessel) for level in range(-30, 1)) < 0.7


@pytest.mark.parametrize("size", [64, 96, 400])
def test_other_sizes(size):
    eye = draw_eye(patient=1, left=False, size=size, seed=0)
    assert eye.image.shape == (size, size, 3)
    assert 0.03 < eye.mask[eye.valid].mean() < 0.35
