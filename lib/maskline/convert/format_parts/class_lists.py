"""Long lists of classes as text: names with commas between, colors as three numbers each."""

from maskline.data.labels import Rgb


def names(text: str) -> tuple[str, ...]:
    """Return the names; a line may end within one."""
    return tuple(" ".join(name.split()) for name in text.split(","))


def colors(text: str) -> tuple[Rgb, ...]:
    """Return colors, 0..255 each, red first."""
    return tuple(map(_color, text.split(",")))


def _color(text: str) -> Rgb:
    red, green, blue = map(int, text.split())
    return red, green, blue
