"""Scale, crop, rotation, bends and flips as one warp a sample.

All operations are composed into one matrix that maps an output pixel to a source position, and the image is
resampled once (bilinear), each mask once (nearest). Where the source position lies outside the image, the image gets
the fill value and the mask the ignore index. Inside, positions beyond the centres of the outermost pixels repeat
those pixels, as a resize does.

Semantics follow MMSegmentation 1.2.2 (Apache-2.0): RandomResize (``maskline.augment.resize``), RandomCrop with
``cat_max_ratio`` (ten further tries, the last box is taken unchecked; ignored pixels do not count), RandomFlip, and
padding at the right and the bottom, also of a mirrored image that is smaller than the crop. Not the same: masks are
resampled at pixel centres, where OpenCV's nearest takes the upper left neighbour, so that image and mask stay aligned.
"""

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from maskline.augment import deform
from maskline.augment.deform import Bend

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
        bend: What else happens, after the flips; or None.
    """

    scaled_size: tuple[int, int]
    crop_origin: tuple[int, int]
    rotate_degrees: float
    flip_horizontal: bool
    flip_vertical: bool
    bend: Bend | None


class Classes(Protocol):
    """Where the classes of a mask are; ``maskline.augment.class_index.ClassIndex`` is one."""

    classes: list[int]
    """Those that occur; without the ignore index."""

    def is_mixed(self, mask: np.ndarray, rows: slice, columns: slice, *, cat_max_ratio: float) -> bool:
        """Return whether a box of the mask has more than one class, and none has more than the share."""

    def find(self, mask: np.ndarray, class_: int, number: float) -> tuple[int, int]:
        """Return row and column of a pixel of a class; 0 <= number < 1 says which."""


def draw(
    rng: np.random.Generator,
    mask: np.ndarray,
    *,
    scaled: tuple[int, int],
    crop_size: tuple[int, int],
    cat_max_ratio: float,
    rotate_degrees: float,
    flip_horizontal: float,
    flip_vertical: float,
    ignore_index: int,
    index: Classes | None,
) -> Geometry:
    """Draw the geometry of one sample.

    Args:
        rng: The sample's own generator; always advanced by the same draws for the same mask.
        mask: HW integer class ids, read for ``cat_max_ratio`` only.
        scaled: Height and width that the image is scaled to.
        crop_size: Height and width of the output, px.
        cat_max_ratio: Largest share of one class in the crop; 1 switches the check off.
        rotate_degrees: Largest rotation to either side.
        flip_horizontal: Probability.
        flip_vertical: Probability.
        ignore_index: Mask value that does not count for ``cat_max_ratio``.
        index: Of the mask; the crop is the same without, but found more slowly.
    """
    origin = _draw_origin(rng, scaled, crop_size)
    if cat_max_ratio < 1:
        for _ in range(_TRIES):
            rows, columns = _source_slices(mask, scaled, origin, crop_size)
            if index is not None and index.is_mixed(mask, rows, columns, cat_max_ratio=cat_max_ratio):
                break
            if index is None and _is_mixed(mask[rows, columns], cat_max_ratio=cat_max_ratio, ignore_index=ignore_index):
                break
            origin = _draw_origin(rng, scaled, crop_size)
    angle, horizontal, vertical = rng.uniform(-1, 1), rng.random(), rng.random()
    return Geometry(
        scaled_size=scaled,
        crop_origin=origin,
        rotate_degrees=float(angle * rotate_degrees),
        flip_horizontal=bool(horizontal < flip_horizontal),
        flip_vertical=bool(vertical < flip_vertical),
        bend=None,
    )


def aimed(
    geometry: Geometry,
    rng: np.random.Generator,
    mask: np.ndarray,
    index: Classes,
    *,
    crop_size: tuple[int, int],
) -> Geometry:
    """Return the geometry with its crop laid over a pixel of a class: each that occurs is as likely as the others.

    The pixel can come to lie anywhere in the crop, within the image's edges.

    Args:
        geometry: From ``draw``.
        rng: Of the sample.
        mask: HW class ids.
        index: Of the mask.
        crop_size: Height and width of the output.
    """
    pixel = index.find(mask, index.classes[int(rng.integers(len(index.classes)))], float(rng.random()))
    row, column = (
        int(np.clip((place + 0.5) * scaled / full - rng.random() * crop, 0, max(scaled - crop, 0)))
        for place, full, scaled, crop in zip(pixel, mask.shape, geometry.scaled_size, crop_size, strict=True)
    )
    return replace(geometry, crop_origin=(row, column))


def bent(geometry: Geometry, bend: Bend) -> Geometry:
    """Return the geometry with a bend; a rotation that the bend says no to is gone."""
    return replace(geometry, bend=bend, rotate_degrees=geometry.rotate_degrees if bend.rotates else 0.0)


def matrix(geometry: Geometry, *, size: tuple[int, int], crop_size: tuple[int, int]) -> np.ndarray:
    """Return the 3x3 float64 matrix from output pixel (x, y, 1) to source pixel; centres at whole numbers.

    The third row of the product is 1 unless there is a perspective; else the first two are to be divided by it.
    """
    crop_height, crop_width = crop_size
    centre_x, centre_y = (crop_width - 1) / 2, (crop_height - 1) / 2
    flip = np.diag([-1.0 if geometry.flip_horizontal else 1.0, -1.0 if geometry.flip_vertical else 1.0, 1.0])
    # An image that is smaller than the crop is mirrored within itself: what is added stays at the right and bottom.
    added_x = max(crop_width - geometry.scaled_size[1], 0) if geometry.flip_horizontal else 0
    added_y = max(crop_height - geometry.scaled_size[0], 0) if geometry.flip_vertical else 0
    cos, sin = np.cos(np.radians(geometry.rotate_degrees)), np.sin(np.radians(geometry.rotate_degrees))
    # Seen from the output, the source turns the other way.
    turn = np.array([[cos, sin, 0.0], [-sin, cos, 0.0], [0.0, 0.0, 1.0]])
    to_scaled = _shift(centre_x + geometry.crop_origin[1], centre_y + geometry.crop_origin[0])
    scale_y, scale_x = size[0] / geometry.scaled_size[0], size[1] / geometry.scaled_size[1]
    to_source = np.array([[scale_x, 0.0, scale_x / 2 - 0.5], [0.0, scale_y, scale_y / 2 - 0.5], [0.0, 0.0, 1.0]])
    to_flipped = _shift(-centre_x + added_x, -centre_y + added_y)
    if geometry.bend is not None:
        from_centre = deform.matrix(geometry.bend, crop_size=crop_size)
        to_flipped = _shift(added_x, added_y) @ from_centre @ _shift(-centre_x, -centre_y)
    composed = to_source @ to_scaled @ turn @ flip @ to_flipped
    return np.asarray(composed / composed[2, 2])


def source_box(
    transform: np.ndarray, *, size: tuple[int, int], crop_size: tuple[int, int], beyond: float
) -> tuple[int, int, int, int]:
    """Return (top, left, bottom, right) of the source pixels that the output reads; at least one pixel.

    Args:
        transform: As ``matrix`` returns it.
        size: Height and width of the source, px.
        crop_size: Height and width of the output, px.
        beyond: How far an elastic deformation reads beyond the output, px.
    """
    height, width = size
    columns, rows = ((-beyond, side - 1 + beyond) for side in (crop_size[1], crop_size[0]))
    corners = np.array([[x, y, 1.0] for x in columns for y in rows])
    x, y, depth = transform @ corners.T
    x, y = x / depth, y / depth
    left, right = _clipped(x.min(), x.max(), width)
    top, bottom = _clipped(y.min(), y.max(), height)
    return top, left, bottom, right


def _draw_origin(rng: np.random.Generator, scaled: tuple[int, int], crop_size: tuple[int, int]) -> tuple[int, int]:
    room = [max(length - crop, 0) for length, crop in zip(scaled, crop_size, strict=True)]
    return int(rng.integers(room[0] + 1)), int(rng.integers(room[1] + 1))


def _source_slices(
    mask: np.ndarray, scaled: tuple[int, int], origin: tuple[int, int], crop_size: tuple[int, int]
) -> tuple[slice, slice]:
    """Return the rows and columns of the source under the crop, unrotated."""
    rows, columns = (
        slice(int(start * full / scaled_to), max(int(np.ceil((start + crop) * full / scaled_to)), 1))
        for start, crop, full, scaled_to in zip(origin, crop_size, mask.shape, scaled, strict=True)
    )
    return rows, columns


def _is_mixed(mask: np.ndarray, *, cat_max_ratio: float, ignore_index: int) -> bool:
    """Return whether the crop has more than one class and none above the share.

    Counted on the source pixels under the crop: shares do not depend on the scale.
    """
    counts = np.bincount(mask.ravel(), minlength=ignore_index + 1)
    counts[ignore_index] = 0
    return bool((counts > 0).sum() > 1 and counts.max() / counts.sum() < cat_max_ratio)


def _clipped(low: float, high: float, length: int) -> tuple[int, int]:
    """Return the range of whole pixels for positions low..high, one to spare, at least one pixel long."""
    start = int(np.clip(np.floor(low) - 1, 0, length - 1))
    stop = int(np.clip(np.ceil(high) + 2, start + 1, length))
    return start, stop


def _shift(x: float, y: float) -> np.ndarray:
    return np.array([[1.0, 0.0, x], [0.0, 1.0, y], [0.0, 0.0, 1.0]])
