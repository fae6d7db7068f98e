"""What an iteration and a scored image cost on this machine: a short trial with the engine's own step."""

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path

import torch

from maskline.analysis import tune
from maskline.analysis.plan.rules import Costs
from maskline.augment.loader import iterate
from maskline.builders.training import build_training
from maskline.data.dataset import PreparedSplit
from maskline.engine.journal import Journal
from maskline.engine.run import Job, start_state
from maskline.engine.state import TrainState
from maskline.engine.train import Loop, step
from maskline.inference.pipeline import Inference
from maskline.inference.predictor import Predictor
from maskline.inference.tta import Tta
from maskline.params.whole import Params
from maskline.runtime import device

_FIRST = 3  # iterations in which memory and caches become warm
_FEWEST = 6
_STEPS = 4  # timed steps of each precision
_FIXED_SECONDS = 4.0  # of evaluation: intervals, page and images, whatever the set
_SCORING = 1.25  # of a scored image over its network: reading, counting, drawing
_PROCESSES = 2  # train and evaluate
_IMPORT = "import maskline.builders.training, maskline.builders.evaluate"


def precision(params: Params, prepared: Path) -> tuple[tune.Precision, float, float]:
    """Return what computes faster, and the seconds of a step in fp32 and in bf16.

    Args:
        params: Of the run.
        prepared: Prepared data.
    """
    kind = device.resolve_kind(params.train.device, place="train.device")
    wanted = [
        tune.Choice(channels_last=True, precision=name, compile=False, threads=params.train.threads)
        for name in ("bf16", "fp32")
    ]

    def job(choice: tune.Choice) -> Job:
        train = params.train.model_copy(update={"precision": choice.precision, "device": kind})
        return build_training(params.model_copy(update={"train": train}), prepared)

    measured = tune.measure(job, wanted, steps=_STEPS, iterations=1000)
    chosen = tune.best(measured, wanted[1]).precision
    bf16, fp32 = (each.step_seconds or float("inf") for each in measured)
    return chosen, fp32, bf16


def costs(params: Params, prepared: Path, *, seconds: float) -> Costs:
    """Measure the costs of a run.

    Args:
        params: Of the run, but for its length.
        prepared: Prepared data; images of the train split alone are read.
        seconds: Of iterations that are timed, at least.
    """
    started = time.perf_counter()
    job = build_training(params, prepared)
    state, loop = start_state(job), job.loop
    built = time.perf_counter() - started
    times = list(_timed(state, loop, seconds))
    return Costs(
        iteration=statistics.mean(times),
        scored_image=_scored_image(state, params, loop, prepared),
        start=_PROCESSES * (_import_seconds() + built) + _FIXED_SECONDS,
        entry=_entry(state),
    )


def _timed(state: TrainState, loop: Loop, seconds: float) -> Iterator[float]:
    """Train, and yield the seconds of each iteration but the first ones."""
    batches = iterate(loop.batches, start=0, stop=10**9, workers=loop.workers, device=loop.compute.device)
    spent, number = 0.0, 0
    with closing(batches):
        while number < _FIRST + _FEWEST or spent < seconds:
            started = time.perf_counter()
            step(state, loop, *islice(batches, loop.accumulate))
            state.iteration += 1
            number += 1
            if number > _FIRST:
                spent += time.perf_counter() - started
                yield time.perf_counter() - started


def _scored_image(state: TrainState, params: Params, loop: Loop, prepared: Path) -> float:
    evaluate, augmentation = params.evaluate, loop.batches.augmentation
    state.model.eval()
    inference = Inference(
        predictor=Predictor(
            model=state.model,
            mean=tuple(augmentation.mean),
            std=tuple(augmentation.std),
            mode=evaluate.inference,
            window=evaluate.window,
            stride=evaluate.stride,
            batch_size=evaluate.batch_size,
            weighting=evaluate.window_weights,
            scale=params.model.test_scale if evaluate.scale == "model" else evaluate.scale,
            average=evaluate.average,
            precision=evaluate.precision,
        ),
        tta=Tta(scales=evaluate.tta.scales, flips=evaluate.tta.flips),
        crf=None,
        threshold=None,
        min_component_px=0,
        max_hole_px=0,
    )
    split = PreparedSplit.open(prepared, "train", cache="stream")
    middle = sorted(range(len(split)), key=lambda i: split.sizes[i][0] * split.sizes[i][1])[len(split) // 2]
    times = []
    for _ in range(3):
        started = time.perf_counter()
        images = torch.from_numpy(split.sample(middle).image.copy())[None].to(loop.compute.device)
        inference.segment(images, probabilities=True)
        times.append(time.perf_counter() - started)
    return _SCORING * min(times[1:])


def _import_seconds() -> float:
    """Return what a process needs until it can begin."""
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", _IMPORT], check=True)
    return time.perf_counter() - started


def _entry(state: TrainState) -> float:
    with tempfile.TemporaryDirectory() as folder:
        journal = Journal(Path(folder))
        started = time.perf_counter()
        journal.write(0, state.to_dict())
        return time.perf_counter() - started
