"""What a user can do about a non-finite loss and about memory that ran out, said in one line."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import torch

from maskline.augment.loader import Batch, TrainBatches
from maskline.core.errors import TrainingError
from maskline.core.files import replace_file
from maskline.engine.journal import Journal
from maskline.engine.state import SpoiltError, TrainState
from maskline.runtime.processes import distributed

REPLAY_FILE = "not-finite.pt"


class NotFiniteError(Exception):
    """A non-finite loss or gradient.

    Args:
        what: Which of both.
        value: Infinite or nan.
        batches: Of the iteration, this process's share.
    """

    def __init__(self, what: Literal["loss", "gradient"], value: float, batches: Sequence[Batch]) -> None:
        super().__init__(what, value)
        self.what = what
        self.value = value
        self.batches = batches


def check_weights(state: TrainState) -> None:
    """Look at the weights before they are kept.

    Raises:
        SpoiltError: One is not finite. Each optimizer passes a gradient that is not finite on to its weight.
    """
    weights = [each.detach() for each in state.model.parameters()]
    if not torch.nn.utils.get_total_norm(weights, norm_type=float("inf")).isfinite():
        raise SpoiltError("a weight")


@contextmanager
def guarded_step(
    state: TrainState, batches: TrainBatches, *, accumulate: int, closely: bool, journal: Journal
) -> Iterator[None]:
    """Do one iteration inside the block.

    Args:
        state: Its model has not changed when the loss is non-finite.
        batches: Where the iteration's samples come from.
        accumulate: Batches an iteration.
        closely: No gradient that is not finite has reached the weights.
        journal: Beside its entries, the batch is saved for replay.

    Raises:
        SpoiltError: The loss or gradient is not finite, since a former gradient was not.
        TrainingError: The loss or gradient is not finite: names iteration, learning rate and images. Or memory ran out:
            names batch, crop, and what to lower.
    """
    try:
        yield
    except NotFiniteError as error:
        if not closely:
            check_weights(state)
        first = state.iteration * accumulate
        indices = [index for part in range(accumulate) for index in batches.indices(first + part)]
        ids = list(dict.fromkeys(batches.split.ids[index] for index in indices))
        path = _save_for_replay(error, state, batches, ids=ids, iterations=range(first, first + accumulate), to=journal)
        raise TrainingError(
            f"train, iteration {state.iteration + 1}",
            f"the {error.what} is {error.value} at learning rate {_rate(state):g}, images {', '.join(ids)}",
            "lower optimizer.lr, set optimizer.clip_norm, or set train.precision to fp32; "
            f"the journal keeps the last good state; batch and weights are in {path}",
        ) from None
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        height, width = batches.augmentation.crop_size
        raise TrainingError(
            f"train, iteration {state.iteration + 1}",
            f"out of memory with batches of {len(batches.positions)} crops of {height}x{width}",
            "lower train.batch_size and raise train.accumulate by as much, or lower augment.crop_size",
        ) from error


@contextmanager
def guarded_validation(image: str, size: tuple[int, int]) -> Iterator[None]:
    """Validate on one image inside the block.

    Args:
        image: Its id.
        size: Height and width, px.

    Raises:
        TrainingError: Memory ran out.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise TrainingError(
            f"train, validation on image {image}",
            f"out of memory with one image of {size[0]}x{size[1]}",
            "free memory (machine.cache stream, fewer machine.workers), or take smaller images into the val split",
        ) from error


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether memory ran out; on a CPU torch raises a plain RuntimeError."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def _rate(state: TrainState) -> float:
    return float(state.optimizer.param_groups[0]["lr"])


def _save_for_replay(
    error: NotFiniteError,
    state: TrainState,
    batches: TrainBatches,
    *,
    ids: Sequence[str],
    iterations: range,
    to: Journal,
) -> Path:
    """Write the iteration's augmented batches and the weights that met them beside the journal."""
    path = to.folder / REPLAY_FILE
    if distributed.rank() == 0:
        whole = batches.share(rank=0, size=1)
        given = error.batches if distributed.size() == 1 else [whole.batch(number) for number in iterations]
        augmented = [batches.finish(each, torch.device("cpu")) for each in given]
        content = {
            "iteration": state.iteration,
            "learning_rate": _rate(state),
            "ids": list(ids),
            "images": [batch.images for batch in augmented],
            "targets": [batch.targets for batch in augmented],
            "other_targets": [batch.other_targets for batch in augmented],
            "soft": [batch.soft for batch in augmented],
            "other_soft": [batch.other_soft for batch in augmented],
            "model": state.model.state_dict(),
        }
        with replace_file(path) as part:
            torch.save(content, part)
    distributed.wait()
    return path
