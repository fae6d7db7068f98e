"""Numbers of the train images' channels."""

import json

import numpy as np
import pytest

from maskline.core.errors import DataError
from maskline.data.image_statistics import ImageStatistics, sums


def test_numbers_are_those_of_all_pixels_together():
    random = np.random.default_rng(0)
    images = [random.integers(0, 256, (h, 7, 2)).astype(np.uint8) // (1, 5) for h in (3, 40)]
    images = [image.astype(np.uint8) for image in images]
    pixels = np.concatenate([image.reshape(-1, 2) for image in images])
    known = ImageStatistics.of(map(sums, images))
    np.testing.assert_allclose(known.mean, pixels.mean(axis=0), atol=5e-5)
    np.testing.assert_allclose(known.std, pixels.std(axis=0), atol=5e-5)
    assert ImageStatistics.of([]) is None


def test_many_pixels_of_one_value_have_no_deviation():
    assert ImageStatistics.of([[(10**9, 255 * 10**9, 255**2 * 10**9)]] * 9) == ImageStatistics(
        mean=(255.0,), std=(0.0,)
    )


def test_a_file_without_them(tmp_path):
    (tmp_path / "labels.json").write_text(json.dumps({"class_names": ["a", "b"]}))
    with pytest.raises(DataError, match="no mean and std of the train images in it; run the convert stage again"):
        ImageStatistics.read(tmp_path / "labels.json")
