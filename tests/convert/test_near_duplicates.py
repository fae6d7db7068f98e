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


def test_a_fixed_camera_has_no_pair_for_each_two_images():
    one = np.zeros(1024, np.float32)
    one[0] = 1
    ids = [f"{n:03d}" for n in range(300)]
    splits = {id_: "train" if n < 290 else "test" for n, id_ in enumerate(ids)}
    pairs = near_pairs(dict.fromkeys(ids, one), splits)
    assert len(pairs) < 20 * 2 * 300, "and not 44,850"
    assert pairs == sorted(pairs)
    assert {other for _, other in pairs} == set(ids[1:])
    assert {other for one, other in pairs if splits[one] != splits[other]} == set(ids[290:])


def test_groups_are_those_of_all_pairs():
    random = np.random.default_rng(0)
    centers = np.linalg.qr(random.normal(size=(1024, 3)))[0].T
    noisy = [centers[n % 3] + 0.08 * random.normal(size=1024) / 32 for n in range(150)]
    prints = {f"{n:03d}": (each / np.linalg.norm(each)).astype(np.float32) for n, each in enumerate(noisy)}
    roots = {id_: id_ for id_ in prints}
    for one, other in near_pairs(prints):
        old, new = roots[other], roots[one]
        roots = {id_: new if root == old else root for id_, root in roots.items()}
    assert len(set(roots.values())) == 3
