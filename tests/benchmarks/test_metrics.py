"""Counting and scoring. ``make bench`` times them."""

from functools import partial

import numpy as np
import pytest
import torch

from maskline.metrics.confusion import confusion_matrix
from maskline.metrics.scores import all_scores
from maskline.metrics.statistics import bootstrap_intervals

SIZE = 512


@pytest.mark.parametrize("num_classes", [2, 19, 150])
def test_confusion(benchmark, num_classes):
    benchmark.group = f"confusion matrix of {SIZE}x{SIZE}"
    rng = np.random.default_rng(0)
    target = rng.integers(0, num_classes, (2, SIZE, SIZE))
    target[:, :8] = 255
    prediction = rng.integers(0, num_classes, (2, SIZE, SIZE))
    matrices = benchmark(
        confusion_matrix,
        torch.from_numpy(prediction),
        torch.from_numpy(target),
        num_classes=num_classes,
        ignore_index=255,
    )
    for i in range(2):
        counted = target[i] != 255
        expected = np.zeros((num_classes, num_classes), np.int64)
        np.add.at(expected, (target[i][counted], prediction[i][counted]), 1)
        assert np.array_equal(matrices[i].numpy(), expected)


def test_bootstrap(benchmark):
    rng = np.random.default_rng(0)
    confusions = rng.integers(1, 1000, (20, 2, 2)) * np.array([[30, 1], [1, 5]])
    intervals = benchmark(
        bootstrap_intervals,
        confusions,
        statistic=partial(all_scores, class_keys=("background", "vessel")),
        groups=[f"eye {i}" for i in range(20)],
        resamples=1000,
        level=0.95,
        seed=0,
    )
    low, high = intervals["mIoU"]
    total = confusions.sum(axis=0)
    union = total.sum(axis=0) + total.sum(axis=1) - np.diag(total)
    assert low < float(np.mean(np.diag(total) / union)) < high
