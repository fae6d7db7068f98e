"""Sizes of the views of test-time augmentation."""

import pytest

from maskline.inference.tta import view_size


@pytest.mark.parametrize(
    ("size", "scale", "expected"),
    [  # of mmcv 2.1.0's Resize with a scale_factor and keep_ratio
        ((584, 565), 1.75, (1022, 989)),
        ((584, 565), 0.75, (438, 424)),
        ((999, 960), 1.25, (1249, 1200)),
        ((383, 298), 1.75, (670, 521)),  # a pixel less than each side by itself
        ((2518, 1311), 1.75, (4406, 2294)),
        ((1, 3), 0.25, (1, 1)),  # at least a pixel
    ],
)
def test_views_have_mmcvs_sizes(size, scale, expected):
    assert view_size(size, scale) == expected
