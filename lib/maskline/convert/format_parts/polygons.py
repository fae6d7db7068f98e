"""Outlines, lines, points and ellipses to pixels; x right and y down, px; Pillow's rule for borders."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Point = tuple[float, float]
Points = Sequence[Point]
Shape = tuple[int, int]

_FARTHEST = 1e7  # px; Pillow reckons with whole numbers of 32 bits
_WIDEST = 16  # times an image's sides
_ELLIPSE_CORNERS = 180


def fill(shape: Shape, outlines: Sequence[Points], holes: Sequence[Points] = ()) -> NDArray[np.bool_]:
    """Return (h, w): True inside or on one of the outlines, but not inside of a hole."""
    canvas = Image.new("1", (shape[1], shape[0]))
    draw = ImageDraw.Draw(canvas)
    for points in outlines:
        draw.polygon([(float(x), float(y)) for x, y in points], fill=1, outline=1)
    for points in holes:
        draw.polygon([(float(x), float(y)) for x, y in points], fill=0, outline=0)
    return np.array(canvas, dtype=bool)


def disc(shape: Shape, centre: Point, edge: Point) -> NDArray[np.bool_]:
    """Return (h, w): True inside the circle around ``centre`` through ``edge``."""
    (x, y), radius = centre, float(np.hypot(edge[0] - centre[0], edge[1] - centre[1]))
    if radius > _WIDEST * sum(shape):  # Pillow goes through all its rows: 11 s for a radius of 3 million px
        down, right = np.ogrid[: shape[0], : shape[1]]
        return np.asarray((right - x) ** 2 + (down - y) ** 2 <= radius**2)
    canvas = Image.new("1", (shape[1], shape[0]))
    ImageDraw.Draw(canvas).ellipse((x - radius, y - radius, x + radius, y + radius), fill=1, outline=1)
    return np.array(canvas, dtype=bool)


def line(shape: Shape, points: Points, width: float) -> NDArray[np.bool_]:
    """Return (h, w): True on the line through all points, rounded to a width of whole px, at least 1."""
    canvas = Image.new("1", (shape[1], shape[0]))
    ImageDraw.Draw(canvas).line([(float(x), float(y)) for x, y in points], fill=1, width=max(1, round(width)))
    return np.array(canvas, dtype=bool)


def box(left: float, top: float, right: float, bottom: float, degrees: float = 0.0) -> list[Point]:
    """Return the corners of a rectangle, turned clockwise around its centre."""
    corners = [(left, top), (right, top), (right, bottom), (left, bottom)]
    return turned(corners, ((left + right) / 2, (top + bottom) / 2), degrees) if degrees else corners


def ellipse(centre: Point, radii: Point, degrees: float = 0.0) -> list[Point]:
    """Return the outline of an ellipse of two radii, turned clockwise around its centre."""
    angles = np.linspace(0, 2 * np.pi, _ELLIPSE_CORNERS, endpoint=False)
    corners = [(centre[0] + radii[0] * np.cos(a), centre[1] + radii[1] * np.sin(a)) for a in angles.tolist()]
    return turned(corners, centre, degrees) if degrees else corners


def turned(points: Points, pivot: Point, degrees: float) -> list[Point]:
    """Return points turned around ``pivot``, clockwise as an image is seen."""
    cos, sin = float(np.cos(np.deg2rad(degrees))), float(np.sin(np.deg2rad(degrees)))
    moved = [(x - pivot[0], y - pivot[1]) for x, y in points]
    return [(pivot[0] + x * cos - y * sin, pivot[1] + x * sin + y * cos) for x, y in moved]


def checked(points: Sequence[Sequence[float]], least: int = 1) -> list[Point]:
    """Return points as floats.

    Raises:
        ValueError: Fewer than ``least``, not pairs of numbers, or far outside of every image.
    """
    pairs = [(float(x), float(y)) for x, y in points]
    if len(pairs) < least:
        raise ValueError(f"{len(pairs)} points")
    if not all(-_FARTHEST < value < _FARTHEST for pair in pairs for value in pair):
        raise ValueError("a coordinate that is not finite or far outside")
    return pairs
