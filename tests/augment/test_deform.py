"""Shear, shift, perspective, elastic deformation: each against its definition, none folds."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from maskline.augment import deform, geometric
from maskline.augment.deform import Affine, Bend, Elastic
from maskline.core.seeds import numpy_generator
from tests.augment.conftest import bending as bending_settings
from tests.augment.test_geometric import picture, plain, warp_one


def bend(**changes):
    return Bend(**{"rotates": True, "affine": None, "tilt": None, "elastic": None, **changes})


def test_shift_moves_pixels():
    image, mask = picture(20, 30)
    moved = plain((20, 30), bend=bend(affine=Affine(shear_degrees=(0.0, 0.0), translate_px=(4.0, -3.0))))
    warped, labels = warp_one(image, mask, moved, (20, 30))
    np.testing.assert_array_equal(labels[:17, 4:], mask[3:, :26])
    np.testing.assert_allclose(warped[:17, 4:], image[3:, :26], atol=1e-2)
    assert (labels[:, :4] == 255).all()
    assert (labels[17:] == 255).all()


def test_shear_moves_rows_by_their_distance_from_the_centre():
    """45 degrees: each row goes one pixel further than the one above."""
    image, mask = picture(21, 31)
    sheared = plain((21, 31), bend=bend(affine=Affine(shear_degrees=(45.0, 0.0), translate_px=(0.0, 0.0))))
    warped, labels = warp_one(image, mask, sheared, (21, 31))
    for row in (8, 10, 13):
        columns = np.arange(8, 20)
        np.testing.assert_array_equal(labels[row, columns], mask[row, columns - (row - 10)])
        np.testing.assert_allclose(warped[row, columns], image[row, columns - (row - 10)], atol=1e-2)


def test_tilt_is_a_perspective():
    """Straight lines stay straight, the centre stays, and one side comes nearer by what the other recedes."""
    crop = (41, 61)
    matrix = geometric.matrix(plain(crop, bend=bend(tilt=(0.2, 0.0))), size=crop, crop_size=crop)

    def source(x, y):
        found = matrix @ np.array([x, y, 1.0])
        return found[:2] / found[2]

    np.testing.assert_allclose(source(30, 20), (30, 20), atol=1e-9)
    left, right = (np.ptp([source(x, 0)[1], source(x, 40)[1]]) for x in (0, 60))
    np.testing.assert_allclose([left, right], [40 / 1.2, 40 / 0.8], rtol=1e-9)
    line = np.array([source(x, 0.5 * x + 3) for x in range(0, 60, 10)])
    slopes = np.diff(line[:, 1]) / np.diff(line[:, 0])
    np.testing.assert_allclose(slopes, slopes[0], rtol=1e-9)


@settings(max_examples=60)
@given(
    crop=st.tuples(st.integers(1, 200), st.integers(1, 200)),
    spacing=st.floats(2, 64),
    share=st.floats(0, 0.479),
    seed=st.integers(0, 2**32 - 1),
)
def test_elastic_fields_are_bounded_and_do_not_fold(crop, spacing, share, seed):
    elastic = Elastic(magnitude_px=share * spacing, spacing_px=spacing, seed=seed)
    made = deform.field(elastic, crop)
    assert made.shape == (2, *crop)
    assert torch.equal(made, deform.field(elastic, crop))
    assert made.abs().max() <= share * spacing + 1e-4
    if min(crop) > 1:
        x = torch.arange(crop[1]) + made[0].double()
        y = torch.arange(crop[0])[:, None] + made[1].double()
        area = (x[:-1].diff(dim=1) * y[:, :-1].diff(dim=0)) - (x[:, :-1].diff(dim=0) * y[:-1].diff(dim=1))
        assert area.min() > 0, "a cell is turned over: the image folds"


def test_elastic_moves_by_its_field():
    image, mask = picture(40, 50)
    elastic = Elastic(magnitude_px=5.0, spacing_px=12.0, seed=3)
    warped, labels = warp_one(image, mask, plain((40, 50), bend=bend(elastic=elastic)), (40, 50))
    dx, dy = deform.field(elastic, (40, 50)).numpy()
    assert np.abs(dx).max() > 2
    for row, column in [(8, 9), (20, 25), (33, 40)]:
        y, x = row + dy[row, column], column + dx[row, column]
        assert labels[row, column] == mask[int(np.floor(y + 0.5)), int(np.floor(x + 0.5))]
        top, left = int(np.floor(y)), int(np.floor(x))
        down, right = y - top, x - left
        patch = image[top : top + 2, left : left + 2].astype(float)
        expected = (1 - down) * ((1 - right) * patch[0, 0] + right * patch[0, 1]) + down * (
            (1 - right) * patch[1, 0] + right * patch[1, 1]
        )
        np.testing.assert_allclose(warped[row, column], expected, atol=0.2)


@pytest.mark.parametrize("part", ["affine", "perspective", "elastic"])
def test_each_happens_as_often_as_asked(part):
    made = bending_settings(**{f"{part}_prob": 0.3})
    drawn = [made.draw(numpy_generator(seed, "test"), (32, 40)) for seed in range(600)]
    field = "tilt" if part == "perspective" else part
    assert 0.24 < np.mean([getattr(one, field) is not None for one in drawn]) < 0.36
    others = {"affine", "tilt", "elastic"} - {field}
    assert all(getattr(one, other) is None for one in drawn for other in others)


def test_a_rotation_can_be_left_out():
    made = bending_settings(rotate_prob=0.25)
    turned = [
        geometric.bent(plain((9, 9), rotate_degrees=30.0), made.draw(numpy_generator(seed, "test"), (9, 9)))
        for seed in range(600)
    ]
    assert {one.rotate_degrees for one in turned} == {0.0, 30.0}
    assert 0.19 < np.mean([one.rotate_degrees == 30 for one in turned]) < 0.31
