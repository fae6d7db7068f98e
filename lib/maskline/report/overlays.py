"""Images of images and masks, with Pillow alone: overlays and grids of tiles."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps

from maskline.core.files import replace_file
from maskline.data.labels import LabelSet

_MARGIN_PX = 6
_CAPTION_PX = 16
_LEGEND_PX = 130
_LEGEND_CLASSES = 40
_DARK = 64


def shown(image: np.ndarray) -> np.ndarray:
    """Return HW3 uint8 for an image HWC: RGB as it is; of other channels the first three, or the first as gray."""
    channels = image.shape[2] if image.ndim == 3 else 3
    if image.ndim == 2 or channels == 3:
        return image
    return np.ascontiguousarray(image[..., :3]) if channels > 3 else np.repeat(image[..., :1], 3, axis=2)


def overlay(image: np.ndarray, mask: np.ndarray, labels: LabelSet, *, opacity: float = 0.5) -> np.ndarray:
    """Lay a mask's colors over an image.

    Class 0 stays clear where it is called background or is black, so that the image shows; ignored pixels are hatched
    gray.

    Args:
        image: HWC uint8; see ``shown``.
        mask: HW class ids.
        labels: Palette and ignore index.
        opacity: Of the colors, 0..1.

    Returns:
        HW3 uint8.
    """
    table = np.zeros((max(labels.ignore_index, labels.num_classes) + 1, 3), dtype=np.float32)
    table[: labels.num_classes] = labels.palette
    strength = np.full((len(table), 1), opacity, dtype=np.float32)
    if labels.first_is_clear:
        strength[0] = 0
    strength[labels.ignore_index] = 0
    index = mask.astype(np.int64)
    mixed = shown(image).astype(np.float32) * (1 - strength[index]) + table[index] * strength[index]
    height, width = mask.shape
    rows, columns = np.indices((height, width), sparse=True)
    mixed[(index == labels.ignore_index) & ((rows + columns) % 8 < 2)] = 128
    return mixed.round().astype(np.uint8)


def colored(mask: np.ndarray, labels: LabelSet) -> np.ndarray:
    """Return a mask in its classes' colors, ignored pixels hatched gray.

    Args:
        mask: HW class ids.
        labels: Palette and ignore index.

    Returns:
        HW3 uint8.
    """
    table = np.zeros((max(labels.ignore_index, labels.num_classes) + 1, 3), dtype=np.uint8)
    table[: labels.num_classes] = labels.palette
    mixed = table[mask.astype(np.int64)]
    height, width = mask.shape
    rows, columns = np.indices((height, width), sparse=True)
    mixed[(mask == labels.ignore_index) & ((rows + columns) % 8 < 2)] = 128
    return mixed


def stretched(image: np.ndarray) -> tuple[np.ndarray, bool]:
    """Return an image to look at, and whether it was brightened: a dark one, until its brightest parts are white.

    Args:
        image: HWC uint8. Dark is one of which 99 % of the values are below a quarter of the range.
    """
    top = float(np.percentile(image, 99))
    if not 0 < top < _DARK:
        return image, False
    return np.minimum(image.astype(np.float32) * (255 / top), 255).round().astype(np.uint8), True


def fit(image: np.ndarray, side: int) -> np.ndarray:
    """Return the image scaled so that its longer side is ``side`` px, aspect kept."""
    whole = Image.fromarray(shown(image))
    return np.asarray(ImageOps.contain(whole, (side, side), Image.Resampling.LANCZOS))


def grid(tiles: Sequence[tuple[str, np.ndarray]], *, columns: int, labels: LabelSet | None = None) -> Image.Image:
    """Lay captioned tiles out in rows.

    Args:
        tiles: Caption and HW3 uint8 image, row by row; images may differ in size.
        columns: Tiles in a row.
        labels: What the legend under them names, as far as there is room; None: no legend.
    """
    width = max(image.shape[1] for _, image in tiles) + _MARGIN_PX
    height = max(image.shape[0] for _, image in tiles) + _MARGIN_PX + _CAPTION_PX
    rows = -(-len(tiles) // columns)
    sheet = Image.new("RGB", (columns * width + _MARGIN_PX, rows * height + _MARGIN_PX), "white")
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(size=11)
    for i, (caption, image) in enumerate(tiles):
        left, top = _MARGIN_PX + (i % columns) * width, _MARGIN_PX + (i // columns) * height
        draw.text((left, top), _shortened(caption, width, font), fill="black", font=font)
        sheet.paste(Image.fromarray(image), (left, top + _CAPTION_PX))
    return sheet if labels is None else _with_legend(sheet, labels)


def _with_legend(sheet: Image.Image, labels: LabelSet) -> Image.Image:
    """Return the sheet with the first classes' colors and names under it."""
    number = min(labels.num_classes, _LEGEND_CLASSES)
    fitting = max((sheet.width - _MARGIN_PX) // _LEGEND_PX, 1)
    rows = -(-number // fitting)
    longer = Image.new("RGB", (sheet.width, sheet.height + rows * _CAPTION_PX + _MARGIN_PX), "white")
    longer.paste(sheet, (0, 0))
    draw, font = ImageDraw.Draw(longer), ImageFont.load_default(size=11)
    for i in range(number):
        left = _MARGIN_PX + (i % fitting) * _LEGEND_PX
        top = sheet.height + (i // fitting) * _CAPTION_PX
        draw.rectangle((left, top + 2, left + 10, top + 12), fill=labels.palette[i], outline="gray")
        name = labels.class_names[i]
        if i == number - 1 < labels.num_classes - 1:
            name = f"{name} and {labels.num_classes - number} more"
        draw.text((left + 15, top), _shortened(name, _LEGEND_PX - 20, font), fill="black", font=font)
    return longer


def save_png(path: Path, image: Image.Image) -> None:
    """Write a PNG of 256 colors, small enough for git; the same image gives the same bytes."""
    with replace_file(path) as part:
        image.quantize(256).save(part, format="PNG", optimize=True)


def _shortened(text: str, width: int, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "...") > width:
        text = text[:-1]
    return text + "..."
