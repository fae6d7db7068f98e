"""The training loop, by iterations.

Random numbers derive from (seed, iteration), so that a run that goes on from a saved state gives the same bits as one
that was never stopped.
"""

import difflib
import logging
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from maskline.augment.loader import Batch, TrainBatches, iterate
from maskline.core.errors import ParamsError, TrainingError
from maskline.data.dataset import PreparedSplit
from maskline.engine import mixup_loss, preview
from maskline.engine.capture import CapturedStep, CudaGraphs, Graphs, Values, reason_against
from maskline.engine.guards import NotFiniteError, check_weights, guarded_step
from maskline.engine.inputs import Inputs
from maskline.engine.journal import Journal
from maskline.engine.live import Live
from maskline.engine.norm_statistics import last_batches, take_anew
from maskline.engine.process import StopFlag
from maskline.engine.progress import Meter, meter
from maskline.engine.state import Measured, Row, SpoiltError, TrainState, read, weights_of
from maskline.engine.validate import validate
from maskline.models.segmentor import SegmentorBase
from maskline.models.sync_norm import share_statistics
from maskline.optim.ema import WeightMean
from maskline.optim.optimizers import clip_gradients, set_rates, steps_without_host
from maskline.optim.schedules import Schedule
from maskline.runtime.checkpoint import weights_sha256
from maskline.runtime.device import Compute
from maskline.runtime.patches import interpolation
from maskline.runtime.processes import distributed
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
        deferred: Losses and norms stay on the device until a point of the curve, a validation or a journal entry needs
            them; one that is not finite is found then, and its iteration by going over those since the last journal
            entry again. Without a journal, each is looked at all the same.
        graph: The step is captured as a graph, where the device and the network's parts let it.
        ema_ramp: See ``WeightAverage``.
        live: Is told what was measured while the run goes on; None: nobody is.
        soft_weight: Share of the soft labels in the target, where batches have some.
        test_scale: Sides that images to validate on are scaled to fit; None: they keep their size.
        swa_first: Iterations done when the first weights of a plain mean are taken, instead of the average; 0: none is
            kept. See ``WeightMean``.
        swa_every: Iterations between two that are taken.
        swa_batches: Batches that the statistics of batch norms are taken from anew before such a mean is validated.
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
    deferred: bool = False
    graph: bool = False
    ema_ramp: bool = True
    live: Live | None = None
    soft_weight: float = 0.0
    test_scale: tuple[int, int] | None = None
    swa_first: int = 0
    swa_every: int = 1
    swa_batches: int = 32


def fit(state: TrainState, loop: Loop, *, journal: Journal, stop: StopFlag, stop_after: int = 0) -> None:
    """Train until ``loop.iterations`` iterations are done; ``state`` holds the results.

    The norm of the gradients is taken where ``takes_norm`` says. When a gradient that is not finite has reached the
    weights unseen, or a loss was not looked at in time, the iterations since the last journal entry are done again,
    each with its norm and a look at both, to find it.

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
    closely = _must_look_at_each(state, loop)
    if state.iteration == 0 and not closely and distributed.rank() == 0:
        journal.write(0, state.to_dict())
    try:
        _go_on(state, loop, last=last, closely=closely, journal=journal, stop=stop)
    except SpoiltError as error:
        seen, saved = state.iteration, distributed.firsts(journal.read() if distributed.rank() == 0 else None)
        problem = f"{error.what} is non-finite, and the journal has no entry from which to look for the iteration"
        if saved is not None:
            state.restore(saved)
            log.warning("train: %s is non-finite; going over all since iteration %d again", error.what, state.iteration)
            # One more: where no gradient is at fault, the weights themselves got too large, which the next loss shows.
            _go_on(state, loop, last=min(seen + 1, last), closely=True, journal=journal, stop=stop)
            problem = f"{error.what} is non-finite, and no gradient was"
        raise TrainingError(
            f"train, iteration {seen}", problem, "lower optimizer.lr, or set optimizer.clip_norm"
        ) from None


def takes_norm(state: TrainState, loop: Loop) -> bool:
    """Tell whether the next iteration takes the norm of its gradients, which is to read all of them once more."""
    number = state.iteration + 1
    return number % loop.log_every == 0 or number == loop.iterations or _must_take_each_norm(state, loop)


def _must_take_each_norm(state: TrainState, loop: Loop) -> bool:
    """Clipping and fp16 need it; without a journal, or with several processes, no one looks at an iteration again."""
    return loop.clip_norm is not None or state.scaler.is_enabled() or _must_look_at_each(state, loop)


def _must_look_at_each(state: TrainState, loop: Loop) -> bool:
    """Tell whether each iteration looks at its loss and norm before the optimizer's step."""
    if loop.deferred:
        return loop.journal_every == 0
    takes = loop.clip_norm is not None or state.scaler.is_enabled()
    return takes or loop.journal_every == 0 or distributed.size() > 1


def _go_on(state: TrainState, loop: Loop, *, last: int, closely: bool, journal: Journal, stop: StopFlag) -> None:
    """Train until ``last`` iterations are done; ``closely``: with the norm of the gradients in each."""
    start, stop_at = state.iteration * loop.accumulate, last * loop.accumulate
    device = loop.compute.device
    batches = iterate(loop.batches, start=start, stop=stop_at, workers=loop.workers, device=device)
    with meter(total=last, done=state.iteration) as shown, closing(batches):
        while state.iteration < last and not _stops_early(state, loop):
            with guarded_step(state, loop.batches, accumulate=loop.accumulate, closely=closely, journal=journal):
                measured = advance(
                    state, loop, *(next(batches) for _ in range(loop.accumulate)), closely=closely, last=last
                )
            state.iteration += 1
            state.pending.append(measured)
            validates = state.iteration % loop.val_every == 0 or state.iteration == last
            if closely or not loop.deferred or measured.logged or validates:
                state.settle()
            shown.advance(state.iteration, state.trace[-1][0] if state.trace else None)
            if validates:
                if not closely:
                    check_weights(state)
                _validate(state, loop, shown)
            _tell(state, loop)
            if _is_due(state.iteration, loop.preview_every):
                _draw(state, loop, journal.pictures / f"iteration-{state.iteration:09d}.png")
            signalled = distributed.largest(stop.signal or 0)
            if signalled or _is_due(state.iteration, loop.journal_every):
                state.settle()
                if not closely:
                    check_weights(state)
                if distributed.rank() == 0:
                    behind = not signalled and device.type != "cpu"
                    journal.write(state.iteration, state.to_dict(), behind=behind)
            if signalled:
                distributed.wait()  # for the journal
                raise StoppedError(signalled)


def step(state: TrainState, loop: Loop, *batches: Batch, closely: bool = False) -> Row:
    """Do one iteration and return its point of the curve, read from the device.

    That is iteration, lr of the first group, loss, gradient norm where it is taken, each head's loss, and the lr of
    each further group.

    Args:
        state: Its model, optimizer and average change.
        loop: See there.
        batches: Those of the iteration; gradients are their mean.
        closely: Take the norm of the gradients whatever ``takes_norm`` says.

    Raises:
        NotFiniteError: As ``advance``.
    """
    (row,) = read([advance(state, loop, *batches, closely=closely, last=loop.iterations)])
    return row


def advance(state: TrainState, loop: Loop, *batches: Batch, closely: bool, last: int) -> Measured:
    """Do one iteration and return what it measured, on the device.

    Args:
        state: Its model, optimizer and average change.
        loop: See there.
        batches: Those of the iteration; gradients are their mean.
        closely: Take the norm of the gradients whatever ``takes_norm`` says, and look at it and the losses.
        last: Iteration whose point of the curve is kept whatever ``log_every`` says.

    Raises:
        NotFiniteError: The loss, or the norm where it is taken, and both are looked at: ``closely``, or the loop is not
            ``deferred``; the weights have not changed.
    """
    seed_torch(loop.batches.seed, "step", state.iteration, *([distributed.rank()] if distributed.rank() else []))
    if not state.model.training:  # a walk through all modules
        state.model.train()
    number, looks = state.iteration + 1, closely or not loop.deferred
    rates = set_rates(state.optimizer, loop.schedule, state.iteration)
    if state.average is not None:
        state.average.set_share(number)
    takes = closely or takes_norm(state, loop)
    inputs = (_inputs(loop, batch) for batch in batches)
    if state.captured is not None and not looks:
        values = state.captured.run(
            lambda given: _compute(state, loop, given, len(given), takes=True), list(inputs), kind=loop.compute
        )
    else:
        values = _compute(state, loop, inputs, len(batches), takes=takes, looked_at=batches if looks else None)
    names = ("lr", *(f"lr_{group['name']}" for group in state.optimizer.param_groups[1:]))
    return Measured(
        iteration=number,
        rates=dict(zip(names, rates, strict=True)),
        names=values.names,
        losses=values.losses,
        norm=values.norm if takes else None,
        logged=number % loop.log_every == 0 or number == last,
    )


def captured_step(state: TrainState, loop: Loop, graphs: Callable[[], Graphs] = CudaGraphs) -> CapturedStep | None:
    """Return what captures the steps of a run as graphs; None where ``loop.graph`` is off or something is against it.

    Args:
        state: Before the first iteration.
        loop: See there.
        graphs: Of the device.
    """
    if not loop.graph:
        return None
    scaled = state.scaler.is_enabled()
    against = reason_against(state.model, list(loop.criteria.values()))
    if distributed.size() > 1:
        against = "several processes exchange sums in it"
    elif not loop.deferred or loop.journal_every == 0:
        against = "each iteration looks at its loss (machine.journal_every: 0)" if loop.deferred else "this is a CPU"
    elif scaled and not steps_without_host(state.optimizer, scaled=True):
        against = "this optimizer asks in each step whether the scale of fp16 overflowed"
    if against is not None:
        log.info("train: the step is not captured as a graph: %s", against)
        return None

    def undo() -> None:
        # A capture that failed between the scale's two halves leaves it waiting for the second.
        state.scaler._per_optimizer_states.clear()

    return CapturedStep(graphs(), undo=undo)


def _inputs(loop: Loop, batch: Batch) -> Inputs:
    return Inputs.of(loop.batches.finish(batch, loop.compute.device), memory_format=loop.compute.memory_format)


def _compute(
    state: TrainState,
    loop: Loop,
    batches: Iterable[Inputs],
    count: int,
    *,
    takes: bool,
    looked_at: Sequence[Batch] | None = None,
) -> Values:
    """Do the part of an iteration that may be captured: all numbers that differ between two lie in tensors.

    Args:
        state: See ``advance``.
        loop: See ``advance``.
        batches: Their gradients' mean is taken; each is made when it is its turn.
        count: How many.
        takes: The norm of the gradients.
        looked_at: What a loss or norm that is not finite is said of; None: they are not looked at.

    Raises:
        NotFiniteError: See ``advance``.
    """
    state.optimizer.zero_grad(set_to_none=True)
    parts = []
    for number, batch in enumerate(batches, start=1):
        with state.pairs.held_back(number < count):
            parts.append(_backward(state, loop, batch, share=1 / count))
    names, losses = tuple(parts[0]), torch.stack([torch.stack([*part.values()]) for part in parts])
    if looked_at is not None:
        means = [sum(column) / len(column) for column in losses.T.tolist()]
        if not all(map(math.isfinite, means)):
            raise NotFiniteError("loss", means[0], looked_at)
    state.scaler.unscale_(state.optimizer)
    norm = None
    if takes:
        norm = clip_gradients(state.optimizer, loop.clip_norm)
        # With fp16 a gradient that is not finite lowers the scale, and the optimizer leaves this step out.
        if looked_at is not None and not state.scaler.is_enabled() and not math.isfinite(float(norm)):
            raise NotFiniteError("gradient", float(norm), looked_at)
    state.scaler.step(state.optimizer)
    state.scaler.update()
    share_statistics(state.model)
    if state.average is not None:
        state.average.move(state.model)
    return Values(names=names, losses=losses, norm=norm)


def _backward(state: TrainState, loop: Loop, batch: Inputs, *, share: float) -> dict[str, Tensor]:
    """Add the gradients of one batch, times ``share``, and return its loss and that of each head."""
    with loop.compute.autocast(), interpolation.by_products():
        pairs = state.pairs(batch.images, mixup_loss.packed(batch))
    ignore_index = loop.batches.augmentation.ignore_index
    with distributed.joint():
        losses = {
            name + part: value
            for name, (logits, target) in pairs.items()
            for part, value in mixup_loss.loss(
                loop.criteria[name],
                logits,
                target,
                ignore_index=ignore_index,
                batch=batch,
                soft_weight=loop.soft_weight,
            ).items()
        }
    total = torch.stack(list(losses.values())).sum()
    state.scaler.scale(total * (share * distributed.size())).backward()  # type: ignore[no-untyped-call]
    return {"loss": total.detach(), **{f"loss_{name}": part.detach() for name, part in losses.items()}}


def _stops_early(state: TrainState, loop: Loop) -> bool:
    return 0 < loop.early_stop <= state.validations_since_best() and state.best_weights is not None


def _validate(state: TrainState, loop: Loop, shown: Meter) -> None:
    row: Row = {"iteration": state.iteration, "train_loss": sum(state.recent) / len(state.recent)}
    state.recent.clear()
    _take_statistics(state, loop)
    if loop.validation is not None:
        row |= validate(
            state.result,
            loop.validation,
            criterion=list(loop.criteria.values())[-1],
            compute=loop.compute,
            mean=loop.batches.augmentation.mean,
            std=loop.batches.augmentation.std,
            scale=loop.test_scale,
            warns=not state.validations,
        )
        if loop.best_metric not in row:
            known = [key for key in row if key not in {"iteration", "train_loss", "val_loss"}]
            near = difflib.get_close_matches(loop.best_metric, known, n=1)
            remedy = f"choose one of {', '.join(known)}" + (f"; the nearest is {near[0]}" if near else "")
            raise ParamsError("params.yaml: train.best_metric", f"{loop.best_metric!r} is not measured", remedy)
        state.keep_best(row[loop.best_metric])
    state.validations.append(row)
    state.hashes[state.iteration] = weights_sha256(weights_of(state.result))
    shown.report(state.iteration, "  ".join(f"{key} {row[key]:.4f}" for key in _SHOWN if key in row))


def _take_statistics(state: TrainState, loop: Loop) -> None:
    """Give a mean of several weights statistics of its own; the next iteration copies those of the model over them."""
    if not isinstance(state.average, WeightMean) or state.average.count(state.iteration) < 2:
        return
    done = state.iteration * loop.accumulate
    images = last_batches(loop.batches, done=done, count=loop.swa_batches, compute=loop.compute)
    take_anew(cast("SegmentorBase", state.average.model), images, compute=loop.compute)


def _tell(state: TrainState, loop: Loop) -> None:
    if loop.live is not None:
        loop.live.update(state)


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
