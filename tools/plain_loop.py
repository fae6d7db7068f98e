"""What the engine is measured against: a plain training loop in fp32, as it stands in many repositories.

Images are decoded by PIL from one file each, resized, cropped, flipped and changed in color by PIL and numpy, and
handed on by a DataLoader. Network, losses, optimizer and learning rate are those of the engine.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, RandomSampler

from maskline.data.dataset import PreparedSplit
from maskline.engine.run import Job
from maskline.optim.optimizers import set_rates
from maskline.params.augment import AugmentParams


def write_files(split: PreparedSplit, folder: Path) -> None:
    """Write each image and mask of a split as a PNG of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(len(split)):
        sample = split.sample(number)
        Image.fromarray(sample.image).save(folder / f"{number:05d}.image.png")
        Image.fromarray(sample.mask.astype(np.uint8)).save(folder / f"{number:05d}.mask.png")


class Images(Dataset[tuple[Tensor, Tensor]]):
    """Files of a folder, augmented.

    Args:
        folder: As ``write_files`` fills it.
        augment: Ranges of scale and colors, probabilities, crop.
        mean: Gray levels of 255, a channel.
        std: Gray levels of 255, a channel.
        ignore_index: Of padding.
    """

    def __init__(
        self,
        folder: Path,
        augment: AugmentParams,
        *,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        ignore_index: int,
    ) -> None:
        self.files = sorted(folder.glob("*.image.png"))
        self.augment = augment
        self.mean = np.asarray(mean, dtype=np.float32)
        self.std = np.asarray(std, dtype=np.float32)
        self.ignore_index = ignore_index

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        rng = np.random.default_rng(int(torch.randint(2**31, ()).item()))
        path = self.files[index]
        image = Image.open(path).convert("RGB")
        mask = Image.open(path.with_name(path.name.replace("image", "mask")))
        ratio = rng.uniform(*self.augment.ratio_range)
        size = (max(int(image.width * ratio), 1), max(int(image.height * ratio), 1))
        pixels = np.asarray(image.resize(size, Image.Resampling.BILINEAR), dtype=np.float32)
        classes = np.asarray(mask.resize(size, Image.Resampling.NEAREST), dtype=np.int64)
        pixels, classes = self._cropped(rng, pixels, classes)
        if rng.random() < self.augment.flip_horizontal:
            pixels, classes = pixels[:, ::-1], classes[:, ::-1]
        if rng.random() < self.augment.flip_vertical:
            pixels, classes = pixels[::-1], classes[::-1]
        pixels = (self._colored(rng, pixels) - self.mean) / self.std
        return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1))), torch.from_numpy(classes.copy())

    def _cropped(
        self, rng: np.random.Generator, pixels: np.ndarray, classes: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        height, width = self.augment.crop_size
        more = [(0, max(height - pixels.shape[0], 0)), (0, max(width - pixels.shape[1], 0))]
        pixels = np.pad(pixels, [*more, (0, 0)])
        classes = np.pad(classes, more, constant_values=self.ignore_index)
        top = rng.integers(classes.shape[0] - height + 1)
        left = rng.integers(classes.shape[1] - width + 1)
        return pixels[top : top + height, left : left + width], classes[top : top + height, left : left + width]

    def _colored(self, rng: np.random.Generator, pixels: np.ndarray) -> np.ndarray:
        """Change brightness, contrast and saturation, each with its probability, cut to 0..255 each time."""
        photometric = self.augment.photometric
        if rng.random() < photometric.prob:
            pixels = np.clip(pixels + rng.uniform(-photometric.brightness, photometric.brightness), 0, 255)
        if rng.random() < photometric.prob:
            pixels = np.clip(pixels * rng.uniform(*photometric.contrast), 0, 255)
        if rng.random() < photometric.prob:
            gray = pixels @ np.asarray([0.299, 0.587, 0.114], dtype=np.float32)
            factor = rng.uniform(*photometric.saturation)
            pixels = np.clip(gray[..., None] + factor * (pixels - gray[..., None]), 0, 255)
        return pixels.astype(np.float32)


def endless(
    pictures: Images, *, batch_size: int, workers: int, pinned: bool = False
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield shuffled batches for ever.

    Args:
        pictures: Where they come from.
        batch_size: Images in a batch.
        workers: Loader processes.
        pinned: Batches lie where a GPU can fetch them by itself.
    """
    sampler = RandomSampler(pictures, replacement=False, num_samples=1_000_000 * batch_size)
    yield from DataLoader(pictures, batch_size=batch_size, sampler=sampler, num_workers=workers, pin_memory=pinned)


def amp_step(job: Job, images: Tensor, targets: Tensor, *, ignore_index: int) -> Tensor:
    """Do one step of the usual kind on a GPU and return the loss, unread.

    bf16 autocast, channels_last, cross-entropy on each head by torch, fused optimizer.
    """
    device = job.loop.compute.device
    images = images.to(device, non_blocking=True).contiguous(memory_format=torch.channels_last)
    targets = targets.to(device, non_blocking=True)
    job.model.train()
    job.optimizer.zero_grad(set_to_none=True)
    with torch.autocast(device.type, dtype=torch.bfloat16):
        pairs = job.model.training_pairs(images, targets)
        losses = [F.cross_entropy(logits, target, ignore_index=ignore_index) for logits, target in pairs.values()]
        total = torch.stack(losses).sum()
    total.backward()  # type: ignore[no-untyped-call]
    job.optimizer.step()
    return total.detach()


def plain_step(job: Job, images: Tensor, targets: Tensor, *, iteration: int, ignore_index: int) -> float:
    """Do one step in fp32 and return the loss."""
    job.model.train()
    set_rates(job.optimizer, job.loop.schedule, iteration)
    job.optimizer.zero_grad(set_to_none=True)
    pairs = job.model.training_pairs(images, targets)
    losses = [job.loop.criteria[name](logits, target, ignore_index) for name, (logits, target) in pairs.items()]
    total = torch.stack(losses).sum()
    total.backward()  # type: ignore[no-untyped-call]
    job.optimizer.step()
    return float(total.detach())
