"""A whole training run: restore, fit, write."""

import csv
import io
import logging
import resource
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.optim import Optimizer

from maskline.core.errors import TrainingError
from maskline.core.files import sha256_json, write_json, write_text
from maskline.engine.compilation import compile_training
from maskline.engine.journal import Journal, journal_root
from maskline.engine.process import stop_on_signals
from maskline.engine.state import Row, TrainState, weights_of
from maskline.engine.train import Loop, StoppedError, captured_step, fit
from maskline.models.segmentor import SegmentorBase
from maskline.optim.ema import WeightAverage, WeightMean
from maskline.runtime import checkpoint
from maskline.runtime.processes import distributed

log = logging.getLogger("maskline")

# Of the receipt: what all processes of a run have in common.
_MUST_AGREE = (
    "params_sha256",
    "code_sha256",
    "own_code",
    "manifest_sha256",
    "labels_sha256",
    "libraries",
    "python",
    "precision",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A run that is ready to start.

    Args:
        model: Initialised segmentor.
        optimizer: Over its parameters.
        loop: See there.
        card: Content of model.json but for the weights' hash: ``params``, ``labels``, ``preprocessing``, ``reading``,
            ``receipt``.
    """

    model: SegmentorBase
    optimizer: Optimizer
    loop: Loop
    card: Mapping[str, Any]

    @property
    def journal(self) -> Journal:
        """Journal of this very run: same params, code, data, libraries and device."""
        return Journal(journal_root() / sha256_json(self.card["receipt"]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """A finished run.

    Args:
        state: After the last iteration.
        seconds: Wall time of the part that this process ran.
        iterations: How many iterations that were.
    """

    state: TrainState
    seconds: float
    iterations: int

    def outcome(self, best_metric: str) -> str:
        """Return in words which weights are kept: the best by ``best_metric``, the last without a validation."""
        if self.state.best_weights is None:
            loss = self.state.validations[-1]["train_loss"]
            return f"no score to choose by: the weights after {self.state.iteration} iterations, train_loss {loss:.4f}"
        return f"best {best_metric} {self.state.best_score:.4f} after {self.state.best_iteration} iterations"


def train(job: Job, *, stop_after: int = 0) -> Result:
    """Run a job to its end, going on from its journal where there is one.

    Exits with 130 on SIGINT and 143 on SIGTERM, after the state is in the journal.

    Args:
        job: See there.
        stop_after: Only so many iterations of it; 0: all.

    Raises:
        TrainingError: The loss is not finite, or another process runs this very job.
    """
    _check_alike(job)
    state, leads = start_state(job), distributed.rank() == 0
    with job.journal.locked() if leads else nullcontext(job.journal) as journal, stop_on_signals() as stop:
        saved = distributed.firsts(journal.read() if leads else None)
        if saved is not None:
            state.restore(saved)
            log.info("train: going on after iteration %d of %d", state.iteration, job.loop.iterations)
        first, started = state.iteration, time.perf_counter()
        try:
            fit(state, job.loop, journal=journal, stop=stop, stop_after=stop_after)
        except StoppedError as error:
            log.warning("train: stopped after iteration %d; start again to go on from there", state.iteration)
            sys.exit(128 + error.signal)
        finally:
            if job.loop.live is not None:
                job.loop.live.close()
        return Result(state=state, seconds=time.perf_counter() - started, iterations=state.iteration - first)


def _check_alike(job: Job) -> None:
    """Raise where two processes would train different things: a node with other code, data or packages."""
    if distributed.size() == 1:
        return
    first, *others = distributed.everyones({key: job.card["receipt"].get(key) for key in _MUST_AGREE})
    for rank, other in enumerate(others, start=1):
        for key in _MUST_AGREE:
            if other[key] != first[key]:
                raise TrainingError(
                    f"train, process {rank}",
                    f"{key} is {other[key]}, in process 0 {first[key]}",
                    "give every node the same checkout, prepared data and environment",
                )


def start_state(job: Job) -> TrainState:
    """Return the state before the first iteration."""
    loop = job.loop
    average: WeightAverage | None = None
    if loop.swa_first:
        average = WeightMean(job.model, first=loop.swa_first, every=loop.swa_every)
    elif loop.ema_decay:
        average = WeightAverage(job.model, decay=loop.ema_decay, ramp=loop.ema_ramp)
    if loop.compiled:
        compile_training(job.model)
    state = TrainState(model=job.model, optimizer=job.optimizer, average=average, scaler=loop.compute.scaler())
    state.captured = captured_step(state, loop)
    return state


def write(
    result: Result, job: Job, *, model: Path, metrics: Path, curves: Path, classes: Path, steps: Path, timing: Path
) -> None:
    """Write the model folder and the reports, then drop the journal; the first of several processes does it.

    ``timing`` is a table, beside which a .json file says the same.
    """
    if distributed.rank() > 0:
        return
    state = result.state
    last = weights_of(state.result)
    checkpoint.save_model(model, weights=state.best_weights or last, last=last, card=job.card, trace=_trace(state))
    write_json(metrics, _summary(state, job.loop.best_metric))
    write_text(curves, _csv(state.validations))
    write_text(classes, _class_curves(state.validations))
    write_text(steps, _csv(state.steps))
    speed = result.iterations / result.seconds if result.seconds > 0 else 0.0
    times = {
        "seconds": round(result.seconds, 1),
        "iterations_per_second": round(speed, 3),
        "images_per_second": round(speed * job.loop.batches.batch_size * job.loop.accumulate, 2),
        **_peak_memory(job),
    }
    write_text(timing, _table([{"part": "training", **times}]))
    write_json(timing.with_suffix(".json"), times)
    job.journal.remove()
    if job.loop.live is not None:
        job.loop.live.remove()


def _peak_memory(job: Job) -> dict[str, float]:
    """Return the largest memory of the process, and of the GPU where there is one, MiB."""
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, KiB elsewhere
    peaks = {"peak_memory_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20, 1)}
    if job.loop.compute.device.type == "cuda":
        peaks["peak_device_memory_mib"] = round(torch.cuda.max_memory_allocated() / 2**20, 1)
    return peaks


def _summary(state: TrainState, best_metric: str) -> dict[str, Any]:
    """Return the best score and its val_loss, or the last train_loss without one, rounded to what is no noise.

    All scores of all validations are in the curves.
    """
    if state.best_weights is None:
        return {"last": {"train_loss": round(state.validations[-1]["train_loss"], 6)}}
    row = next(row for row in state.validations if row["iteration"] == state.best_iteration)
    return {"best": {name: round(row[name], 6) for name in (best_metric, "val_loss")}}


def _trace(state: TrainState) -> str:
    """Return loss of each iteration, gradient norm where it was taken, weights' hash where there was a validation."""
    lines = [
        f"{number},{loss!r},{'' if norm is None else repr(norm)},{state.hashes.get(number, '')}"
        for number, (loss, norm) in enumerate(state.trace, start=1)
    ]
    return "\n".join(["iteration,loss,gradient_norm,weights_sha256", *lines]) + "\n"


def _class_curves(validations: Sequence[Row]) -> str:
    """Return iteration, class and IoU, one row a class and validation, so that a plot needs no column's name."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(("iteration", "class", "IoU"))
    for row in validations:
        for key, value in row.items():
            if key.startswith("IoU_"):
                writer.writerow((f"{row['iteration']:.8g}", key.removeprefix("IoU_"), f"{value:.8g}"))
    return stream.getvalue()


def _csv(rows: Sequence[Row]) -> str:
    """Return rows as CSV; columns in the order they first appear, absent values empty."""
    return _table([{key: f"{value:.8g}" for key, value in row.items()} for row in rows])


def _table(rows: Sequence[Mapping[str, object]]) -> str:
    columns = list(dict.fromkeys(key for row in rows for key in row))
    stream = io.StringIO()
    writer = csv.DictWriter(stream, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue()
