"""The training loop, by iterations.

Random numbers derive from (seed, iteration), so that a run that goes on from a saved state gives the same bits as one
that was never stopped.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn

from maskline.augment.pipeline import RegionBatch
from maskline.data.dataset import PreparedSplit
from maskline.engine.device import Compute
from maskline.engine.journal import Journal
from maskline.engine.loader import TrainBatches, iterate
from maskline.engine.process import StopFlag
from maskline.engine.progress import Meter, meter
from maskline.engine.state import Row, TrainState
from maskline.engine.validate import validate
from maskline.errors import ParamsError, TrainingError
from maskline.optim.optimizers import clip_gradients, set_rates
from maskline.optim.schedules import Schedule
from maskline.torch_seeds import seed_torch


class StoppedError(Exception):
    """A signal ended the run between two iterations; the journal holds its state.

    Args:
        signal: Its number.
    """

    def __init__(self, signal: int) -> None:
        super().__init__(f"stopped by signal {signal}")
        self.signal = signal


@dataclass(frozen=True, slots=True, kw_only=True)
class Loop:
    """Everything the loop works with but the state.

    Args:
        batches: Training batches by iteration.
        validation: Images to validate on; None skips validation.
        criteria: Loss of each head by its name in ``training_pairs``; that of the final logits last.
        schedule: Learning rate by iteration.
        compute: Device, precision, memory format.
        iterations: Length of the run.
        val_every: Iterations between validations.
        log_every: Iterations between two points of the loss curve.
        journal_every: Iterations between two journal entries; 0 is none.
        best_metric: Key of the validation row that the best weights maximise.
        clip_norm: Largest norm of all gradients together, or None.
        workers: Loader processes.
    """

    batches: TrainBatches
    validation: PreparedSplit | None
    criteria: Mapping[str, nn.Module]
    schedule: Schedule
    compute: Compute
    iterations: int
    val_every: int
    log_every: int
    journal_every: int
    best_metric: str
    clip_norm: float | None
    workers: int


def fit(state: TrainState, loop: Loop, *, journal: Journal, stop: StopFlag) -> None:
    """Train until ``loop.iterations`` iterations are done; ``state`` holds the results.

    Args:
        state: Fresh, or restored from the journal.
        loop: See there.
        journal: Takes the state every ``journal_every`` iterations and when stopped.
        stop: Looked at after each iteration.

    Raises:
        StoppedError: A signal came; the state is in the journal.
        TrainingError: The loss is not finite.
        ParamsError: ``best_metric`` is not one of the validation's.
    """
    with meter(total=loop.iterations, done=state.iteration) as shown:
        for batch in iterate(loop.batches, start=state.iteration, stop=loop.iterations, workers=loop.workers):
            row = step(state, loop, batch)
            state.iteration += 1
            state.recent.append(row["loss"])
            shown.advance(state.iteration, row["loss"])
            if state.iteration % loop.log_every == 0 or state.iteration == loop.iterations:
                state.steps.append(row)
            if state.iteration % loop.val_every == 0 or state.iteration == loop.iterations:
                _validate(state, loop, shown)
            stopped = stop.signal is not None
            if stopped or _is_due(state.iteration, loop.journal_every):
                journal.write(state.iteration, state.to_dict())
            if stop.signal is not None:
                raise StoppedError(stop.signal)


def step(state: TrainState, loop: Loop, batch: RegionBatch) -> Row:
    """Do one iteration and return its point of the curve: iteration, lr, loss, each head's loss, gradient norm."""
    seed_torch(loop.batches.seed, "step", state.iteration)
    state.model.train()
    set_rates(state.optimizer, loop.schedule, state.iteration)
    images, targets = loop.batches.augmentation.apply(batch, loop.compute.device)
    images = images.contiguous(memory_format=loop.compute.memory_format)
    with loop.compute.autocast():
        pairs = state.model.training_pairs(images, targets)
    losses = {
        name: loop.criteria[name](logits, target, loop.batches.augmentation.ignore_index)
        for name, (logits, target) in pairs.items()
    }
    total = torch.stack(list(losses.values())).sum()
    loss = float(total.detach())
    _check_finite(loss, state, loop)
    state.optimizer.zero_grad(set_to_none=True)
    total.backward()  # type: ignore[no-untyped-call]
    norm = float(clip_gradients(state.optimizer, loop.clip_norm))
    _check_finite(norm, state, loop)
    state.optimizer.step()
    return {
        "iteration": state.iteration + 1,
        "lr": state.optimizer.param_groups[0]["lr"],
        "loss": loss,
        "gradient_norm": norm,
        **{f"loss_{name}": float(part.detach()) for name, part in losses.items()},
    }


def _validate(state: TrainState, loop: Loop, shown: Meter) -> None:
    row: Row = {"iteration": state.iteration, "train_loss": sum(state.recent) / len(state.recent)}
    state.recent.clear()
    if loop.validation is not None:
        row |= validate(
            state.model,
            loop.validation,
            criterion=list(loop.criteria.values())[-1],
            compute=loop.compute,
            mean=loop.batches.augmentation.mean,
            std=loop.batches.augmentation.std,
        )
        if loop.best_metric not in row:
            known = ", ".join(key for key in row if key not in {"iteration", "train_loss", "val_loss"})
            raise ParamsError(
                "params.yaml: train.best_metric", f"{loop.best_metric!r} is not measured", f"choose one of {known}"
            )
        state.keep_best(row[loop.best_metric])
    state.validations.append(row)
    shown.report(state.iteration, "  ".join(f"{key} {row[key]:.4f}" for key in _SHOWN if key in row))


_SHOWN = ("train_loss", "val_loss", "mIoU", "mDice")


def _check_finite(value: float, state: TrainState, loop: Loop) -> None:
    if math.isfinite(value):
        return
    images = [loop.batches.split.ids[index] for index in loop.batches.indices(state.iteration)]
    raise TrainingError(
        f"train, iteration {state.iteration + 1}",
        f"loss or gradient is {value} at learning rate {state.optimizer.param_groups[0]['lr']:g}, "
        f"images {', '.join(dict.fromkeys(images))}",
        "lower optimizer.lr, set optimizer.clip_norm, or set train.precision to fp32; "
        "the journal keeps the last good state",
    )


def _is_due(iteration: int, every: int) -> bool:
    return every > 0 and iteration % every == 0
