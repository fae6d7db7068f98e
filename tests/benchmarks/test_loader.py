"""Reading: one sample, and one batch as the loader hands it over. ``make bench`` times them."""

import hashlib

import numpy as np
import pytest
from PIL import Image

from maskline.builders.augment import build_batches
from maskline.data.dataset import PreparedSplit


@pytest.mark.parametrize("cache", ["ram", "mmap", "stream"])
def test_sample(benchmark, prepared, cache, monkeypatch, tmp_path):
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    benchmark.group = "read one sample"
    split = PreparedSplit.open(prepared, "train", cache=cache)
    sample = benchmark(split.sample, 1)
    assert sample.image.shape == (*split.sizes[1], 3)
    assert sample.mask.shape == split.sizes[1]
    assert set(np.unique(sample.mask)) == {0, 1}
    again = PreparedSplit.open(prepared, "train", cache="stream").sample(1)
    assert hashlib.sha256(sample.image.tobytes()).digest() == hashlib.sha256(again.image.tobytes()).digest()


@pytest.mark.parametrize("cache", ["ram", "mmap", "stream"])
def test_batch(benchmark, prepared, settings, cache, monkeypatch, tmp_path):
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    benchmark.group = "read, draw and cut out one batch"
    split = PreparedSplit.open(prepared, "train", cache=cache)
    batches = build_batches(split, augment=settings.augment, look=settings.model, train=settings.train)
    batch = benchmark(batches.batch, 3)
    assert batch.images.shape[:2] == (settings.train.batch_size, 3)
    again = batches.batch(3)
    assert batch.images.equal(again.images)
    assert batch.masks.equal(again.masks)
    assert batch.draws == again.draws


@pytest.mark.parametrize("how", ["plain PIL", "prepared"])
def test_decode(benchmark, prepared, how):
    """Every image and mask of the train split: as files with Pillow alone, and as prepared data, hashes checked."""
    benchmark.group = "decode a split"
    split = PreparedSplit.open(prepared, "train", cache="stream")
    folder = prepared.parent / "plain"
    folder.mkdir(exist_ok=True)
    for i in range(len(split)):
        sample = split.sample(i)
        for part, pixels in (("image", sample.image), ("mask", sample.mask)):
            Image.fromarray(pixels).save(folder / f"{i}-{part}.png")

    def plain():
        for i in range(len(split)):
            with Image.open(folder / f"{i}-image.png") as image, Image.open(folder / f"{i}-mask.png") as mask:
                pixels = np.array(image.convert("RGB")), np.array(mask)
        return pixels

    def own():
        for i in range(len(split)):
            sample = split.sample(i)
        return sample.image, sample.mask

    image, mask = benchmark(plain if how == "plain PIL" else own)
    last = split.sample(len(split) - 1)
    assert np.array_equal(image, last.image)
    assert np.array_equal(mask, last.mask)
