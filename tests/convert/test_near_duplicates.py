import io

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from maskline.convert.splitting import near_duplicates
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


def all_pairs(prints, splits):
    """What near_pairs returns, by a comparison of each two, image by image."""
    ids = sorted(prints)
    rows = np.stack([prints[id_] for id_ in ids]).astype(np.float64)
    alike = np.triu(rows @ rows.T > 0.985, 1)
    taken = {split: np.zeros(len(ids), int) for split in set(splits.values())}
    group, pairs = np.arange(len(ids)), []
    for i, id_ in enumerate(ids):
        mine = taken[splits[id_]]
        others = np.flatnonzero(alike[i])
        few, many = others[mine[others] < 20], others[mine[others] >= 20]
        mine[few] += 1
        for j in few:
            pairs.append((id_, ids[j]))
            group[group == group[j]] = group[i]
        for j in many:
            if group[j] != group[i]:
                pairs.append((id_, ids[j]))
                group[group == group[j]] = group[i]
    return sorted(pairs)


@pytest.mark.parametrize(("groups", "apart"), [(40, 0.16), (3, 0.1), (2, 0.3)])
def test_the_short_way_finds_the_pairs_of_a_comparison_of_each_two(monkeypatch, groups, apart):
    """Many groups about the limit, fixed cameras, and images that are nearly alike and not."""
    monkeypatch.setattr(near_duplicates, "_FEW", 0)
    monkeypatch.setattr(near_duplicates, "_ROWS", 50)
    monkeypatch.setattr(near_duplicates, "_COLUMNS", 70)
    random = np.random.default_rng(groups)
    centers, noise = (random.normal(size=(count, 1024)) for count in (groups, 500))
    lengths = random.uniform(0.6, 1.2, 500) * apart
    vectors = centers[random.integers(groups, size=500)] / 32 + lengths[:, None] * noise / 32
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    prints = {f"{n:03d}": vector.astype(np.float32) for n, vector in enumerate(vectors)}
    splits = {id_: ("train", "val", "test")[n % 3] for n, id_ in enumerate(prints)}
    expected = all_pairs(prints, splits)
    assert near_pairs(prints, splits) == expected
    assert bool(expected) == (apart < 0.2)
