"""The training loop, by iterations.

Random numbers derive from (seed, iteration), so that a run that goes on from a saved state gives the same bits as one
that was never stopped.
"""

import logging
import math
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from maskline.augment.loader import Batch, TrainBatches, iterate
from maskline.core.errors import ParamsError, TrainingError
from maskline.data.dataset import PreparedSplit
from maskline.engine import mixup_loss, preview
from maskline.engine.guards import NotFiniteError, SpoiltError, check_weights, guarded_step
from maskline.engine.journal import Journal
from maskline.engine.process import StopFlag
from maskline.engine.progress import Meter, meter
from maskline.engine.state import Row, TrainState, weights_of
from maskline.engine.validate import validate
from maskline.models.sync_norm import share_statistics
from maskline.optim.optimizers import clip_gradients, set_rates
from maskline.optim.schedules import Schedule
from maskline.runtime import distributed
from maskline.runtime.checkpoint import weights_sha256
from maskline.runtime.device import Compute
from maskline.runtime.torch_seeds import seed_torch

log = logging.getLogger("maskline")


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
        preview_every: Iterations between two images of predictions; 0: none.
        preview_samples: Images of the val split in each.
        log_every: Iterations between two points of the loss curve.
        journal_every: Iterations between two journal entries; 0 is none.
        best_metric: Key of the validation row that the best weights maximise.
        clip_norm: Largest norm of all gradients together, or None.
        workers: Loader processes.
        accumulate: Batches whose gradients make one optimizer step.
        early_stop: Validations without a better score that end the run; 0: none does.
        ema_decay: Of the average of the weights; 0: none is kept.
        compiled: The network is compiled.
    """

    batches: TrainBatches
    validation: PreparedSplit | None
    criteria: Mapping[str, nn.Module]
    schedule: Schedule
    compute: Compute
    iterations: int
    val_every: int
    preview_every: int
    preview_samples: int
    log_every: int
    journal_every: int
    best_metric: str
    clip_norm: float | None
    workers: int
    accumulate: int
    early_stop: int
    ema_decay: float
    compiled: bool


def fit(state: TrainState, loop: Loop, *, journal: Journal, stop: StopFlag, stop_after: int = 0) -> None:
    """Train until ``loop.iterations`` iterations are done; ``state`` holds the results.

    The norm of the gradients is taken where ``takes_norm`` says. When a gradient that is not finite has reached the
    weights unseen, the iterations since the last journal entry are done again, each with its norm, to find it.

    Args:
        state: Fresh, or restored from the journal.
        loop: See there.
        journal: Takes the state at the start, every ``journal_every`` iterations and when stopped.
        stop: Looked at after each iteration; what one process was sent stops all.
        stop_after: Only so many iterations of the run, bit by bit those of the whole one; 0: all.

    Raises:
        StoppedError: A signal came; the state is in the journal.
        TrainingError: The loss or a gradient is not finite.
        ParamsError: ``best_metric`` is not one of the validation's.
    """
    last = min(stop_after, loop.iterations) or loop.iterations
    closely = _must_take_each_norm(state, loop)
    if state.iteration == 0 and not closely:
        journal.write(0, state.to_dict())
    try:
        _go_on(state, loop, last=last, closely=closely, journal=journal, stop=stop)
    except SpoiltError:
        seen, saved = state.iteration, journal.read()
        problem = "a weight is non-finite, and the journal has no entry from which to look for the iteration"
        if saved is not None:
            state.restore(saved)
            log.warning("train: a weight is non-finite; going over all since iteration %d again", state.iteration)
            # One more: where no gradient is at fault, the weights themselves got too large, which the next loss shows.
            _go_on(state, loop, last=min(seen + 1, last), closely=True, journal=journal, stop=stop)
            problem = "a weight is non-finite, and no gradient was"
        raise TrainingError(
            f"train, iteration {seen}", problem, "lower optimizer.lr, or set optimizer.clip_norm"
        ) from None


def takes_norm(state: TrainState, loop: Loop) -> bool:
    """Tell whether the next iteration takes the norm of its gradients, which is to read all of them once more."""
    number = state.iteration + 1
    return number % loop.log_every == 0 or number == loop.iterations or _must_take_each_norm(state, loop)


def _must_take_each_norm(state: TrainState, loop: Loop) -> bool:
    """Clipping and fp16 need it; without a journal, or with several processes, no one looks at an iteration again."""
    return loop.clip_norm is not None or state.scaler.is_enabled() or loop.journal_every == 0 or distributed.size() > 1


def _go_on(state: TrainState, loop: Loop, *, last: int, closely: bool, journal: Journal, stop: StopFlag) -> None:
    """Train until ``last`` iterations are done; ``closely``: with the norm of the gradients in each."""
    start, stop_at = state.iteration * loop.accumulate, last * loop.accumulate
    device = loop.compute.device
    batches = iterate(loop.batches, start=start, stop=stop_at, workers=loop.workers, device=device)
    with meter(total=last, done=state.iteration) as shown, closing(batches):
        while state.iteration < last and not _stops_early(state, loop):
            with guarded_step(state, loop.batches, accumulate=loop.accumulate, closely=closely, journal=journal):
                row = step(state, loop, *(next(batches) for _ in range(loop.accumulate)), closely=closely)
            state.iteration += 1
            state.recent.append(row["loss"])
            state.trace.append((row["loss"], row.get("gradient_norm")))
            shown.advance(state.iteration, row["loss"])
            if state.iteration % loop.log_every == 0 or state.iteration == last:
                state.steps.append(row)
            if state.iteration % loop.val_every == 0 or state.iteration == last:
                if not closely:
                    check_weights(state)
                _validate(state, loop, shown)
            if _is_due(state.iteration, loop.preview_every):
                _draw(state, loop, journal.pictures / f"iteration-{state.iteration:09d}.png")
            signalled = distributed.largest(stop.signal or 0)
            if (signalled or _is_due(state.iteration, loop.journal_every)) and distributed.rank() == 0:
                if not closely:
                    check_weights(state)
                journal.write(state.iteration, state.to_dict())
            if signalled:
                distributed.wait()  # for the journal
                raise StoppedError(signalled)


def step(state: TrainState, loop: Loop, *batches: Batch, closely: bool = False) -> Row:
    """Do one iteration and return its point of the curve.

    That is iteration, lr of the first group, loss, gradient norm where it is taken, each head's loss, and the lr of
    each further group.

    Args:
        state: Its model, optimizer and average change.
        loop: See there.
        batches: Those of the iteration; gradients are their mean.
        closely: Take the norm of the gradients whatever ``takes_norm`` says.

    Raises:
        NotFiniteError: The loss, or the norm where it is taken; the weights have not changed.
    """
    seed_torch(loop.batches.seed, "step", state.iteration, *([distributed.rank()] if distributed.rank() else []))
    if not state.model.training:  # a walk through all modules
        state.model.train()
    set_rates(state.optimizer, loop.schedule, state.iteration)
    state.optimizer.zero_grad(set_to_none=True)
    parts = []
    for number, batch in enumerate(batches, start=1):
        with state.pairs.held_back(number < len(batches)):
            parts.append(_backward(state, loop, batch, share=1 / len(batches)))
    losses = {name: sum(part[name] for part in parts) / len(parts) for name in parts[0]}
    if not all(map(math.isfinite, losses.values())):
        raise NotFiniteError("loss", losses["loss"], batches)
    state.scaler.unscale_(state.optimizer)
    measured: Row = {}
    if closely or takes_norm(state, loop):
        measured["gradient_norm"] = norm = float(clip_gradients(state.optimizer, loop.clip_norm))
        # With fp16 a gradient that is not finite lowers the scale, and the optimizer leaves this step out.
        if not math.isfinite(norm) and not state.scaler.is_enabled():
            raise NotFiniteError("gradient", norm, batches)
    state.scaler.step(state.optimizer)
    state.scaler.update()
    share_statistics(state.model)
    if state.average is not None:
        state.average.update(state.model, state.iteration + 1)
    first, *others = state.optimizer.param_groups
    return {
        "iteration": state.iteration + 1,
        "lr": first["lr"],
        "loss": losses.pop("loss"),
        **measured,
        **losses,
        **{f"lr_{group['name']}": group["lr"] for group in others},
    }


def _backward(state: TrainState, loop: Loop, batch: Batch, *, share: float) -> Row:
    """Add the gradients of one batch, times ``share``, and return its loss and that of each head."""
    augmented = loop.batches.finish(batch, loop.compute.device)
    images = augmented.images.contiguous(memory_format=loop.compute.memory_format)
    with loop.compute.autocast():
        pairs = state.pairs(images, mixup_loss.packed(augmented))
    ignore_index = loop.batches.augmentation.ignore_index
    with distributed.joint():
        losses = {
            name: mixup_loss.loss(loop.criteria[name], logits, target, ignore_index=ignore_index, batch=augmented)
            for name, (logits, target) in pairs.items()
        }
    total = torch.stack(list(losses.values())).sum()
    state.scaler.scale(total * (share * distributed.size())).backward()  # type: ignore[no-untyped-call]
    parts = {f"loss_{name}": float(part.detach()) for name, part in losses.items()}
    return {"loss": float(total.detach()), **parts}


def _stops_early(state: TrainState, loop: Loop) -> bool:
    return 0 < loop.early_stop <= state.validations_since_best() and state.best_weights is not None


def _validate(state: TrainState, loop: Loop, shown: Meter) -> None:
    row: Row = {"iteration": state.iteration, "train_loss": sum(state.recent) / len(state.recent)}
    state.recent.clear()
    if loop.validation is not None:
        row |= validate(
            state.result,
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
    state.hashes[state.iteration] = weights_sha256(weights_of(state.result))
    shown.report(state.iteration, "  ".join(f"{key} {row[key]:.4f}" for key in _SHOWN if key in row))


def _draw(state: TrainState, loop: Loop, path: Path) -> None:
    """Draw what the network predicts now; the first of several processes does it."""
    if loop.validation is None or distributed.rank() > 0:
        return
    preview.draw(
        path,
        state.result,
        loop.validation,
        samples=loop.preview_samples,
        compute=loop.compute,
        mean=loop.batches.augmentation.mean,
        std=loop.batches.augmentation.std,
    )


_SHOWN = ("train_loss", "val_loss", "mIoU", "mDice")


def _is_due(iteration: int, every: int) -> bool:
    return every > 0 and iteration % every == 0
