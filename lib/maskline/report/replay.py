"""One training sample on disk: before and after, every mask that moved along, and the network's own input."""

from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from PIL import Image

from maskline.augment.sample import AugmentedSample
from maskline.core.files import replace_file, write_json
from maskline.data.labels import LabelSet
from maskline.report.overlays import fit, grid, overlay, shown

_TILE_PX = 320
_COLUMNS = 4


def entry(sample: AugmentedSample) -> dict[str, Any]:
    """Return what is known of a sample as plain JSON types."""
    place = {"iteration": sample.iteration, "position": sample.position, "image": sample.id}
    return {**place, **sample.draw.to_dict()}


def write(sample: AugmentedSample, labels: LabelSet, folder: Path) -> None:
    """Write a sample.

    Args:
        sample: As training sees it.
        labels: Palette of the masks.
        folder: Gets before-after.png, image.png (8 bits), mask.png (class ids), valid.png and second.png where the
            image has them, input.safetensors (``image`` float32 3HW, ``target`` int64 HW: what the network and the
            loss get, bit by bit) and params.json.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _save(folder / "before-after.png", grid(_tiles(sample, labels), columns=_COLUMNS))
    _save(folder / "image.png", Image.fromarray(shown(sample.image)))
    _save(folder / "mask.png", _of_ids(sample.mask))
    tensors = {"image": sample.pixels, "target": sample.mask}
    if sample.valid is not None:
        _save(folder / "valid.png", Image.fromarray(sample.valid.astype(np.uint8) * 255))
    if sample.second is not None:
        _save(folder / "second.png", _of_ids(sample.second))
    if sample.other_mask is not None:
        _save(folder / "other-mask.png", _of_ids(sample.other_mask))
        tensors["other_target"] = sample.other_mask
    with replace_file(folder / "input.safetensors") as part:
        safetensors.numpy.save_file({key: np.ascontiguousarray(value) for key, value in tensors.items()}, part)
    write_json(folder / "params.json", entry(sample))


def _tiles(sample: AugmentedSample, labels: LabelSet) -> list[tuple[str, np.ndarray]]:
    tiles = [
        (sample.id, sample.source_image),
        ("its mask", overlay(sample.source_image, sample.source_mask, labels)),
        (f"iteration {sample.iteration}, position {sample.position}", sample.image),
        ("as training sees it", overlay(sample.image, sample.mask, labels)),
    ]
    if sample.other_mask is not None:
        tiles.append(("mask of the other image", overlay(sample.image, sample.other_mask, labels)))
    if sample.valid is not None:
        tiles.append(("valid area", np.where(sample.valid[..., None], sample.image, sample.image // 4)))
    if sample.second is not None:
        tiles.append(("second observer", overlay(sample.image, sample.second, labels)))
    return [(caption, fit(image, _TILE_PX)) for caption, image in tiles]


def _of_ids(mask: np.ndarray) -> Image.Image:
    return Image.fromarray(mask.astype(np.uint8 if mask.max() < 256 else np.uint16))


def _save(path: Path, image: Image.Image) -> None:
    with replace_file(path) as part:
        image.save(part, format="PNG")
