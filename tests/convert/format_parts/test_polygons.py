"""Discs, also those that are far larger than their image."""

import time

import numpy as np
import pytest

from maskline.convert.format_parts.polygons import disc


@pytest.mark.parametrize("radius", [900.0, 3e6])
def test_a_disc_far_larger_than_its_image_is_cut_by_its_edge(radius):
    """It touches x = 20 from the left, and from above y = 20: nearly straight there."""
    started = time.process_time()
    inside = disc((30, 40), (20 - radius, 15), (20, 15))
    assert inside[15].tolist() == [x <= 20 for x in range(40)]
    np.testing.assert_array_equal(disc((40, 30), (15, 20 - radius), (15, 20))[:, 15], inside[15])
    assert disc((30, 40), (20, 15), (20 + radius, 15)).all()
    assert time.process_time() - started < 2
