"""Augmentation: drawing parameters, and the pixels of one batch. ``make bench`` times them."""

import pytest
import torch

from maskline import build
from maskline.data.dataset import PreparedSplit


@pytest.fixture
def batches(prepared, settings):
    return build.batches(settings, PreparedSplit.open(prepared, "train", cache="ram"))


def test_draw(benchmark, batches, settings):
    mask = batches.split.sample(0).mask
    draw = benchmark(batches.augmentation.draw, mask, seed=settings.train.seed, iteration=5, position=2, index=None)
    low, high = settings.augment.ratio_range
    assert draw == batches.augmentation.draw(mask, seed=settings.train.seed, iteration=5, position=2, index=None)
    assert draw != batches.augmentation.draw(mask, seed=settings.train.seed, iteration=6, position=2, index=None)
    assert "geometry" in draw.to_dict()
    assert low < high


def test_apply(benchmark, batches, settings):
    batch = batches.batch(0)
    images, targets = benchmark(batches.augmentation.apply, batch, torch.device("cpu"))
    assert images.shape == (settings.train.batch_size, 3, *settings.augment.crop_size)
    assert images.dtype == torch.float32
    assert bool(images.isfinite().all())
    assert targets.dtype == torch.int64
    assert set(targets.unique().tolist()) <= {0, 1, settings.data.ignore_index}
