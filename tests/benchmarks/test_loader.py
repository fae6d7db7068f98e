"""Reading: one sample, and one batch as the loader hands it over. ``make bench`` times them."""

import hashlib

import numpy as np
import pytest

from maskline import build
from maskline.data.dataset import PreparedSplit


@pytest.mark.parametrize("cache", ["ram", "stream"])
def test_sample(benchmark, prepared, cache):
    benchmark.group = "read one sample"
    split = PreparedSplit.open(prepared, "train", cache=cache)
    sample = benchmark(split.sample, 1)
    assert sample.image.shape == (*split.sizes[1], 3)
    assert sample.mask.shape == split.sizes[1]
    assert set(np.unique(sample.mask)) == {0, 1}
    again = PreparedSplit.open(prepared, "train", cache="stream").sample(1)
    assert hashlib.sha256(sample.image.tobytes()).digest() == hashlib.sha256(again.image.tobytes()).digest()


@pytest.mark.parametrize("cache", ["ram", "stream"])
def test_batch(benchmark, prepared, settings, cache):
    benchmark.group = "read, draw and cut out one batch"
    batches = build.batches(settings, PreparedSplit.open(prepared, "train", cache=cache))
    batch = benchmark(batches.batch, 3)
    assert batch.images.shape[:2] == (settings.train.batch_size, 3)
    again = batches.batch(3)
    assert batch.images.equal(again.images)
    assert batch.masks.equal(again.masks)
    assert batch.draws == again.draws
