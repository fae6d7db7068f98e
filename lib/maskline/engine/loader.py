"""Batches by iteration, drawn and cut out in loader processes, the same for any number of them."""

from collections.abc import Iterator

import torch
from torch.utils.data import DataLoader, Dataset

from maskline.augment.pipeline import Augmentation, AugmentedSample, Region, RegionBatch, collate, denormalize
from maskline.data.dataset import PreparedSplit
from maskline.data.sampler import batch_indices
from maskline.errors import DataError, MasklineError


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

    def indices(self, iteration: int) -> tuple[int, ...]:
        """Return the images of a batch as indices into the split."""
        return batch_indices(self.seed, iteration, batch_size=self.batch_size, length=len(self.split))

    def region(self, iteration: int, position: int) -> Region:
        """Read the image at a position of a batch, draw its parameters, and cut out what they need."""
        sample = self.split.sample(self.indices(iteration)[position])
        draw = self.augmentation.draw(sample.mask, seed=self.seed, iteration=iteration, position=position)
        return self.augmentation.region(sample.image, sample.mask, draw)

    def batch(self, iteration: int) -> RegionBatch:
        """Return the batch of an iteration."""
        return collate([self.region(iteration, position) for position in range(self.batch_size)])

    def augmented(self, iteration: int, position: int) -> AugmentedSample:
        """Return a sample as training sees it, beside its source, for people to look at."""
        source = self.split.sample(self.indices(iteration)[position])
        region = self.region(iteration, position)
        images, targets = self.augmentation.apply(collate([region]), torch.device("cpu"))
        return AugmentedSample(
            id=source.id,
            iteration=iteration,
            position=position,
            source_image=source.image,
            source_mask=source.mask,
            image=denormalize(images[0], self.augmentation.mean, self.augmentation.std),
            mask=targets[0].numpy(),
            draw=region.draw,
        )

    def __getitem__(self, iteration: int) -> RegionBatch | MasklineError:
        # A loader process hands an error over as a value: torch would rebuild it from its text alone.
        try:
            return self.batch(iteration)
        except MasklineError as error:
            return error


def iterate(batches: TrainBatches, *, start: int, stop: int, workers: int) -> Iterator[RegionBatch]:
    """Yield the batches of iterations ``start`` to ``stop - 1``.

    Raises:
        MasklineError: As reading a sample raises it, from whichever process.
    """
    loader: DataLoader[RegionBatch | MasklineError] = DataLoader(
        batches,
        batch_size=None,
        sampler=range(start, stop),
        num_workers=workers,
        pin_memory=False,
        worker_init_fn=_one_thread if workers else None,
    )
    for item in loader:
        if isinstance(item, MasklineError):
            raise item
        yield item


def check_crop(split: PreparedSplit, augmentation: Augmentation) -> None:
    """Raise where no image of the split could ever fill a crop.

    Raises:
        DataError: The crop is larger than the largest image at the largest ratio.
    """
    ratio = augmentation.ratio_range[1]
    height = max(int(size[0] * ratio) for size in split.sizes)
    width = max(int(size[1] * ratio) for size in split.sizes)
    crop_height, crop_width = augmentation.crop_size
    if crop_height > height or crop_width > width:
        raise DataError(
            "augment.crop_size",
            f"{crop_height}x{crop_width} is larger than every train image at its largest scale ({height}x{width})",
            "lower augment.crop_size or raise augment.ratio_range",
        )


def _one_thread(_worker: int) -> None:
    torch.set_num_threads(1)
