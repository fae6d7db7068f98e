"""Batches by iteration, drawn and cut out in loader processes, the same for any number of them."""

import os
import re
from collections.abc import Generator, Iterable, Iterator

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, get_worker_info

from maskline.augment.pipeline import Augmentation, denormalize
from maskline.augment.sample import AugmentedSample, Region, RegionBatch, collate
from maskline.data.dataset import PreparedSplit
from maskline.data.sampler import batch_indices
from maskline.errors import DataError, MasklineError, TrainingError


class TrainBatches(Dataset[RegionBatch | MasklineError]):
    """A data set whose items are the batches themselves: item k is the batch of iteration k.

    Args:
        split: Images and masks.
        augmentation: Draws parameters and cuts regions out.
        seed: The run's seed.
        batch_size: Samples in a batch.
    """

    def __init__(self, split: PreparedSplit, augmentation: Augmentation, *, seed: int, batch_size: int) -> None:
        self.split = split
        self.augmentation = augmentation
        self.seed = seed
        self.batch_size = batch_size
        # What each loader process reads: its pid, iteration and position, so that its death can name the sample.
        self.reading: Tensor | None = None

    def indices(self, iteration: int) -> tuple[int, ...]:
        """Return the images of a batch as indices into the split."""
        return batch_indices(self.seed, iteration, batch_size=self.batch_size, length=len(self.split))

    def region(self, iteration: int, position: int) -> Region:
        """Read the image at a position of a batch, draw its parameters, and cut out what they need."""
        self._note(iteration, position)
        sample = self.split.sample(self.indices(iteration)[position])
        mask = self.augmentation.target(sample.mask, sample.valid)
        draw = self.augmentation.draw(mask, seed=self.seed, iteration=iteration, position=position)
        return self.augmentation.region(sample.image, mask, draw, valid=sample.valid, second=sample.second)

    def batch(self, iteration: int, *, annotations: bool = False) -> RegionBatch:
        """Return the batch of an iteration; ``annotations``: with valid-area masks and second annotations."""
        positions = range(self.batch_size)
        return collate(
            [self.region(iteration, position) for position in positions],
            positions=positions,
            count=len(positions),
            annotations=annotations,
            ignore_index=self.augmentation.ignore_index,
        )

    def augmented(self, iteration: int, positions: Iterable[int]) -> Iterator[AugmentedSample]:
        """Yield samples as training sees them, beside their sources, for people to look at.

        The whole batch is made, as in training, so that every pixel is the same to the last bit.
        """
        batch = self.batch(iteration, annotations=True)
        made = self.augmentation.apply(batch, torch.device("cpu"))
        assert made.valid is not None
        assert made.second is not None
        for position in positions:
            source = self.split.sample(self.indices(iteration)[position])
            yield AugmentedSample(
                id=source.id,
                iteration=iteration,
                position=position,
                source_image=source.image,
                source_mask=source.mask,
                image=denormalize(made.images[position], self.augmentation.mean, self.augmentation.std),
                mask=made.targets[position].numpy(),
                valid=None if source.valid is None else made.valid[position].numpy(),
                second=None if source.second is None else made.second[position].numpy(),
                other_mask=None if made.other_targets is None else made.other_targets[position].numpy(),
                pixels=made.images[position].numpy(),
                draw=batch.draws[position],
            )

    def first(self, count: int) -> Iterator[AugmentedSample]:
        """Yield the first samples of the training."""
        for iteration in range(-(-count // self.batch_size)):
            yield from self.augmented(iteration, range(min(self.batch_size, count - iteration * self.batch_size)))

    def _note(self, iteration: int, position: int) -> None:
        worker = get_worker_info()
        if worker is not None and self.reading is not None:
            self.reading[worker.id] = torch.tensor([os.getpid(), iteration, position])

    def __getitem__(self, iteration: int) -> RegionBatch | MasklineError:
        # A loader process hands an error over as a value: torch would rebuild it from its text alone.
        try:
            return self.batch(iteration)
        except MasklineError as error:
            return error


def iterate(batches: TrainBatches, *, start: int, stop: int, workers: int) -> Generator[RegionBatch, None, None]:
    """Yield the batches of iterations ``start`` to ``stop - 1``.

    Raises:
        MasklineError: As reading a sample raises it, from whichever process.
        TrainingError: A loader process died; names the image that it was reading.
    """
    batches.reading = _shared(workers) if workers else None
    loader: DataLoader[RegionBatch | MasklineError] = DataLoader(
        batches,
        batch_size=None,
        sampler=range(start, stop),
        num_workers=workers,
        pin_memory=False,
        worker_init_fn=_one_thread if workers else None,
    )
    try:
        for item in loader:
            if isinstance(item, MasklineError):
                raise item
            yield item
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise _death(batches, str(error)) from error


def _shared(workers: int) -> Tensor:
    made: Tensor = torch.zeros(workers, 3, dtype=torch.int64).share_memory_()  # type: ignore[no-untyped-call]
    return made


def _death(batches: TrainBatches, message: str) -> TrainingError:
    """Return the error on a dead loader process."""
    pids = {int(number) for number in re.findall(r"\d+", message)}
    read = [] if batches.reading is None else batches.reading.tolist()
    images = [
        batches.split.ids[batches.indices(iteration)[position]] for pid, iteration, position in read if pid in pids
    ]
    return TrainingError(
        "train, loader process",
        f"it died while it read {', '.join(images) or 'its first image'} ({message.splitlines()[0]})",
        "look at that image; where memory ran out, lower train.workers or set train.cache to stream",
    )


def check_crop(split: PreparedSplit, augmentation: Augmentation) -> None:
    """Raise where no image of the split could ever fill a crop.

    Raises:
        DataError: The crop is larger than the largest image at the largest ratio.
    """
    largest = [augmentation.resize.largest(size) for size in split.sizes]
    height, width = (max(size[axis] for size in largest) for axis in (0, 1))
    crop_height, crop_width = augmentation.crop_size
    if crop_height > height or crop_width > width:
        raise DataError(
            "augment.crop_size",
            f"{crop_height}x{crop_width} is larger than every train image at its largest scale ({height}x{width})",
            "lower augment.crop_size, or raise augment.ratio_range or augment.scale",
        )


def _one_thread(_worker: int) -> None:
    torch.set_num_threads(1)
