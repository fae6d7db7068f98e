"""Evaluation by sliding window against a plain loop, on a network that was trained for a moment.

``python -m pytest tests/benchmarks/test_evaluation.py`` prints the three ways with their ratios; the slowest is the
plain loop: fp32, one window at a time, numpy's histogram.
"""

import copy
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from maskline.builders.training import build_training
from maskline.data.dataset import PreparedSplit
from maskline.engine.state import TrainState
from maskline.engine.train import step
from maskline.evaluation.scoring import Counting, score_split
from maskline.inference.folding import fold_norms
from maskline.inference.pipeline import Inference
from maskline.inference.predictor import Predictor
from maskline.inference.slide import window_starts
from maskline.inference.tta import Tta
from maskline.metrics.extra import Measures
from maskline.metrics.scores import overall_scores

WINDOW, STRIDE, STEPS = 64, 42, 60


@pytest.fixture(scope="module")
def trained(prepared, settings):
    """A predictor as evaluate builds it, and the images."""
    job = build_training(settings, prepared)
    state = TrainState(model=job.model, optimizer=job.optimizer)
    for i in range(STEPS):
        step(state, job.loop, job.loop.batches.batch(i))
    split = PreparedSplit.open(prepared, "train", cache="ram")
    predictor = Predictor(
        model=state.model.eval().to(memory_format=torch.contiguous_format),
        mean=settings.model.mean,
        std=settings.model.std,
        mode="slide",
        window=(WINDOW, WINDOW),
        stride=(STRIDE, STRIDE),
        batch_size=4,
        weighting="uniform",
        average="logits",
        precision="fp32",
    )
    return predictor, split


def plain_loop(predictor, split):
    total = np.zeros((2, 2))
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (predictor.mean, predictor.std))
    with torch.no_grad():
        for i in range(len(split.sizes)):
            sample = split.sample(i)
            image = (torch.from_numpy(sample.image).permute(2, 0, 1)[None].float() - mean) / std
            height, width = sample.mask.shape
            logits, counts = torch.zeros(1, 2, height, width), torch.zeros(height, width)
            for top in window_starts(height, window=WINDOW, stride=STRIDE):
                for left in window_starts(width, window=WINDOW, stride=STRIDE):
                    here = slice(top, top + WINDOW), slice(left, left + WINDOW)
                    logits[:, :, *here] += predictor.model(image[:, :, *here])
                    counts[here] += 1
            prediction = (logits / counts).argmax(1)[0].numpy()
            scored = sample.mask != split.labels.ignore_index
            bins = np.arange(3) - 0.5
            total += np.histogram2d(sample.mask[scored], prediction[scored], bins=(bins, bins))[0]
    return total.astype(np.int64)


def ours(predictor, split):
    inference = Inference(
        predictor=predictor,
        tta=Tta(scales=(1.0,), flips=("none",)),
        crf=None,
        threshold=None,
        min_component_px=0,
        max_hole_px=0,
    )
    measures = Measures(names=(), options={"boundary_px": 2})
    counting = Counting(num_classes=2, ignore_index=split.labels.ignore_index, within_valid=False, measures=measures)
    return sum(one.confusion for one in score_split(inference, split, counting))


# A network that was trained for a moment is in doubt nearly everywhere; a trained one moves far less in bf16. Where a
# processor emulates bf16, 0.0102 was seen.
BF16_TOLERANCE = 1e-2 if torch.backends.cpu.get_cpu_capability() == "AVX512" else 2e-2


@pytest.mark.parametrize(("way", "tolerance"), [("plain loop", 0), ("fp32", 1e-5), ("bf16", BF16_TOLERANCE)])
def test_evaluation(benchmark, trained, way, tolerance):
    benchmark.group = "evaluation by sliding window"
    predictor, split = trained
    expected = plain_loop(predictor, split)
    if way != "plain loop":
        predictor = replace(predictor, model=fold_norms(copy.deepcopy(predictor.model)), precision=way)
    found = benchmark(partial(plain_loop if way == "plain loop" else ours, predictor, split))
    for name, value in overall_scores(expected, beta=1).items():
        assert overall_scores(found, beta=1)[name] == pytest.approx(value, abs=tolerance), name
