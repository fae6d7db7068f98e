"""The augmentation preview: what training will see, beside where it comes from, with every drawn parameter."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from maskline.augment.sample import AugmentedSample
from maskline.core.files import write_json
from maskline.data.labels import LabelSet
from maskline.report.overlays import fit, grid, overlay, save_png

_TILE_PX = 200
_COLUMNS = 4


def write(samples: Iterable[AugmentedSample], labels: LabelSet, *, image: Path, draws: Path) -> None:
    """Write the image grid and the drawn parameters.

    Args:
        samples: What to show, in this order.
        labels: Palette of the masks.
        image: PNG: pairs of the whole original and the augmented sample, masks laid over both.
        draws: JSON: for each sample iteration, position, image id and everything drawn.
    """
    tiles: list[tuple[str, np.ndarray]] = []
    entries = []
    for sample in samples:
        place = {"iteration": sample.iteration, "position": sample.position}
        caption = ", ".join(f"{key} {value}" for key, value in place.items())
        if happened := sample.draw.happened():
            caption = f"{sample.iteration}, {sample.position}: {', '.join(happened)}"
        tiles.append((sample.id, fit(overlay(sample.source_image, sample.source_mask, labels), _TILE_PX)))
        tiles.append((caption, fit(overlay(sample.image, sample.mask, labels), _TILE_PX)))
        entries.append({**place, "image": sample.id, **sample.draw.to_dict()})
    save_png(image, grid(tiles, columns=_COLUMNS))
    write_json(draws, entries)
