"""Branching retinal vessel trees, grown step by step and rasterised as tubes.

Lengths here are in units of the field of view's radius; its centre is (0, 0), x points right and y down. The trees
are those of a right eye (optic disc on the right); a left eye is its mirror image.

Source: own model. The rules (four arcades of an artery and a vein each, branches that avoid the fovea, thinner and
brighter arteries, radii that fall at every fork) follow textbook anatomy of the retina.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bend = Callable[[float, float, float, float], float]

_STEP = 0.01  # growth step
_CELL = 0.028  # cell of the grid that keeps vessels of one kind apart
_GRID = int(2.2 / _CELL)
_FREE_STEPS = 7  # a young branch may touch its parent
_CHUNK = 4_000_000  # pixels stamped at a time


@dataclass(frozen=True, slots=True, kw_only=True)
class Anatomy:
    """Where the landmarks of an eye lie."""

    disc: tuple[float, float]
    fovea: tuple[float, float]
    disc_radius: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Vessel:
    """One unbranched stretch.

    Args:
        points: Centre line, (n, 2) as x, y.
        radius: (n,) half calibre.
        vein: A vein, or else an artery.
        generation: 0 for the trunks, one more at each fork.
    """

    points: Floats
    radius: Floats
    vein: bool
    generation: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Bud:
    """A vessel that is still to grow."""

    start: tuple[float, float]
    angle: float
    radius: float
    length: float
    vein: bool
    generation: int
    bend: Bend  # (grown length, x, y, angle) -> radians per length


def grow(rng: np.random.Generator, anatomy: Anatomy, *, min_radius: float, scale: float) -> list[Vessel]:
    """Grow the arteries and veins of one eye.

    Args:
        rng: Draws every choice.
        anatomy: Landmarks.
        min_radius: Vessels end when they would become thinner.
        scale: Half calibre of the widest vein.
    """
    buds = _trunks(rng, anatomy, scale)
    taken = {False: np.zeros((_GRID, _GRID), bool), True: np.zeros((_GRID, _GRID), bool)}
    vessels = []
    while buds:
        bud = buds.pop(0)
        points = _path(rng, bud, anatomy, taken[bud.vein])
        if len(points) < 6:
            continue
        taper = 0.45 if bud.generation else 0.55
        radius = np.maximum(bud.radius * (1 - taper * np.linspace(0, 1, len(points)) ** 1.2), min_radius)
        _occupy(taken[bud.vein], points)
        vessels.append(Vessel(points=points, radius=radius, vein=bud.vein, generation=bud.generation))
        buds += _branches(rng, bud, points=points, radius=radius, anatomy=anatomy, min_radius=min_radius)
    return vessels


def _trunks(rng: np.random.Generator, anatomy: Anatomy, scale: float) -> list[_Bud]:
    """Return the four arcades and the small vessels that leave the disc towards the macula and the nose."""
    buds = []
    for vein in (True, False):
        calibre = scale * (1.0 if vein else 0.78)
        for up in (-1.0, 1.0):
            apart = rng.uniform(0.05, 0.22) * (1 if vein else -1)
            start_angle = up * (math.pi / 2 + apart + rng.uniform(-0.08, 0.12))
            buds.append(
                _bud(
                    rng,
                    anatomy,
                    angle=start_angle,
                    radius=calibre,
                    length=2.4,
                    vein=vein,
                    bend=_arcade(rng, anatomy, up),
                )
            )
            nasal = up * rng.uniform(0.45, 0.95) + (0.12 if vein else -0.12)
            buds.append(
                _bud(rng, anatomy, angle=nasal, radius=calibre * 0.72, length=1.2, vein=vein, bend=_steady(-up * 0.2))
            )
    for _ in range(int(rng.integers(3, 6))):
        angle = math.pi + rng.uniform(-0.75, 0.75) if rng.random() < 0.7 else rng.uniform(-0.3, 0.3)
        vein = bool(rng.random() < 0.5)
        length = rng.uniform(0.4, 0.7)
        buds.append(_bud(rng, anatomy, angle=angle, radius=scale * 0.42, length=length, vein=vein, bend=_steady(0.0)))
    return buds


def _bud(
    rng: np.random.Generator,
    anatomy: Anatomy,
    *,
    angle: float,
    radius: float,
    length: float,
    vein: bool,
    bend: Bend,
) -> _Bud:
    x, y = anatomy.disc
    from_centre = anatomy.disc_radius * rng.uniform(0.05, 0.35)
    start = (x + from_centre * math.cos(angle), y + from_centre * math.sin(angle))
    return _Bud(
        start=start,
        angle=angle,
        radius=radius * rng.uniform(0.88, 1.08),
        length=length,
        vein=vein,
        generation=0,
        bend=bend,
    )


def _arcade(rng: np.random.Generator, anatomy: Anatomy, up: float) -> Bend:
    """Return the bend of a temporal trunk: it follows an ellipse around the macula and opens at its far end."""
    centre_x = 0.55 * anatomy.fovea[0] + 0.45 * anatomy.disc[0] - rng.uniform(0.12, 0.2)
    wide, high = anatomy.disc[0] - centre_x, rng.uniform(0.4, 0.56)
    straight_after = rng.uniform(1.9, 2.4)

    def bend(grown: float, x: float, y: float, angle: float) -> float:
        along = min((grown + 0.16) / 0.55, straight_after)
        ahead = (centre_x + wide * math.cos(along), anatomy.fovea[1] + up * high * math.sin(along))
        if along == straight_after:
            return 2.5 * math.sin(math.atan2(up * 0.45 * high - y, -1.6 - x) - angle)
        return 9.0 * math.sin(math.atan2(ahead[1] - y, ahead[0] - x) - angle)

    return bend


def _steady(rate: float) -> Bend:
    """Return a bend of ``rate`` radians per length all along."""

    def bend(grown: float, x: float, y: float, angle: float) -> float:
        del grown, x, y, angle
        return rate

    return bend


def _towards(target: tuple[float, float], strength: float) -> Bend:
    """Return a bend that turns the tip towards ``target``; negative strength turns away."""

    def bend(grown: float, x: float, y: float, angle: float) -> float:
        del grown
        wanted = math.atan2(target[1] - y, target[0] - x)
        return strength * math.sin(wanted - angle)

    return bend


def _path(rng: np.random.Generator, bud: _Bud, anatomy: Anatomy, taken: NDArray[np.bool_]) -> Floats:
    """Grow one centre line until its length, the rim, the fovea or a vessel of its kind ends it."""
    (x, y), angle, drift = bud.start, bud.angle, 0.0
    wiggle = (4.5 if bud.vein else 3.5) * (1.0 if bud.generation == 0 else 1.7)
    points = [(x, y)]
    for i in range(int(bud.length / _STEP)):
        drift = 0.9 * drift + 0.44 * float(rng.standard_normal())
        angle += _STEP * (bud.bend(i * _STEP, x, y, angle) + wiggle * drift * 0.5)
        x, y = x + _STEP * math.cos(angle), y + _STEP * math.sin(angle)
        near_fovea = math.hypot(x - anatomy.fovea[0], y - anatomy.fovea[1]) < 0.1
        if math.hypot(x, y) > 1.03 or near_fovea or (i > _FREE_STEPS and taken[_cell(x, y)]):
            break
        points.append((x, y))
    return np.array(points)


def _branches(
    rng: np.random.Generator, bud: _Bud, *, points: Floats, radius: Floats, anatomy: Anatomy, min_radius: float
) -> list[_Bud]:
    """Return side branches along a vessel and the fork at its end."""
    if bud.generation >= 4:
        return []
    buds, side = [], 1 if rng.random() < 0.5 else -1
    gap = 0.12 if bud.generation == 0 else 0.15
    at = rng.uniform(0.12, 0.25) if bud.generation == 0 else rng.uniform(0.07, 0.16)
    while (i := int(at / _STEP)) < len(points) - 4:
        child = radius[i] * rng.uniform(0.42, 0.74)
        if child >= min_radius * 0.8:
            turn = side * rng.uniform(0.6, 1.2)
            buds.append(_child(rng, bud, points[: i + 1], radius=max(child, min_radius), turn=turn, anatomy=anatomy))
        side = -side if rng.random() < 0.7 else side
        at += gap * rng.uniform(0.5, 1.8)
    if radius[-1] > min_radius * 1.15 and math.hypot(*points[-1]) < 0.95:
        buds += [
            _child(rng, bud, points, radius=max(radius[-1] * 0.8, min_radius), turn=fork, anatomy=anatomy)
            for fork in (rng.uniform(0.3, 0.6), -rng.uniform(0.3, 0.6))
        ]
    return buds


def _child(
    rng: np.random.Generator, bud: _Bud, points: Floats, *, radius: float, turn: float, anatomy: Anatomy
) -> _Bud:
    """Return a bud at the last of ``points``, turned from the direction in which they run."""
    x, y = float(points[-1, 0]), float(points[-1, 1])
    before = points[max(len(points) - 4, 0)]
    angle = math.atan2(y - before[1], x - before[0]) + turn
    facing = math.cos(math.atan2(anatomy.fovea[1] - y, anatomy.fovea[0] - x) - angle)
    target, strength = (anatomy.fovea, 1.8) if facing > 0.2 else (anatomy.disc, -1.2)
    return _Bud(
        start=(x, y),
        angle=angle,
        radius=radius,
        length=rng.uniform(0.12, 0.3) + 14 * radius * rng.uniform(0.6, 1.4),
        vein=bud.vein,
        generation=bud.generation + 1,
        bend=_towards(target, strength),
    )


def _cell(x: float, y: float) -> tuple[int, int]:
    return int((y + 1.1) / _CELL), int((x + 1.1) / _CELL)


def _occupy(taken: NDArray[np.bool_], points: Floats) -> None:
    cells = ((points[:, ::-1] + 1.1) / _CELL).astype(int).clip(0, _GRID - 1)
    taken[cells[:, 0], cells[:, 1]] = True


def stamp(
    canvas: Floats, points: Floats, radius: Floats, profile: Callable[[Floats, Floats], Floats], *, margin: float
) -> None:
    """Draw tubes: at each pixel the largest ``profile(distance, radius)`` over all points near it.

    Args:
        canvas: (h, w), changed in place.
        points: (n, 2) x, y in px, at most half a pixel apart along a vessel; pixel centres are whole numbers.
        radius: (n,) px.
        profile: Takes distances and radii in px, both (k, m) after broadcasting; zero beyond radius + margin.
        margin: px.
    """
    height, width = canvas.shape
    reach = np.ceil(radius + margin).astype(int)
    for size in np.unique(reach):
        offsets = np.stack(np.meshgrid(np.arange(-size, size + 1), np.arange(-size, size + 1)), -1).reshape(-1, 2)
        chosen = np.flatnonzero(reach == size)
        for part in np.array_split(chosen, 1 + len(chosen) * len(offsets) // _CHUNK):
            pixels = np.rint(points[part]).astype(int)[:, None] + offsets
            distance = np.hypot(*np.moveaxis(pixels - points[part][:, None], -1, 0))
            value = profile(distance, radius[part][:, None])
            x, y = pixels[..., 0], pixels[..., 1]
            inside = (x >= 0) & (x < width) & (y >= 0) & (y < height) & (value > 0)
            np.maximum.at(canvas, (y[inside], x[inside]), value[inside])


def refine(points: Floats, values: Floats, *, spacing: float) -> tuple[Floats, Floats]:
    """Resample a centre line to points ``spacing`` apart; return points and ``values`` (n,) at them."""
    along = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(points, axis=0).T))])
    at = np.linspace(0.0, along[-1], max(int(np.ceil(along[-1] / spacing)), 1) + 1)
    fine = np.stack([np.interp(at, along, points[:, 0]), np.interp(at, along, points[:, 1])], -1)
    return fine, np.interp(at, along, values)
