"""Images of what the network predicts while it trains: image, truth and prediction side by side."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn

from maskline.core.files import replace_file
from maskline.data.dataset import PreparedSplit
from maskline.data.labels import LabelSet
from maskline.runtime.device import Compute
from maskline.runtime.normalize import normalize

_GAP_PX = 4
_WHITE = 255


@torch.no_grad()
def draw(
    path: Path,
    model: nn.Module,
    split: PreparedSplit,
    *,
    samples: int,
    compute: Compute,
    mean: Sequence[float],
    std: Sequence[float],
) -> None:
    """Write a PNG with a row for each of the first samples of a split; the same weights give the same bytes.

    Args:
        path: Of the PNG.
        model: A segmentor; left in eval mode.
        split: Images of any sizes.
        samples: Rows, at most.
        compute: Device, precision, memory format.
        mean: Gray levels of 255, a channel.
        std: Gray levels of 255, a channel.
    """
    model.eval()
    rows = []
    for index in range(min(samples, len(split))):
        sample = split.sample(index)
        image = torch.from_numpy(sample.image).permute(2, 0, 1)[None].to(compute.device)
        normal = normalize(image, mean, std).contiguous(memory_format=compute.memory_format)
        with compute.autocast():
            predicted = model(normal).float().argmax(1)[0].cpu().numpy()
        shown = _gray_levels(sample.image)
        rows.append([shown, *(_colored(shown, classes, split.labels) for classes in (sample.mask, predicted))])
    sheet = _stacked(rows)
    with replace_file(path) as part:
        Image.fromarray(sheet).save(part, format="PNG")


def _gray_levels(image: np.ndarray) -> np.ndarray:
    """Return the first three channels, or one channel thrice, as uint8."""
    channels = image[..., :3] if image.shape[2] >= 3 else np.repeat(image[..., :1], 3, axis=2)
    return np.asarray(channels, dtype=np.float64).clip(0, 255).astype(np.uint8)


def _colored(image: np.ndarray, classes: np.ndarray, labels: LabelSet) -> np.ndarray:
    """Return the image half mixed with the colors of its classes; ignored pixels stay as they are."""
    known = classes < labels.num_classes
    colors = np.asarray(labels.palette, dtype=np.uint16)[np.where(known, classes, 0)]
    return np.where(known[..., None], (image.astype(np.uint16) + colors) // 2, image).astype(np.uint8)


def _stacked(rows: Sequence[Sequence[np.ndarray]]) -> np.ndarray:
    width = max(row[0].shape[1] for row in rows)
    height = sum(row[0].shape[0] for row in rows) + _GAP_PX * (len(rows) - 1)
    sheet = np.full((height, 3 * width + 2 * _GAP_PX, 3), _WHITE, dtype=np.uint8)
    top = 0
    for row in rows:
        for place, panel in enumerate(row):
            left = place * (width + _GAP_PX)
            sheet[top : top + panel.shape[0], left : left + panel.shape[1]] = panel
        top += row[0].shape[0] + _GAP_PX
    return sheet
