"""RGB to HSV and back in OpenCV's 8-bit numbers: hue 0..179 (two degrees each), saturation and value 0..255.

Source: OpenCV (Apache-2.0), the arithmetic of cvtColor for COLOR_RGB2HSV and COLOR_HSV2RGB on 8 bits, bit by bit.
Back from HSV its vector code cuts off, as here; its scalar code, for images of a few pixels, rounds.
"""

import torch
from torch import Tensor

_BITS = 12  # fixed point
_HUES = 180


def rgb_to_hsv(images: Tensor) -> Tensor:
    """Map N3HW whole gray levels 0..255, of any type, to N3HW int64 hue, saturation, value."""
    red, green, blue = images.long().unbind(1)
    value = torch.maximum(torch.maximum(red, green), blue)
    spread = value - torch.minimum(torch.minimum(red, green), blue)
    saturation = (spread * _reciprocal(255, value) + _half()) >> _BITS
    turned = torch.where(
        value == red,
        green - blue,
        torch.where(value == green, blue - red + 2 * spread, red - green + 4 * spread),
    )
    hue = (turned * _reciprocal(_HUES / 6, spread) + _half()) >> _BITS
    return torch.stack([torch.where(hue < 0, hue + _HUES, hue), saturation, value], dim=1)


def hsv_to_rgb(hsv: Tensor, table: Tensor | None = None) -> Tensor:
    """Undo ``rgb_to_hsv``: N3HW float32 whole gray levels.

    Args:
        hsv: As there.
        table: ``SHADES`` on the device, for one that would wait for a copy of it; None: it is copied.
    """
    hue, saturation, value = hsv.float().unbind(1)
    sixth = hue * (6 / _HUES)
    sector = sixth.floor()
    part = sixth - sector
    saturation, value = saturation * (1 / 255), value * (1 / 255)
    # Products and differences at once, as OpenCV's fused instructions round them.
    falling = value * (1 - saturation.double() * part).float()
    rising = value * (1 - saturation.double() * (1 - part)).float()
    shades = torch.stack([value, value * (1 - saturation), falling, rising], dim=1)
    table = torch.tensor(SHADES, device=hsv.device) if table is None else table
    order = table[(sector.long() % 6)]  # NHW3
    return (shades.gather(1, order.movedim(-1, 1)) * 255).floor().clamp_(0, 255)  # OpenCV cuts off


SHADES = ((0, 3, 1), (2, 0, 1), (1, 0, 3), (1, 2, 0), (3, 1, 0), (0, 1, 2))
"""Which of value, low, falling, rising is red, green, blue in each sixth of the circle."""


def _reciprocal(numerator: float, divisor: Tensor) -> Tensor:
    """Return numerator / divisor in fixed point, rounded; 0 for a divisor of 0."""
    exact = numerator * 2**_BITS / divisor.clamp(min=1).double()
    return torch.where(divisor > 0, exact.round().long(), 0)


def _half() -> int:
    return 1 << (_BITS - 1)
