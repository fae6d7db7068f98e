"""Colours for classes that have none of their own."""

from maskline.labels import Rgb


def bit_palette(count: int) -> tuple[Rgb, ...]:
    """Return the colours that PASCAL VOC gives ids: each id's bits, spread over the high bits of the channels.

    Source: VOC development kit's ``VOCcolormap``, rewritten.
    """
    colors = []
    for id_ in range(count):
        red = green = blue = 0
        for level in range(8):
            bits = id_ >> (3 * level)
            red |= (bits & 1) << (7 - level)
            green |= (bits >> 1 & 1) << (7 - level)
            blue |= (bits >> 2 & 1) << (7 - level)
        colors.append((red, green, blue))
    return tuple(colors)
