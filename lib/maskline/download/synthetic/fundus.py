"""A fundus photograph around a vessel tree: tissue, light, lesions and camera.

Colors are in gray levels of 255 until the sensor rounds them; ``unit`` is the image's size over 256, by which
all lengths in px scale.

Source: own model.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from maskline.download.synthetic import vessels
from maskline.download.synthetic.vessels import Anatomy, Floats, Vessel


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """The round field of view and pixel coordinates in units of its radius."""

    size: int
    radius: float  # px
    x: Floats  # (h, w)
    y: Floats
    inside: NDArray[np.bool_]

    @classmethod
    def of(cls, size: int, *, radius: float) -> "Field":
        """Make the coordinates of a square image of ``size`` px; ``radius`` is a share of that."""
        axis = (np.arange(size) - (size - 1) / 2) / (radius * size)
        x, y = np.meshgrid(axis, axis)
        return cls(size=size, radius=radius * size, x=x, y=y, inside=np.hypot(x, y) <= 1)

    def to_px(self, points: Floats) -> Floats:
        """Return (n, 2) points, in units of the radius, in px."""
        return points * self.radius + (self.size - 1) / 2

    def distance(self, centre: tuple[float, float]) -> Floats:
        """Return each pixel's distance to ``centre``, in units of the radius."""
        return np.hypot(self.x - centre[0], self.y - centre[1])


@dataclass(frozen=True, slots=True, kw_only=True)
class Tube:
    """A vessel in px."""

    points: Floats
    radius: Floats
    vein: bool

    @classmethod
    def of(cls, vessel: Vessel, field: Field) -> "Tube":
        """Scale a vessel to px and resample it finely enough for ``vessels.stamp``."""
        points, radius = vessels.refine(field.to_px(vessel.points), vessel.radius * field.radius, spacing=0.4)
        return cls(points=points, radius=radius, vein=vessel.vein)


def photograph(
    camera: np.random.Generator,
    rng: np.random.Generator,
    *,
    field: Field,
    anatomy: Anatomy,
    tubes: list[Tube],
    unit: float,
) -> NDArray[np.uint8]:
    """Compose background, vessels, lesions, light and sensor into (h, w, 3) uint8.

    Args:
        camera: Draws what the images of one patient share: color, light, focus, noise.
        rng: Draws all else.
        field: The field of view.
        anatomy: Landmarks.
        tubes: The vessels.
        unit: Size over 256.
    """
    color = _skin(camera, rng)
    image = np.broadcast_to(color, (field.size, field.size, 3)) * _texture(rng, field, unit)[..., None]
    image = _choroid(rng, image, field, unit)
    image = _macula(rng, image, field, anatomy)
    image = _disc(rng, image, field, anatomy)
    image = _draw_vessels(image, tubes, rng)
    image = _lesions(rng, image, field=field, anatomy=anatomy, unit=unit)
    image = image * _light(camera, rng, field, anatomy)[..., None]
    edge = np.clip((1 - np.hypot(field.x, field.y)) * field.radius + 0.5, 0, 1)[..., None]
    image = image * edge + np.array([5.0, 3.0, 3.0]) * (1 - edge)
    return _sensor(camera, rng, image, edge=edge, unit=unit)


def _skin(camera: np.random.Generator, rng: np.random.Generator) -> Floats:
    """Return the fundus color, from light orange to dark brown."""
    pale, dark = np.array([214.0, 124.0, 68.0]), np.array([160.0, 78.0, 44.0])
    share = camera.uniform(0, 1)
    return (pale * share + dark * (1 - share)) * camera.uniform(0.93, 1.07, 3) * rng.uniform(0.97, 1.03, 3)


def _noise(rng: np.random.Generator, field: Field, sigma: float) -> Floats:
    """Return smooth noise of mean 0 and standard deviation 1."""
    smooth = ndimage.gaussian_filter(rng.standard_normal((field.size, field.size)), sigma, mode="reflect")
    return np.asarray((smooth - smooth.mean()) / (smooth.std() + 1e-12))


def _texture(rng: np.random.Generator, field: Field, unit: float) -> Floats:
    amplitudes = ((1.2, 0.03), (3.0, 0.03), (9.0, 0.035), (28.0, 0.05))
    return np.asarray(1 + sum(share * _noise(rng, field, sigma * unit) for sigma, share in amplitudes))


def _choroid(rng: np.random.Generator, image: Floats, field: Field, unit: float) -> Floats:
    """Add the choroid's own vessels, seen through the retina: broad, blurred, either darker or brighter."""
    strength = rng.uniform(0.1, 0.2)
    ridges = np.exp(-((_noise(rng, field, rng.uniform(4.5, 6.5) * unit) / 0.22) ** 2))
    fine = np.exp(-((_noise(rng, field, 3.0 * unit) / 0.16) ** 2))
    where = 0.35 + 0.65 / (1 + np.exp(-2 * _noise(rng, field, 30 * unit)))
    dark = ((strength * ridges + 0.6 * strength * fine) * where)[..., None]
    return np.asarray(image * (1 - dark * np.array([0.35, 1.0, 0.9])))


def _macula(rng: np.random.Generator, image: Floats, field: Field, anatomy: Anatomy) -> Floats:
    distance = field.distance(anatomy.fovea)
    shade = rng.uniform(0.26, 0.4) * np.exp(-((distance / rng.uniform(0.17, 0.23)) ** 2))
    shade += 0.12 * np.exp(-((distance / 0.06) ** 2))
    image = image * (1 - shade[..., None] * np.array([0.75, 1.0, 1.1]))
    reflex = rng.uniform(0, 22) * np.exp(-((distance / 0.018) ** 2))
    return np.asarray(image + reflex[..., None])


def _disc(rng: np.random.Generator, image: Floats, field: Field, anatomy: Anatomy) -> Floats:
    """Add the optic disc with its pale cup, the halo of nerve fibres and the pigment at its temporal rim."""
    x, y = field.x - anatomy.disc[0], field.y - anatomy.disc[1]
    reach = np.hypot(x / 0.93, y / 1.05) / anatomy.disc_radius
    reach = reach * (1 + 0.02 * np.cos(3 * np.arctan2(y, x) + rng.uniform(0, 6)))
    halo = 0.14 * np.exp(-((np.maximum(reach - 1, 0) / 0.7) ** 2))
    crescent = rng.uniform(0, 0.22) * np.exp(-(((reach - 1.08) / 0.09) ** 2)) * np.clip(-x / anatomy.disc_radius, 0, 1)
    image = image * (1 + halo - crescent)[..., None]
    rim = 1 / (1 + np.exp((reach - 1) / 0.045))
    pale = np.array([238.0, 186.0, 122.0]) * rng.uniform(0.92, 1.04)
    cup_x = x + 0.15 * anatomy.disc_radius
    cup_reach = np.hypot(cup_x, y) / (rng.uniform(0.35, 0.5) * anatomy.disc_radius)
    cup = rng.uniform(0.35, 0.75) * np.exp(-(cup_reach**4))
    disc = pale + cup[..., None] * np.array([14.0, 42.0, 62.0])
    mix = rng.uniform(0.82, 0.92) * rim[..., None]
    return np.asarray(image * (1 - mix) + disc * mix)


def _draw_vessels(image: Floats, tubes: list[Tube], rng: np.random.Generator) -> Floats:
    """Let blood absorb light: veins more than arteries, wide vessels more than thin ones; arteries shine inside."""
    absorption = {True: np.array([0.30, 0.56, 0.42]), False: np.array([0.14, 0.42, 0.34])}
    widest = max(float(tube.radius.max()) for tube in tubes)
    for vein in (True, False):
        depth, reflex = np.zeros(image.shape[:2]), np.zeros(image.shape[:2])
        for tube in (tube for tube in tubes if tube.vein == vein):
            contrast = rng.uniform(0.7, 1.0)

            def body(d: Floats, r: Floats, contrast: float = contrast) -> Floats:
                thick = np.sqrt(np.clip(1 - (d / (r + 0.45)) ** 2, 0, None))
                return contrast * (0.34 + 0.66 * (r / widest) ** 0.8) * thick**0.7

            vessels.stamp(depth, tube.points, tube.radius, body, margin=0.5)
            wide = tube.radius > 0.45 * widest
            if wide.any():
                vessels.stamp(reflex, tube.points[wide], tube.radius[wide], _reflex, margin=0.0)
        shine = (0.34 if not vein else 0.12) * ndimage.gaussian_filter(reflex, 0.4)
        image = image * (1 - (depth * (1 - shine))[..., None] * absorption[vein])
    return image


def _reflex(d: Floats, r: Floats) -> Floats:
    return np.clip(1 - d / (0.45 * r), 0, 1)


def _lesions(rng: np.random.Generator, image: Floats, *, field: Field, anatomy: Anatomy, unit: float) -> Floats:
    """Add dots and blots of blood, and in some eyes yellow deposits."""
    sick = rng.random()
    dark, bright = np.zeros(image.shape[:2]), np.zeros(image.shape[:2])
    for _ in range(int(rng.integers(2, 9) + 14 * (sick > 0.6))):
        _blob(rng, dark, field=field, centre=_anywhere(rng), radius=rng.uniform(0.7, 2.6) * unit)
    if sick > 0.45:
        for _ in range(int(rng.integers(1, 4))):
            angle, reach = rng.uniform(0, 2 * math.pi), rng.uniform(0.2, 0.5)
            nest = (anatomy.fovea[0] + reach * math.cos(angle), anatomy.fovea[1] + reach * math.sin(angle))
            for _ in range(int(rng.integers(3, 10))):
                place = (nest[0] + rng.normal(0, 0.06), nest[1] + rng.normal(0, 0.06))
                _blob(rng, bright, field=field, centre=place, radius=rng.uniform(0.6, 1.6) * unit)
    image = image * (1 - np.clip(dark, 0, 1)[..., None] * np.array([0.28, 0.5, 0.42]))
    return np.asarray(image + np.clip(bright, 0, 1)[..., None] * np.array([48.0, 62.0, 26.0]))


def _anywhere(rng: np.random.Generator) -> tuple[float, float]:
    angle, reach = rng.uniform(0, 2 * math.pi), math.sqrt(rng.uniform(0, 0.9))
    return reach * math.cos(angle), reach * math.sin(angle)


def _blob(
    rng: np.random.Generator, canvas: Floats, *, field: Field, centre: tuple[float, float], radius: float
) -> None:
    """Add a soft ellipse of ``radius`` px to ``canvas``."""
    x, y = (field.x - centre[0]) * field.radius, (field.y - centre[1]) * field.radius
    turn, stretch = rng.uniform(0, math.pi), rng.uniform(1.0, 1.7)
    along, across = x * math.cos(turn) + y * math.sin(turn), y * math.cos(turn) - x * math.sin(turn)
    reach = np.hypot(along / stretch, across) / radius
    canvas += rng.uniform(0.6, 1.0) / (1 + np.exp(np.minimum((reach - 1) * radius / 0.35, 30)))


def _light(camera: np.random.Generator, rng: np.random.Generator, field: Field, anatomy: Anatomy) -> Floats:
    """Return the relative illumination: brightest off the centre, falling to the rim, with a hazy crescent."""
    centre = (rng.uniform(-0.15, 0.3), rng.uniform(-0.2, 0.2))
    light = 1.08 - camera.uniform(0.3, 0.48) * np.clip(field.distance(centre), 0, 1.4) ** rng.uniform(1.8, 2.6)
    light += rng.uniform(-0.1, 0.1) * field.x + rng.uniform(-0.1, 0.1) * field.y
    angle = rng.uniform(0, 2 * math.pi)
    haze = np.exp(-(((np.hypot(field.x, field.y) - 0.98) / 0.07) ** 2))
    facing = np.clip(np.cos(np.arctan2(field.y, field.x) - angle), 0, 1) ** 2
    return np.asarray(np.clip(light + rng.uniform(0, 0.35) * haze * facing, 0.12, 1.5))


def _sensor(
    camera: np.random.Generator, rng: np.random.Generator, image: Floats, *, edge: Floats, unit: float
) -> NDArray[np.uint8]:
    """Blur, add shot and read noise that is correlated a little between pixels, and quantise."""
    focus = max(camera.uniform(0.42, 0.62) * unit, 0.35)
    image = ndimage.gaussian_filter(image, (focus, focus, 0))
    grain = ndimage.gaussian_filter(rng.standard_normal(image.shape), (0.5, 0.5, 0))
    grain *= camera.uniform(4.5, 6.5) * np.sqrt(np.clip(image, 8, None) / 110) * np.array([0.8, 1.0, 1.1])
    return np.asarray(np.rint(np.clip(image + grain * (0.2 + 0.8 * edge), 0, 255)), dtype=np.uint8)
