"""Images of an evaluated image: its labels, its prediction and its errors as see-through layers.

Error colors are off-white, orange and blue over the image in dark gray: with normal color vision and with each
of the three dichromacies, any two of them are at least 35 apart in CIELAB.
"""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from maskline.data.labels import LabelSet, Rgb
from maskline.report.overlays import shown

HIT: Rgb = (245, 245, 245)
FALSE_ALARM: Rgb = (230, 159, 0)
MISS: Rgb = (60, 150, 255)

_CAPTION_PX = 44
_DIMMED = 0.42
_HIT_OPACITY = 0.85

Ids = npt.NDArray[Any]
Picture = npt.NDArray[np.uint8]
Rgba = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorColor:
    """One value of an error layer.

    Args:
        name: What it means.
        color: How it looks.
        opacity: 0..1.
    """

    name: str
    color: Rgb
    opacity: float


def error_legend(labels: LabelSet) -> tuple[ErrorColor, ...]:
    """Return the colors of ``error_ids``'s values from 0 on; pixels of higher values are clear."""
    if labels.num_classes == 2:
        return (
            ErrorColor(name=f"{labels.class_names[1]} found (TP)", color=HIT, opacity=_HIT_OPACITY),
            ErrorColor(name="false alarm (FP)", color=FALSE_ALARM, opacity=1),
            ErrorColor(name="missed (FN)", color=MISS, opacity=1),
        )
    return (ErrorColor(name="wrong class", color=FALSE_ALARM, opacity=1),)


def error_ids(prediction: Ids, target: Ids, labels: LabelSet) -> Ids:
    """Return the position in ``error_legend`` of each pixel, HW uint8; pixels without a color get its length.

    With two classes, those are pixels that do not count or are rightly background; with more, all but the wrong.
    """
    right = prediction == target
    clear = len(error_legend(labels))
    if labels.num_classes == 2:
        ids = np.where(target == 1, np.where(right, 0, 2), np.where(right, clear, 1))
    else:
        ids = np.where(right, clear, 0)
    ids[target == labels.ignore_index] = clear
    return ids.astype(np.uint8)


def has_background(labels: LabelSet) -> bool:
    """Whether class 0 is what lies around the objects, and stays clear in images."""
    return labels.first_is_clear


def class_layer(ids: Ids, labels: LabelSet, *, longest_px: int) -> bytes:
    """Return class ids as a PNG in the set's palette; ignored pixels and background are clear."""
    clear = (ids == labels.ignore_index) | ((ids == 0) & has_background(labels))
    return _palette_png(
        np.where(clear, labels.num_classes, ids), [(*color, 255) for color in labels.palette], longest_px
    )


def error_layer(prediction: Ids, target: Ids, labels: LabelSet, *, longest_px: int) -> bytes:
    """Return the errors as a PNG in the legend's colors."""
    colors = [(*entry.color, round(255 * entry.opacity)) for entry in error_legend(labels)]
    return _palette_png(error_ids(prediction, target, labels), colors, longest_px)


def photo(image: Picture, *, longest_px: int, quality: int) -> bytes:
    """Return the image as a JPEG."""
    return _jpeg(_fitted(Image.fromarray(shown(image)), longest_px, Image.Resampling.LANCZOS), quality=quality)


def overlay_image(
    image: Picture, prediction: Ids, target: Ids, labels: LabelSet, *, caption: str, longest_px: int, max_bytes: int
) -> bytes:
    """Return a JPEG of the errors over the darkened image, with caption and legend below.

    Args:
        image: HWC uint8.
        prediction: Class ids, HW.
        target: Class ids with ignored pixels, HW.
        labels: Classes of the set.
        caption: One line.
        longest_px: No side of the image is longer.
        max_bytes: The quality is lowered until the file is no larger, to 40 at the least.
    """
    legend = error_legend(labels)
    gray = _DIMMED * np.asarray(Image.fromarray(shown(image)).convert("L"), dtype=np.float32)[..., None]
    colors = np.array([*(entry.color for entry in legend), (0, 0, 0)], dtype=np.float32)
    opacity = np.array([*(entry.opacity for entry in legend), 0], dtype=np.float32)[:, None]
    errors = error_ids(prediction, target, labels)
    colored = (gray * (1 - opacity[errors]) + colors[errors] * opacity[errors]).round()
    fitted = _fitted(Image.fromarray(colored.astype(np.uint8)), longest_px - _CAPTION_PX, Image.Resampling.LANCZOS)
    width = max(fitted.width, min(longest_px, 360))
    sheet = Image.new("RGB", (width, fitted.height + _CAPTION_PX), (17, 20, 24))
    sheet.paste(fitted, ((width - fitted.width) // 2, 0))
    _write_legend(sheet, caption, legend, top=fitted.height)
    for quality in range(82, 40, -7):
        encoded = _jpeg(sheet, quality=quality)
        if len(encoded) <= max_bytes:
            return encoded
    return _jpeg(sheet, quality=40)


def data_uri(content: bytes, *, kind: str) -> str:
    """Return bytes as a ``data:`` address; ``kind`` is jpeg or png."""
    return f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}"


def _write_legend(sheet: Image.Image, caption: str, legend: Sequence[ErrorColor], *, top: int) -> None:
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(size=13)
    draw.text((8, top + 4), caption, fill=(235, 238, 242), font=font)
    left = 8
    for entry in legend:
        draw.rectangle((left, top + 27, left + 9, top + 36), fill=entry.color)
        draw.text((left + 15, top + 23), entry.name, fill=(200, 206, 214), font=font)
        left += 15 + int(draw.textlength(entry.name, font=font)) + 16


def _palette_png(ids: Ids, colors: Sequence[Rgba], longest_px: int) -> bytes:
    """Return ids 0..len(colors) as a PNG; the last id is clear."""
    fitted = np.asarray(_fitted(Image.fromarray(ids.astype(np.int32)), longest_px, Image.Resampling.NEAREST))
    table = [*colors, (0, 0, 0, 0)]
    stream = io.BytesIO()
    if len(table) <= 256:
        image = Image.fromarray(fitted.astype(np.uint8))
        image.putpalette([value for *rgb, _ in table for value in rgb])
        image.save(stream, format="PNG", optimize=True, transparency=bytes(alpha for *_, alpha in table))
    else:
        Image.fromarray(np.array(table, dtype=np.uint8)[fitted]).save(stream, format="PNG", optimize=True)
    return stream.getvalue()


def _fitted(image: Image.Image, longest_px: int, resample: Image.Resampling) -> Image.Image:
    """Return the image shrunk to fit, or a small one enlarged by a whole factor so that its pixels show."""
    longest = max(image.size)
    if longest > longest_px:
        scale = longest_px / longest
        size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
        return image.resize(size, resample)
    factor = longest_px // longest
    if factor > 1:
        return image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)
    return image


def _jpeg(image: Image.Image, *, quality: int) -> bytes:
    stream = io.BytesIO()
    image.convert("RGB").save(stream, format="JPEG", quality=quality, subsampling=0, optimize=True)
    return stream.getvalue()
