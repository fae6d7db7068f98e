"""Batches by iteration, cut out and, for a CPU, augmented in loader processes: the same for any number of them."""

import copy
import math
import os
import re
from collections.abc import Generator, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, get_worker_info

from maskline.augment.class_index import ClassIndex
from maskline.augment.fixed import FixedBatch
from maskline.augment.pipeline import Augmentation
from maskline.augment.prefetch import on_gpu
from maskline.augment.resident import Resident
from maskline.augment.sample import Augmented, AugmentedSample, Region, RegionBatch, collate
from maskline.augment.sampler import batch_indices
from maskline.augment.soft_labels import SoftLabels
from maskline.core.errors import DataError, MasklineError, ParamsError, TrainingError
from maskline.data.dataset import PreparedSplit, Sample
from maskline.runtime.normalize import denormalize

# As cut out, as packed for a GPU, and as the network sees it.
Batch = RegionBatch | FixedBatch | Augmented

_MOST_RESIDENT = 0.5  # of the device's free memory, in images and masks
_UNASKED = 1 / 3  # of it, where nobody asked for them to be kept there


class TrainBatches(Dataset[Batch | MasklineError]):
    """A data set whose items are the batches themselves: item k is the batch of iteration k.

    Args:
        split: Images and masks.
        augmentation: Draws parameters and cuts regions out.
        seed: The run's seed.
        batch_size: Samples in a batch, those of all processes together.
        soft: Soft labels of the images; None: training learns from the masks alone.
    """

    def __init__(
        self,
        split: PreparedSplit,
        augmentation: Augmentation,
        *,
        seed: int,
        batch_size: int,
        soft: SoftLabels | None = None,
    ) -> None:
        self.split = split
        self.augmentation = augmentation
        self.seed = seed
        self.batch_size = batch_size
        self.soft = soft
        # Where this process's own samples stand in a batch.
        self.positions = range(batch_size)
        self._resident: Resident | None = None
        self._indexes: dict[int, ClassIndex] = {}
        # Items are what the network sees: loader processes make it, beside the computation.
        self.finished = False
        # What each loader process reads: its pid, iteration and position, so that its death can name the sample.
        self.reading: Tensor | None = None

    def share(self, *, rank: int, size: int) -> "TrainBatches":
        """Return the same batches, of which one of several processes has its own positions only.

        A sample's image and augmentation follow from its position in the whole batch, so all shares together are what
        one process alone would have.

        Raises:
            ParamsError: The batch has no equal shares.
        """
        if self.batch_size % size:
            raise ParamsError(
                "params.yaml: train.batch_size",
                f"{self.batch_size} cannot be shared by {size} processes",
                f"set it to a multiple of {size}",
            )
        shared, own = copy.copy(self), self.batch_size // size
        shared.positions = range(rank * own, (rank + 1) * own)
        return shared

    @property
    def is_resident(self) -> bool:
        """Whether images and masks are kept on a device; then no loader process can share them."""
        return self._resident is not None

    def fits(self, device: torch.device) -> bool:
        """Tell whether images and masks take no more than a third of a GPU's free memory."""
        return device.type == "cuda" and self._bytes() <= _UNASKED * torch.cuda.mem_get_info(device)[0]

    def reside(self, device: torch.device) -> None:
        """Keep all images and masks on the device; draws look at the masks that stay here.

        Raises:
            DataError: The device has too little memory.
        """
        needed = self._bytes()
        free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else math.inf
        if needed > _MOST_RESIDENT * free:
            raise DataError(
                "machine.cache",
                f"device: the train images need {needed / 2**30:.2f} GiB, the GPU has {free / 2**30:.2f} GiB free",
                "set it to ram or mmap",
            )
        samples = [self.split.sample(i) for i in range(len(self.split))]
        targets = [self.augmentation.target(sample.mask, sample.valid) for sample in samples]
        self._resident = Resident.of([self._with_planes(sample) for sample in samples], targets, device)

    def _with_planes(self, sample: Sample) -> np.ndarray:
        """Return the image, HWC uint8, with the planes of its soft labels where training learns from them."""
        return sample.image if self.soft is None else np.concatenate([sample.image, self.soft.read(sample)], axis=2)

    def _bytes(self) -> int:
        wide = 4 if self.augmentation.ignore_index > 255 else 1  # as masks are stacked
        planes = 0 if self.soft is None else self.split.labels.num_classes
        return (self.split.channels + planes + wide) * sum(height * width for height, width in self.split.sizes)

    def indices(self, iteration: int) -> tuple[int, ...]:
        """Return the images of a batch as indices into the split."""
        return batch_indices(self.seed, iteration, batch_size=self.batch_size, length=len(self.split))

    def region(self, iteration: int, position: int) -> Region:
        """Read the image at a position of a batch, draw its parameters, and cut out what they need."""
        self._note(iteration, position)
        image = self.indices(iteration)[position]
        sample = self.split.sample(image)
        mask = self.augmentation.target(sample.mask, sample.valid)
        index = self._index(image, mask)
        draw = self.augmentation.draw(mask, seed=self.seed, iteration=iteration, position=position, index=index)
        planes = None if self.soft is None or self.is_resident else partial(self.soft.read, sample)
        return self.augmentation.region(
            sample.image, mask, draw, valid=sample.valid, second=sample.second, planes=planes
        )

    def _index(self, image: int, mask: np.ndarray) -> ClassIndex | None:
        """Return the class index of an image, made when it is first asked for."""
        if not self.augmentation.looks_for_classes:
            return None
        if image not in self._indexes:
            self._indexes[image] = ClassIndex(mask, ignore_index=self.augmentation.ignore_index)
        return self._indexes[image]

    def batch(self, iteration: int, *, annotations: bool = False) -> RegionBatch:
        """Return the batch of an iteration, or this process's share of it.

        Args:
            iteration: Of the batch.
            annotations: With valid-area masks and second annotations.
        """
        regions: dict[int, Region] = {}
        wanted = list(self.positions)
        while wanted:  # lenders borrow too
            regions |= {position: self.region(iteration, position) for position in wanted}
            mixes = [region.draw.mix for region in regions.values() if region.draw.mix is not None]
            wanted = sorted({position for mix in mixes for position in mix.partners} - regions.keys())
        resident, indices = None if annotations else self._resident, self.indices(iteration)
        return collate(
            list(regions.values()),
            positions=list(regions),
            count=len(self.positions),
            annotations=annotations,
            ignore_index=self.augmentation.ignore_index,
            resident=resident,
            starts=() if resident is None else [resident.starts[indices[position]] for position in regions],
        )

    def finish(self, batch: Batch, device: torch.device) -> Augmented:
        """Return what the network sees, on the device; a batch that is so already stays what it is."""
        return batch if isinstance(batch, Augmented) else self.augmentation.apply(batch, device)

    def augmented(self, iteration: int, positions: Sequence[int], *, accumulate: int) -> Iterator[AugmentedSample]:
        """Yield samples of an iteration as training sees them, beside their sources, for people to look at.

        Whole batches are made, as in training, so that every pixel is the same to the last bit.

        Args:
            iteration: From 0.
            positions: Among the ``batch_size * accumulate`` samples of the iteration.
            accumulate: Batches of an iteration.
        """
        for part in sorted({position // self.batch_size for position in positions}):
            number = iteration * accumulate + part
            batch = self.batch(number, annotations=True)
            augmented = self.augmentation.apply(batch, torch.device("cpu"))
            for position in positions:
                row = position - part * self.batch_size
                if 0 <= row < self.batch_size:
                    source = self.split.sample(self.indices(number)[row])
                    shown = self._shown(source, augmented, row)
                    yield AugmentedSample(iteration=iteration, position=position, draw=batch.draws[row], **shown)

    def first(self, count: int, *, accumulate: int) -> Iterator[AugmentedSample]:
        """Yield the first samples of the training."""
        size = self.batch_size * accumulate
        for iteration in range(-(-count // size)):
            positions = range(min(size, count - iteration * size))
            yield from self.augmented(iteration, positions, accumulate=accumulate)

    def _shown(self, source: Sample, augmented: Augmented, row: int) -> dict[str, Any]:
        """Return the images of an ``AugmentedSample``."""
        assert augmented.valid is not None
        assert augmented.second is not None
        return {
            "id": source.id,
            "source_image": source.image,
            "source_mask": source.mask,
            "image": denormalize(augmented.images[row], self.augmentation.mean, self.augmentation.std),
            "mask": augmented.targets[row].numpy(),
            "valid": None if source.valid is None else augmented.valid[row].numpy(),
            "second": None if source.second is None else augmented.second[row].numpy(),
            "other_mask": None if augmented.other_targets is None else augmented.other_targets[row].numpy(),
            "pixels": augmented.images[row].numpy(),
        }

    def _note(self, iteration: int, position: int) -> None:
        worker = get_worker_info()
        if worker is not None and self.reading is not None:
            self.reading[worker.id] = torch.tensor([os.getpid(), iteration, position])

    def __getitem__(self, iteration: int) -> Batch | MasklineError:
        # A loader process hands an error over as a value: torch would rebuild it from its text alone.
        try:
            batch = self.batch(iteration)
            return self.finish(batch, torch.device("cpu")) if self.finished else batch
        except MasklineError as error:
            return error


def iterate(
    batches: TrainBatches, *, start: int, stop: int, workers: int, device: torch.device
) -> Generator[Batch, None, None]:
    """Yield the batches of iterations ``start`` to ``stop - 1``, for ``TrainBatches.finish``.

    For a network on the CPU loader processes finish them; for one on a GPU that is left to the GPU, to which a thread
    sends them two ahead.

    Args:
        batches: Where they come from.
        start: First iteration.
        stop: One after the last.
        workers: Loader processes; 0: all is done in this one.
        device: Of the network.

    Raises:
        MasklineError: As reading a sample raises it, from whichever process.
        TrainingError: A loader process died; names the image that it was reading.
    """
    batches.reading = _shared(workers) if workers else None
    batches.finished = workers > 0 and device.type == "cpu"
    loader: DataLoader[Batch | MasklineError] = DataLoader(
        batches,
        batch_size=None,
        sampler=range(start, stop),
        num_workers=workers,
        pin_memory=False,
        worker_init_fn=_one_thread if workers else None,
    )
    source = _checked(batches, iter(loader))
    if device.type == "cuda":
        yield from on_gpu(source, batches.augmentation, device)  # type: ignore[arg-type]
    else:
        yield from source


def _checked(batches: TrainBatches, items: Iterator[Batch | MasklineError]) -> Generator[Batch, None, None]:
    try:
        for item in items:
            if isinstance(item, MasklineError):
                raise item
            yield item
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise _death(batches, str(error)) from error


def _shared(workers: int) -> Tensor:
    shared: Tensor = torch.zeros(workers, 3, dtype=torch.int64).share_memory_()  # type: ignore[no-untyped-call]
    return shared


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
        "look at that image; where memory ran out, lower machine.workers or set machine.cache to stream",
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
