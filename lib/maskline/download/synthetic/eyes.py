"""Synthetic fundus photographs with vessel masks of two annotators: a set that needs no download.

Everything is a function of (seed, patient, side); the images of one patient share color and camera. Vessels are
not separable by a threshold: the background is unevenly lit, choroidal vessels and small bleedings are as dark as
vessels, the thinnest vessels are hardly darker than the noise.

Source: own model.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from maskline.core.seeds import numpy_generator
from maskline.download.synthetic import vessels
from maskline.download.synthetic.fundus import Field, Tube, photograph
from maskline.download.synthetic.vessels import Anatomy, Vessel

_REFERENCE_SIZE = 256  # px; lengths below are for this size and scale with it


@dataclass(frozen=True, slots=True, kw_only=True)
class Eye:
    """One image and its masks, all of one height and width.

    Args:
        id: Patient and side, such as ``003_left``.
        group: The patient.
        image: (h, w, 3) uint8.
        mask: (h, w) bool, the first annotator's vessels.
        second: (h, w) bool, the second observer's.
        valid: (h, w) bool, the field of view.
    """

    id: str
    group: str
    image: NDArray[np.uint8]
    mask: NDArray[np.bool_]
    second: NDArray[np.bool_]
    valid: NDArray[np.bool_]


def draw_eyes(*, num_eyes: int, first_patient: int, size: int, seed: int) -> Iterator[Eye]:
    """Draw left and right eyes of one patient after the other.

    Args:
        num_eyes: How many; of an odd number the last patient has one eye only.
        first_patient: Number of the first patient.
        size: Height and width, px.
        seed: Another seed draws other eyes.
    """
    for i in range(num_eyes):
        yield draw_eye(patient=first_patient + i // 2, left=i % 2 == 1, size=size, seed=seed)


def draw_eye(*, patient: int, left: bool, size: int, seed: int) -> Eye:
    """Draw one eye; see ``draw_eyes``."""
    camera = numpy_generator(seed, "patient", patient)
    rng = numpy_generator(seed, "eye", patient, int(left))
    field = Field.of(size, radius=camera.uniform(0.465, 0.49))
    anatomy = _anatomy(rng)
    unit = size / _REFERENCE_SIZE
    min_radius = max(0.62, 0.6 * unit) / field.radius
    trees = vessels.grow(rng, anatomy, min_radius=min_radius, scale=max(2.0 * unit, 1.1) / field.radius)
    first = [Tube.of(vessel, field) for vessel in trees]
    second = [Tube.of(vessel, field) for vessel in _second_look(rng, trees, min_radius)]
    image = photograph(camera, rng, field=field, anatomy=anatomy, tubes=first, unit=unit)
    parts = [image, _label(first, field), _label(second, field), field.inside]
    if left:
        parts = [np.ascontiguousarray(part[:, ::-1]) for part in parts]
    group = f"{patient:03d}"
    return Eye(
        id=f"{group}_{'left' if left else 'right'}",
        group=group,
        image=parts[0].astype(np.uint8),
        mask=parts[1].astype(bool),
        second=parts[2].astype(bool),
        valid=parts[3].astype(bool),
    )


def _anatomy(rng: np.random.Generator) -> Anatomy:
    disc = (rng.uniform(0.4, 0.5), rng.uniform(-0.1, 0.06))
    fovea = (disc[0] - rng.uniform(0.6, 0.68), disc[1] + rng.uniform(0.03, 0.12))
    return Anatomy(disc=disc, fovea=fovea, disc_radius=rng.uniform(0.13, 0.155))


def _second_look(rng: np.random.Generator, trees: list[Vessel], min_radius: float) -> list[Vessel]:
    """Return the vessels as a second observer draws them: the thinnest left out, widths and places slightly other."""
    width = rng.uniform(0.85, 1.2)
    seen = []
    for vessel in trees:
        thinness = 1 - min(float(vessel.radius.mean()) / min_radius - 1, 1.0)
        if rng.random() < 0.4 * thinness:
            continue
        end = len(vessel.points) - int(rng.integers(0, 1 + len(vessel.points) // 4))
        shift = ndimage.gaussian_filter1d(rng.standard_normal((end, 2)), 6, axis=0) * 4 * 0.0017
        radius = np.maximum(vessel.radius[:end] * width * rng.uniform(0.92, 1.08), min_radius * 0.95)
        seen.append(
            Vessel(points=vessel.points[:end] + shift, radius=radius, vein=vessel.vein, generation=vessel.generation)
        )
    return seen


def _label(tubes: list[Tube], field: Field) -> NDArray[np.bool_]:
    canvas = np.zeros((field.size, field.size))
    for tube in tubes:
        vessels.stamp(canvas, tube.points, tube.radius, lambda d, r: (d <= r).astype(float), margin=0.0)
    return (canvas > 0) & field.inside
