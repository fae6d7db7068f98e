import io

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from maskline.convert.splitting.near_duplicates import fingerprint, near_pairs
from tests.sets import picture


def scene(seed):
    """An image with structure at several sizes."""
    return picture(seed, (12, 9)).resize((120, 90), Image.Resampling.BICUBIC)


def jpeg(image):
    sink = io.BytesIO()
    image.save(sink, format="JPEG", quality=60)
    return Image.open(sink)


@pytest.mark.parametrize(
    "change",
    [jpeg, lambda image: image.resize((60, 45)), lambda image: ImageEnhance.Brightness(image).enhance(0.8)],
)
def test_copies_are_alike_and_others_are_not(change):
    prints = {f"{i}": fingerprint(np.array(scene(i))) for i in range(8)}
    prints["copy"] = fingerprint(np.array(change(scene(3))))
    assert near_pairs(prints) == [("3", "copy")]


def test_a_flat_image_has_no_fingerprint():
    assert fingerprint(np.full((20, 30, 3), 90, np.uint8)) is None
    assert near_pairs({}) == []
