"""The size an image is scaled to before the crop: MMSegmentation's RandomResize, or its choice of a shorter side.

Source: MMSegmentation 1.2.2 and mmcv 2 (Apache-2.0), RandomResize, RandomChoiceResize, ResizeShortestEdge and Resize.
Sizes are (height, width) here and (width, height) there.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

Size = tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Resize:
    """How the scaled size is drawn.

    Args:
        ratio_range: Factors of the base, uniform.
        scale: One base (height, width); or two, between whose longer and shorter sides both are drawn, without
            ``ratio_range``; None: the image's own size.
        keep_ratio: The largest size within the drawn one that has the image's aspect; else the drawn one itself.
        shorter_sides: Lengths of the shorter side, of which one is drawn, instead of all of the above; none: as above.
        longer_side: What the longer side is at most then; None: any length.
    """

    ratio_range: tuple[float, float]
    scale: Size | tuple[Size, Size] | None
    keep_ratio: bool
    shorter_sides: tuple[int, ...] = ()
    longer_side: int | None = None

    def draw(self, rng: np.random.Generator, extra: Callable[[], np.random.Generator], size: Size) -> Size:
        """Return the scaled size of an image.

        Args:
            rng: Gives one number, used or not, so that what is drawn after it does not depend on the settings.
            extra: Makes the generator for two bases, and for the shorter side.
            size: Of the image.
        """
        ratio = float(rng.uniform(*self.ratio_range))
        if self.shorter_sides:
            return self._by_shorter_side(size, self.shorter_sides[int(extra().integers(len(self.shorter_sides)))])
        return self.fitted(size, self._target(ratio, extra, size))

    def fitted(self, size: Size, target: Size) -> Size:
        """Return what an image of ``size`` becomes for a drawn target."""
        return rescaled_size(size, target) if self.keep_ratio else (max(target[0], 1), max(target[1], 1))

    def largest(self, size: Size) -> Size:
        """Return the largest scaled size of an image of ``size``."""
        if self.shorter_sides:
            return self._by_shorter_side(size, max(self.shorter_sides))
        bases = _pair(self.scale)
        if bases is None:
            base = size if self.scale is None else self.scale
            return self.fitted(size, _times(base, self.ratio_range[1]))
        longer, shorter = (max(edges) for edges in _edges(bases))
        return self.fitted(size, _oriented(longer, shorter, bases))

    def _by_shorter_side(self, size: Size, length: int) -> Size:
        longer = length * max(size) / min(size)
        factor = 1.0 if self.longer_side is None else min(self.longer_side / longer, 1.0)
        # Rounded twice, as there: the size that was aimed at bounds the one with the image's aspect.
        return rescaled_size(size, (int(length * factor + 0.5), int(longer * factor + 0.5)))

    def _target(self, ratio: float, extra: Callable[[], np.random.Generator], size: Size) -> Size:
        bases = _pair(self.scale)
        if bases is None:
            return _times(size if self.scale is None else self.scale, ratio)
        other = extra()
        longer, shorter = (int(other.integers(min(edges), max(edges) + 1)) for edges in _edges(bases))
        return _oriented(longer, shorter, bases)


def rescaled_size(size: Size, target: Size) -> Size:
    """Return the largest (height, width) that fits ``target`` in either orientation with the aspect kept."""
    height, width = size
    factor = min(max(target) / max(height, width), min(target) / min(height, width))
    return max(int(height * factor + 0.5), 1), max(int(width * factor + 0.5), 1)


def _times(size: Size | tuple[Size, Size], ratio: float) -> Size:
    height, width = size
    assert isinstance(height, int)
    assert isinstance(width, int)
    return int(height * ratio), int(width * ratio)


def _pair(scale: Size | tuple[Size, Size] | None) -> tuple[Size, Size] | None:
    if scale is None or isinstance(scale[0], int) or isinstance(scale[1], int):
        return None
    return scale[0], scale[1]


def _edges(bases: tuple[Size, Size]) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return the two longer sides and the two shorter ones."""
    return (max(bases[0]), max(bases[1])), (min(bases[0]), min(bases[1]))


def _oriented(longer: int, shorter: int, bases: tuple[Size, Size]) -> Size:
    upright = all(height > width for height, width in bases)
    return (longer, shorter) if upright else (shorter, longer)
