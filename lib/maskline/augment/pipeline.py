"""The training augmentation: parameters drawn per sample where the image is read, pixels changed on the device."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from maskline.augment import geometric, photometric
from maskline.seeds import numpy_generator


@dataclass(frozen=True, slots=True)
class Draw:
    """Everything random about one training sample."""

    geometry: geometric.Geometry
    photometric: photometric.Photometric

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return {"geometry": asdict(self.geometry), "photometric": asdict(self.photometric)}


@dataclass(frozen=True, slots=True)
class Region:
    """The part of one source image that a sample reads, with its draw.

    Args:
        image: HWC uint8.
        mask: HW integer class ids.
        transform: 2x3, output pixel to source pixel.
        box: Top, left, bottom, right of the region in the source.
        size: Height and width of the source.
        draw: The drawn parameters.
    """

    image: np.ndarray
    mask: np.ndarray
    transform: np.ndarray
    box: tuple[int, int, int, int]
    size: tuple[int, int]
    draw: Draw


@dataclass(frozen=True, slots=True)
class RegionBatch:
    """Regions of a batch as tensors, padded on the right and bottom to one size.

    Args:
        images: NCHW uint8.
        masks: NHW uint8, or int32 above 255.
        transforms: N23 float32.
        boxes: N4 float32.
        sizes: N2 float32.
        draws: N entries.
    """

    images: Tensor
    masks: Tensor
    transforms: Tensor
    boxes: Tensor
    sizes: Tensor
    draws: tuple[Draw, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AugmentedSample:
    """One training sample as a person looks at it.

    Args:
        id: Of the source image.
        iteration: Where in training it stands.
        position: Where in that iteration's batch.
        source_image: HW3 uint8, whole.
        source_mask: HW class ids.
        image: HW3 uint8, augmented.
        mask: HW int64 class ids or the ignore index, augmented.
        draw: What was drawn.
    """

    id: str
    iteration: int
    position: int
    source_image: np.ndarray
    source_mask: np.ndarray
    image: np.ndarray
    mask: np.ndarray
    draw: Draw


@dataclass(frozen=True, slots=True, kw_only=True)
class Augmentation:
    """Settings of the training augmentation; see the ``augment`` section of params.yaml for each."""

    crop_size: tuple[int, int]
    ratio_range: tuple[float, float]
    cat_max_ratio: float
    rotate_degrees: float
    flip_horizontal: float
    flip_vertical: float
    photometric_prob: float
    brightness: float
    contrast: tuple[float, float]
    saturation: tuple[float, float]
    hue_degrees: float
    blur_prob: float
    blur_sigma: tuple[float, float]
    noise_prob: float
    noise_std: float
    ignore_index: int
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def draw(self, mask: np.ndarray, *, seed: int, iteration: int, position: int) -> Draw:
        """Draw one sample's parameters: a function of the mask and (seed, iteration, position) alone."""
        rng = numpy_generator(seed, "augment", iteration, position)
        geometry = geometric.draw(
            rng,
            mask,
            crop_size=self.crop_size,
            ratio_range=self.ratio_range,
            cat_max_ratio=self.cat_max_ratio,
            rotate_degrees=self.rotate_degrees,
            flip_horizontal=self.flip_horizontal,
            flip_vertical=self.flip_vertical,
            ignore_index=self.ignore_index,
        )
        colours = photometric.draw(
            rng,
            prob=self.photometric_prob,
            brightness=self.brightness,
            contrast=self.contrast,
            saturation=self.saturation,
            hue_degrees=self.hue_degrees,
            blur_prob=self.blur_prob,
            blur_sigma=self.blur_sigma,
            noise_prob=self.noise_prob,
            noise_std=self.noise_std,
        )
        return Draw(geometry, colours)

    def region(self, image: np.ndarray, mask: np.ndarray, draw: Draw) -> Region:
        """Cut out what the sample will read, so that only that travels to the device.

        Args:
            image: HWC uint8, the whole source.
            mask: HW integer class ids.
            draw: From ``draw``.
        """
        size = (int(mask.shape[0]), int(mask.shape[1]))
        transform = geometric.matrix(draw.geometry, size=size, crop_size=self.crop_size)
        box = geometric.source_box(transform, size=size, crop_size=self.crop_size)
        top, left, bottom, right = box
        return Region(image[top:bottom, left:right], mask[top:bottom, left:right], transform, box, size, draw)

    def apply(self, batch: RegionBatch, device: torch.device) -> tuple[Tensor, Tensor]:
        """Make the batch that the network sees, on the device.

        Returns:
            Images NCHW float32, normalised, ``crop_size`` large; targets NHW int64 with ``ignore_index`` outside
            the source.
        """
        mean = torch.tensor(self.mean, device=device)
        images, targets = geometric.warp(
            batch.images.to(device).float(),
            batch.masks.to(device).long(),
            transforms=batch.transforms.to(device),
            boxes=batch.boxes.to(device),
            sizes=batch.sizes.to(device),
            crop_size=self.crop_size,
            fill=mean,
            ignore_index=self.ignore_index,
        )
        images = photometric.apply(images, [draw.photometric for draw in batch.draws])
        return normalize(images, self.mean, self.std), targets


def normalize(images: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Return ``(images - mean) / std`` a channel, NCHW float32; all three in grey levels of 255."""
    shape = (1, len(mean), 1, 1)
    offset = torch.tensor(tuple(mean), device=images.device).view(shape)
    return (images.float() - offset) / torch.tensor(tuple(std), device=images.device).view(shape)


def denormalize(image: Tensor, mean: Sequence[float], std: Sequence[float]) -> np.ndarray:
    """Undo ``normalize`` for one image CHW: HWC uint8."""
    grey = image.permute(1, 2, 0).cpu().numpy() * np.asarray(std) + np.asarray(mean)
    return np.asarray(grey.round().clip(0, 255).astype(np.uint8))


def collate(regions: Sequence[Region]) -> RegionBatch:
    """Stack regions of different sizes; what is added on the right and bottom is never read."""
    height = max(region.mask.shape[0] for region in regions)
    width = max(region.mask.shape[1] for region in regions)
    channels = regions[0].image.shape[2]
    images = np.zeros((len(regions), channels, height, width), dtype=np.uint8)
    wide = any(region.mask.dtype.itemsize > 1 for region in regions)
    masks = np.zeros((len(regions), height, width), dtype=np.int32 if wide else np.uint8)
    for i, region in enumerate(regions):
        rows, columns = region.mask.shape
        images[i, :, :rows, :columns] = region.image.transpose(2, 0, 1)
        masks[i, :rows, :columns] = region.mask
    return RegionBatch(
        images=torch.from_numpy(images),
        masks=torch.from_numpy(masks),
        transforms=torch.from_numpy(np.stack([region.transform for region in regions]).astype(np.float32)),
        boxes=torch.tensor([region.box for region in regions], dtype=torch.float32),
        sizes=torch.tensor([region.size for region in regions], dtype=torch.float32),
        draws=tuple(region.draw for region in regions),
    )
