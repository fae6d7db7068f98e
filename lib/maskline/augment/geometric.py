"""Scale, crop, rotation and flips as one warp a sample.

All operations are composed into one matrix that maps an output pixel to a source position, and the image is
resampled once (bilinear), the mask once (nearest). Where the source position lies outside the image, the image gets
the fill value and the mask the ignore index. Inside, positions beyond the centres of the outermost pixels repeat
those pixels, as a resize does.

Semantics follow MMSegmentation 1.2.2 (Apache-2.0): RandomResize with ``ratio_range`` and kept aspect, RandomCrop with
``cat_max_ratio`` (ten further tries, the last box is taken unchecked; ignored pixels do not count), RandomFlip. Not
the same: masks are resampled at pixel centres, where OpenCV's nearest takes the upper left neighbour, so that image
and mask stay aligned.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

_TRIES = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Geometry:
    """Where one output comes from. All fields are plain numbers, so that it can be written as JSON and replayed.

    Args:
        scaled_size: Height and width the image is scaled to, px.
        crop_origin: Row and column of the crop's corner in the scaled image, px.
        rotate_degrees: Rotation about the crop's centre, positive is clockwise.
        flip_horizontal: Mirror left and right, after the crop.
        flip_vertical: Mirror top and bottom, after the crop.
    """

    scaled_size: tuple[int, int]
    crop_origin: tuple[int, int]
    rotate_degrees: float
    flip_horizontal: bool
    flip_vertical: bool


def scaled_size(size: tuple[int, int], ratio: float) -> tuple[int, int]:
    """Return the size that MMSegmentation's RandomResize gives an image for one drawn ratio, aspect kept.

    Args:
        size: Height and width, px; the base scale is the image's own size.
        ratio: Drawn factor, above 0.
    """
    height, width = size
    return rescaled_size(size, (int(width * ratio), int(height * ratio)))


def rescaled_size(size: tuple[int, int], target: tuple[int, int]) -> tuple[int, int]:
    """Return the largest (height, width) that fits ``target`` in either orientation with the aspect kept."""
    height, width = size
    factor = min(max(target) / max(height, width), min(target) / min(height, width))
    return max(int(height * factor + 0.5), 1), max(int(width * factor + 0.5), 1)


def draw(
    rng: np.random.Generator,
    mask: np.ndarray,
    *,
    crop_size: tuple[int, int],
    ratio_range: tuple[float, float],
    cat_max_ratio: float,
    rotate_degrees: float,
    flip_horizontal: float,
    flip_vertical: float,
    ignore_index: int,
) -> Geometry:
    """Draw the geometry of one sample.

    Args:
        rng: The sample's own generator; always advanced by the same draws for the same mask.
        mask: HW integer class ids, read for ``cat_max_ratio`` only.
        crop_size: Height and width of the output, px.
        ratio_range: Scale factors, uniform.
        cat_max_ratio: Largest share of one class in the crop; 1 switches the check off.
        rotate_degrees: Largest rotation to either side.
        flip_horizontal: Probability.
        flip_vertical: Probability.
        ignore_index: Mask value that does not count for ``cat_max_ratio``.
    """
    size = (int(mask.shape[0]), int(mask.shape[1]))
    scaled = scaled_size(size, float(rng.uniform(*ratio_range)))
    origin = _draw_origin(rng, scaled, crop_size)
    if cat_max_ratio < 1:
        for _ in range(_TRIES):
            if _is_mixed(mask, scaled, origin, crop_size, cat_max_ratio=cat_max_ratio, ignore_index=ignore_index):
                break
            origin = _draw_origin(rng, scaled, crop_size)
    angle, horizontal, vertical = rng.uniform(-1, 1), rng.random(), rng.random()
    return Geometry(
        scaled_size=scaled,
        crop_origin=origin,
        rotate_degrees=float(angle * rotate_degrees),
        flip_horizontal=bool(horizontal < flip_horizontal),
        flip_vertical=bool(vertical < flip_vertical),
    )


def matrix(geometry: Geometry, *, size: tuple[int, int], crop_size: tuple[int, int]) -> np.ndarray:
    """Return the 2x3 float64 matrix from output pixel (x, y, 1) to source pixel (x, y); centres at whole numbers."""
    crop_height, crop_width = crop_size
    centre_x, centre_y = (crop_width - 1) / 2, (crop_height - 1) / 2
    flip = np.diag([-1.0 if geometry.flip_horizontal else 1.0, -1.0 if geometry.flip_vertical else 1.0, 1.0])
    cos, sin = np.cos(np.radians(geometry.rotate_degrees)), np.sin(np.radians(geometry.rotate_degrees))
    # Seen from the output, the source turns the other way.
    rotate = np.array([[cos, sin, 0.0], [-sin, cos, 0.0], [0.0, 0.0, 1.0]])
    to_scaled = _shift(centre_x + geometry.crop_origin[1], centre_y + geometry.crop_origin[0])
    scale_y, scale_x = size[0] / geometry.scaled_size[0], size[1] / geometry.scaled_size[1]
    to_source = np.array([[scale_x, 0.0, scale_x / 2 - 0.5], [0.0, scale_y, scale_y / 2 - 0.5], [0.0, 0.0, 1.0]])
    composed = to_source @ to_scaled @ rotate @ flip @ _shift(-centre_x, -centre_y)
    return np.asarray(composed[:2])


def source_box(
    transform: np.ndarray, *, size: tuple[int, int], crop_size: tuple[int, int]
) -> tuple[int, int, int, int]:
    """Return (top, left, bottom, right) of the source pixels that the output reads; at least one pixel.

    Args:
        transform: As ``matrix`` returns it.
        size: Height and width of the source, px.
        crop_size: Height and width of the output, px.
    """
    height, width = size
    corners = np.array([[x, y, 1.0] for x in (0, crop_size[1] - 1) for y in (0, crop_size[0] - 1)])
    x, y = transform @ corners.T
    left, right = _clipped(x.min(), x.max(), width)
    top, bottom = _clipped(y.min(), y.max(), height)
    return top, left, bottom, right


def warp(
    images: Tensor,
    masks: Tensor,
    *,
    transforms: Tensor,
    boxes: Tensor,
    sizes: Tensor,
    crop_size: tuple[int, int],
    fill: Tensor,
    ignore_index: int,
) -> tuple[Tensor, Tensor]:
    """Resample a batch of source regions, each by its own matrix.

    Args:
        images: NCHW float; regions of the sources, padded on the right and bottom to one size.
        masks: NHW integer, class ids of the same regions.
        transforms: N23 float32, output pixel to source pixel (of the whole source, not of the region).
        boxes: N4 float32, top, left, bottom, right of each region in its source.
        sizes: N2 float32, height and width of each source.
        crop_size: Height and width of the output.
        fill: C float, image value outside the source.
        ignore_index: Mask value outside the source.

    Returns:
        Images NCHW as the input's type; masks NHW int64.
    """
    x, y = _source_positions(transforms, crop_size)
    height, width = sizes[:, 0, None, None], sizes[:, 1, None, None]
    inside = (x >= -0.5) & (x <= width - 0.5) & (y >= -0.5) & (y <= height - 0.5)
    top, left, bottom, right = (boxes[:, i, None, None] for i in range(4))
    # Within the region: its edge is the source's edge wherever a position inside the source lies beyond it.
    x = x.maximum(left).minimum(right - 1)
    y = y.maximum(top).minimum(bottom - 1)
    # Rounded in the source's own coordinates, so that a tie falls the same way whatever the region.
    column, row = (x + 0.5).floor() - left, (y + 0.5).floor() - top
    labels = masks.flatten(1).gather(1, (row * masks.shape[2] + column).long().flatten(1)).view_as(x)
    grid = torch.stack([(2 * (x - left) + 1) / images.shape[3] - 1, (2 * (y - top) + 1) / images.shape[2] - 1], dim=-1)
    warped = F.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)
    return torch.where(inside[:, None], warped, fill[None, :, None, None]), torch.where(inside, labels, ignore_index)


def _source_positions(transforms: Tensor, crop_size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    rows = torch.arange(crop_size[0], dtype=torch.float32, device=transforms.device)[None, :, None]
    columns = torch.arange(crop_size[1], dtype=torch.float32, device=transforms.device)[None, None, :]
    a = transforms[:, :, :, None, None]
    x = a[:, 0, 0] * columns + a[:, 0, 1] * rows + a[:, 0, 2]
    y = a[:, 1, 0] * columns + a[:, 1, 1] * rows + a[:, 1, 2]
    return x, y


def _draw_origin(rng: np.random.Generator, scaled: tuple[int, int], crop_size: tuple[int, int]) -> tuple[int, int]:
    room = [max(length - crop, 0) for length, crop in zip(scaled, crop_size, strict=True)]
    return int(rng.integers(room[0] + 1)), int(rng.integers(room[1] + 1))


def _is_mixed(
    mask: np.ndarray,
    scaled: tuple[int, int],
    origin: tuple[int, int],
    crop_size: tuple[int, int],
    *,
    cat_max_ratio: float,
    ignore_index: int,
) -> bool:
    """Return whether the crop has more than one class and none above the share.

    Counted on the source pixels under the crop, unrotated: shares do not depend on the scale.
    """
    rows, columns = (
        slice(int(start * full / scaled_to), max(int(np.ceil((start + crop) * full / scaled_to)), 1))
        for start, crop, full, scaled_to in zip(origin, crop_size, mask.shape, scaled, strict=True)
    )
    counts = np.bincount(mask[rows, columns].ravel(), minlength=ignore_index + 1)
    counts[ignore_index] = 0
    return bool((counts > 0).sum() > 1 and counts.max() / counts.sum() < cat_max_ratio)


def _clipped(low: float, high: float, length: int) -> tuple[int, int]:
    """Return the range of whole pixels for positions low..high, one to spare, at least one pixel long."""
    start = int(np.clip(np.floor(low) - 1, 0, length - 1))
    stop = int(np.clip(np.ceil(high) + 2, start + 1, length))
    return start, stop


def _shift(x: float, y: float) -> np.ndarray:
    return np.array([[1.0, 0.0, x], [0.0, 1.0, y], [0.0, 0.0, 1.0]])
