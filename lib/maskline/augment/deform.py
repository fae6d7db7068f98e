"""Shear, shift, perspective and elastic deformation: what joins the one warp of a sample.

Shear, shift and perspective are one matrix about the crop's centre, which ``maskline.augment.geometric`` composes with
the scale, the rotation and the flips. An elastic deformation moves the output's positions before that matrix; so image
and masks are still resampled once.

Source: the elastic field is a cubic B-spline over a grid of control points (Rueckert et al. 1999, Nonrigid registration
using free-form deformations). It never folds while no control point moves further than 0.48 of the spacing (Choi and
Lee 2000, Injectivity conditions of 2D and 3D uniform cubic B-spline functions).
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from maskline.core.seeds import numpy_generator

FOLD_FREE = 0.48  # largest movement of a control point over the spacing


@dataclass(frozen=True, slots=True, kw_only=True)
class Affine:
    """Shear and shift of one sample.

    Args:
        shear_degrees: Horizontal and vertical; positive moves the lower rows, the right columns forward.
        translate_px: Right and down, px of the crop.
    """

    shear_degrees: tuple[float, float]
    translate_px: tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Elastic:
    """An elastic deformation of one sample; its field follows from these numbers.

    Args:
        magnitude_px: Largest movement on each axis, px of the crop.
        spacing_px: Distance of the control points.
        seed: Of their movements.
    """

    magnitude_px: float
    spacing_px: float
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Bend:
    """What bends one sample.

    Args:
        rotates: Whether the drawn rotation happens.
        affine: Shear and shift, or None.
        tilt: Horizontal and vertical perspective: how far the crop's right and lower border lie behind its centre, as
            a share of the distance; None: seen straight.
        elastic: None: none.
    """

    rotates: bool
    affine: Affine | None
    tilt: tuple[float, float] | None
    elastic: Elastic | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Deform:
    """Settings; see ``augment.affine``, ``perspective``, ``elastic`` and ``rotate_prob`` of params.yaml."""

    rotate_prob: float
    affine_prob: float
    shear_degrees: float
    translate: float
    perspective_prob: float
    tilt: float
    elastic_prob: float
    magnitude_px: float
    spacing_px: float

    def draw(self, rng: np.random.Generator, crop_size: tuple[int, int]) -> Bend:
        """Draw for one sample; every number is drawn whether it is used or not."""
        happens = rng.random(4)
        shear = rng.uniform(-1, 1, 2) * self.shear_degrees
        shift = rng.uniform(-1, 1, 2) * self.translate * np.array(crop_size[::-1])
        tilt = rng.uniform(-1, 1, 2) * self.tilt / 2
        seed = int(rng.integers(2**32))
        affine = Affine(shear_degrees=_pair(shear), translate_px=_pair(shift))
        elastic = Elastic(magnitude_px=self.magnitude_px, spacing_px=self.spacing_px, seed=seed)
        return Bend(
            rotates=bool(happens[0] < self.rotate_prob),
            affine=affine if happens[1] < self.affine_prob else None,
            tilt=_pair(tilt) if happens[2] < self.perspective_prob else None,
            elastic=elastic if happens[3] < self.elastic_prob else None,
        )


def matrix(bend: Bend, *, crop_size: tuple[int, int]) -> np.ndarray:
    """Return the 3x3 float64 matrix from an output position to the position before the bend, both from the centre."""
    before = np.eye(3)
    if bend.affine is not None:
        horizontal, vertical = (math.tan(math.radians(degrees)) for degrees in bend.affine.shear_degrees)
        x, y = bend.affine.translate_px
        forward = np.array([[1.0, horizontal, 0.0], [vertical, 1.0, 0.0], [0.0, 0.0, 1.0]])
        before = np.linalg.inv(forward) @ np.array([[1.0, 0.0, -x], [0.0, 1.0, -y], [0.0, 0.0, 1.0]])
    if bend.tilt is not None:
        # Positions that an elastic field moves beyond the crop must not pass the horizon.
        beyond = bend.elastic.magnitude_px if bend.elastic is not None else 0.0
        half = [max((side - 1) / 2, 0.5) + beyond for side in (crop_size[1], crop_size[0])]
        far = np.eye(3)
        far[2, :2] = [-share / length for share, length in zip(bend.tilt, half, strict=True)]
        before = before @ far
    return before


def field(elastic: Elastic, crop_size: tuple[int, int]) -> Tensor:
    """Return where each output pixel reads: (2, height, width) float32, movements in x and y, px of the crop."""
    rows, columns = (weights(side, elastic.spacing_px) for side in crop_size)
    return torch.from_numpy((rows @ points(elastic, crop_size) @ columns.T).astype(np.float32))


def points(elastic: Elastic, crop_size: tuple[int, int]) -> np.ndarray:
    """Return the movements of the control points in x and y: (2, rows of them, columns of them) float64."""
    counts = [_first(side, elastic.spacing_px)[-1] + 4 for side in crop_size]
    rng = numpy_generator(elastic.seed, "elastic")
    return rng.uniform(-elastic.magnitude_px, elastic.magnitude_px, (2, *counts))


def weights(side: int, spacing: float) -> np.ndarray:
    """Return what each control point adds to each pixel of a side: (side, points), rows add up to 1."""
    first = _first(side, spacing)
    t = np.arange(side) / spacing - first
    parts = [(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3]
    added = np.zeros((side, int(first[-1]) + 4))
    for offset, part in enumerate(parts):
        added[np.arange(side), first + offset] = part / 6
    return added


def _first(side: int, spacing: float) -> np.ndarray:
    """Return the first control point that moves each pixel of a side."""
    return np.floor(np.arange(side) / spacing).astype(np.int64)


def _pair(values: np.ndarray) -> tuple[float, float]:
    return float(values[0]), float(values[1])
