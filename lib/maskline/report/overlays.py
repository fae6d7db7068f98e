"""Images of images and masks, with Pillow alone: overlays and grids of tiles."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps

from maskline.core.files import replace_file
from maskline.data.labels import LabelSet

_MARGIN_PX = 6
_CAPTION_PX = 16


def shown(image: np.ndarray) -> np.ndarray:
    """Return HW3 uint8 for an image HWC: RGB as it is; of other channels the first three, or the first as gray."""
    channels = image.shape[2] if image.ndim == 3 else 3
    if image.ndim == 2 or channels == 3:
        return image
    return np.ascontiguousarray(image[..., :3]) if channels > 3 else np.repeat(image[..., :1], 3, axis=2)


def overlay(image: np.ndarray, mask: np.ndarray, labels: LabelSet, *, opacity: float = 0.5) -> np.ndarray:
    """Lay a mask's colors over an image.

    Class 0 stays clear where it is called background, so that the image shows; ignored pixels are hatched gray.

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
    if labels.class_names[0].lower() == "background":
        strength[0] = 0
    strength[labels.ignore_index] = 0
    index = mask.astype(np.int64)
    mixed = shown(image).astype(np.float32) * (1 - strength[index]) + table[index] * strength[index]
    height, width = mask.shape
    rows, columns = np.indices((height, width), sparse=True)
    mixed[(index == labels.ignore_index) & ((rows + columns) % 8 < 2)] = 128
    return mixed.round().astype(np.uint8)


def fit(image: np.ndarray, side: int) -> np.ndarray:
    """Return the image scaled so that its longer side is ``side`` px, aspect kept."""
    whole = Image.fromarray(shown(image))
    return np.asarray(ImageOps.contain(whole, (side, side), Image.Resampling.LANCZOS))


def grid(tiles: Sequence[tuple[str, np.ndarray]], *, columns: int) -> Image.Image:
    """Lay captioned tiles out in rows.

    Args:
        tiles: Caption and HW3 uint8 image, row by row; images may differ in size.
        columns: Tiles in a row.
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
    return sheet


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
