"""Outlines to pixels."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Points = Sequence[tuple[float, float]]


def fill(shape: tuple[int, int], outlines: Sequence[Points]) -> NDArray[np.bool_]:
    """Return (h, w): True inside or on one of the outlines, x right and y down, px; Pillow's rule for borders."""
    canvas = Image.new("1", (shape[1], shape[0]))
    draw = ImageDraw.Draw(canvas)
    for points in outlines:
        draw.polygon([(float(x), float(y)) for x, y in points], fill=1, outline=1)
    return np.array(canvas, dtype=bool)


def disc(shape: tuple[int, int], centre: tuple[float, float], edge: tuple[float, float]) -> NDArray[np.bool_]:
    """Return (h, w): True inside the circle around ``centre`` through ``edge``."""
    (x, y), radius = centre, float(np.hypot(edge[0] - centre[0], edge[1] - centre[1]))
    canvas = Image.new("1", (shape[1], shape[0]))
    ImageDraw.Draw(canvas).ellipse((x - radius, y - radius, x + radius, y + radius), fill=1, outline=1)
    return np.array(canvas, dtype=bool)
