"""What travels from the reading of an image to the changing of its pixels: draws, regions, batches of regions."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from maskline.augment.color_jitter import Steps
from maskline.augment.color_matrix import Photometric
from maskline.augment.extra import Extra
from maskline.augment.geometric import Geometry
from maskline.augment.mixing import Mix
from maskline.augment.pixel_ops import Effect
from maskline.augment.resident import Resident

_NAMES = {"tilt": "perspective", "clahe_clip": "clahe"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Draw:
    """Everything random about one training sample; None where nothing of the kind is switched on."""

    geometry: Geometry
    photometric: Photometric
    steps: Steps | None
    effect: Effect | None
    mix: Mix | None
    extra: tuple[Extra, ...] | None = None

    def happened(self) -> tuple[str, ...]:
        """Return what not every sample undergoes and this one did: names, with the numbers of kornia's transforms."""
        seen = {} if self.geometry.bend is None else asdict(self.geometry.bend)
        seen |= {} if self.effect is None else asdict(self.effect)
        seen |= {} if self.mix is None else asdict(self.mix)
        seen = {
            "blur": self.photometric.blur_sigma or None,
            "noise": self.photometric.noise_std or None,
            **seen,
        }
        did = [key for key, value in seen.items() if value is not None and value is not False and value != ()]
        rows = [each.in_words() for each in self.extra or () if each.happens]
        return (*(_NAMES.get(key, key.replace("_", " ")) for key in did if key != "rotates"), *rows)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types, without what did not happen."""
        return {name: _without_none(part) for name, part in asdict(self).items() if part is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """The part of one source image that a sample reads, with its draw.

    Args:
        image: HWC uint8; with soft labels, their planes follow the image's channels.
        mask: HW integer class ids.
        valid: HW bool, or None: all is valid, or nobody asked.
        second: HW class ids by a second observer, or None.
        transform: 3x3, output pixel to source pixel.
        box: Top, left, bottom, right of the region in the source.
        size: Height and width of the source.
        draw: The drawn parameters.
    """

    image: np.ndarray
    mask: np.ndarray
    valid: np.ndarray | None
    second: np.ndarray | None
    transform: np.ndarray
    box: tuple[int, int, int, int]
    size: tuple[int, int]
    draw: Draw


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionBatch:
    """Regions of a batch as tensors, padded on the right and bottom to one size.

    Args:
        images: NCHW uint8, with the planes of soft labels behind them; of a split that is kept on a device an empty
            tensor, as the masks.
        masks: NHW uint8, or int32 above 255.
        valid: NHW uint8, or None.
        second: NHW as ``masks``, or None.
        transforms: N33 float32.
        boxes: N4 float32.
        sizes: N2 float32.
        draws: N entries.
        positions: Of each row in the whole batch.
        count: Rows that are samples; those after it only lend pixels.
        resident: The split on a device, from which the regions are cut out; None: they are here.
        starts: There, the first pixel of each row's image.
        region_size: There, height and width of the largest region.
    """

    images: Tensor
    masks: Tensor
    valid: Tensor | None
    second: Tensor | None
    transforms: Tensor
    boxes: Tensor
    sizes: Tensor
    draws: tuple[Draw, ...]
    positions: tuple[int, ...]
    count: int
    resident: Resident | None = None
    starts: tuple[int, ...] = ()
    region_size: tuple[int, int] = (0, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Augmented:
    """The batch that the network sees.

    Args:
        images: NCHW float32, normalized.
        targets: NHW int64, the ignore index outside the source.
        valid: NHW bool, False outside the source; None where the batch has none.
        second: NHW int64 as ``targets``; None where the batch has none.
        other_targets: With mixup, the targets of the samples that these are blended with; else None.
        share: Of ``targets`` in the loss; the rest is that of ``other_targets``.
        soft: Soft labels, NCHW float32, which sum to 1 at a pixel, or are 0 where there are none; None: nowhere.
        other_soft: With mixup, those of the samples that these are blended with; else None.
    """

    images: Tensor
    targets: Tensor
    valid: Tensor | None
    second: Tensor | None
    other_targets: Tensor | None
    share: float
    soft: Tensor | None = None
    other_soft: Tensor | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AugmentedSample:
    """One training sample as a person looks at it.

    Args:
        id: Of the source image.
        iteration: Where in training it stands.
        position: Where in that iteration's samples.
        source_image: HW3 uint8, whole.
        source_mask: HW class ids.
        image: HW3 uint8, augmented.
        mask: HW int64 class ids or the ignore index, augmented.
        valid: HW bool, augmented; None where the image has no valid-area mask.
        second: HW int64, augmented; None where there is no second observer.
        other_mask: With mixup, the mask of the other image.
        pixels: 3HW float32: what the network gets.
        draw: What was drawn.
    """

    id: str
    iteration: int
    position: int
    source_image: np.ndarray
    source_mask: np.ndarray
    image: np.ndarray
    mask: np.ndarray
    valid: np.ndarray | None
    second: np.ndarray | None
    other_mask: np.ndarray | None
    pixels: np.ndarray
    draw: Draw


def collate(
    regions: Sequence[Region],
    *,
    positions: Sequence[int],
    count: int,
    annotations: bool,
    ignore_index: int,
    resident: Resident | None = None,
    starts: Sequence[int] = (),
) -> RegionBatch:
    """Stack regions of different sizes; what is added on the right and bottom is never read.

    Args:
        regions: The batch.
        positions: Of each region in the whole batch.
        count: Regions that are samples; those after it only lend pixels.
        annotations: Whether valid-area masks and second annotations are wanted.
        ignore_index: Of a second annotation that an image does not have.
        resident: The split on a device, where it is kept; no pixels are stacked then.
        starts: There, the first pixel of each region's image.
    """
    size = (max(region.mask.shape[0] for region in regions), max(region.mask.shape[1] for region in regions))
    valid = second = None
    if annotations:
        valid = _stacked([_given(region.valid, region.mask, 1) for region in regions], size)
        second = _stacked([_given(region.second, region.mask, ignore_index) for region in regions], size)
    return RegionBatch(
        images=_images([region.image for region in regions], size) if resident is None else torch.empty(0),
        masks=_stacked([region.mask for region in regions], size) if resident is None else torch.empty(0),
        valid=valid,
        second=second,
        transforms=torch.from_numpy(np.stack([region.transform for region in regions]).astype(np.float32)),
        boxes=torch.tensor([region.box for region in regions], dtype=torch.float32),
        sizes=torch.tensor([region.size for region in regions], dtype=torch.float32),
        draws=tuple(region.draw for region in regions),
        positions=tuple(positions),
        count=count,
        resident=resident,
        starts=tuple(starts),
        region_size=size,
    )


def _images(parts: Sequence[np.ndarray], size: tuple[int, int]) -> Tensor:
    """Return NCHW uint8."""
    images = np.zeros((len(parts), parts[0].shape[2], *size), dtype=np.uint8)
    for i, part in enumerate(parts):
        images[i, :, : part.shape[0], : part.shape[1]] = part.transpose(2, 0, 1)
    return torch.from_numpy(images)


def _given(labels: np.ndarray | None, like: np.ndarray, value: int) -> np.ndarray:
    if labels is not None:
        return labels.astype(np.uint8) if labels.dtype == np.bool_ else labels
    return np.full(like.shape, value, dtype=np.min_scalar_type(value))


def _stacked(masks: Sequence[np.ndarray], size: tuple[int, int]) -> Tensor:
    wide = any(mask.dtype.itemsize > 1 for mask in masks)
    stack = np.zeros((len(masks), *size), dtype=np.int32 if wide else np.uint8)
    for i, mask in enumerate(masks):
        stack[i, : mask.shape[0], : mask.shape[1]] = mask
    return torch.from_numpy(stack)


def _without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_none(each) for key, each in value.items() if each is not None}
    if isinstance(value, list | tuple):
        return [_without_none(each) for each in value]
    return value
