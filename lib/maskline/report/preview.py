"""The augmentation preview: what training will see, beside where it comes from, with every drawn parameter."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from maskline.augment.sample import AugmentedSample
from maskline.core.files import write_json
from maskline.data.labels import LabelSet
from maskline.report.overlays import colored, fit, grid, save_png

_TILE_PX = 200
_COLUMNS = 8  # two samples


def write(samples: Iterable[AugmentedSample], labels: LabelSet, *, image: Path, draws: Path) -> None:
    """Write the image grid and the drawn parameters.

    Args:
        samples: What to show, in this order.
        labels: Palette of the masks.
        image: PNG: for each sample the whole original, its mask, the augmented image, its mask.
        draws: JSON: for each sample iteration, position, image id and everything drawn.
    """
    tiles: list[tuple[str, np.ndarray]] = []
    entries = []
    for sample in samples:
        place = {"iteration": sample.iteration, "position": sample.position}
        caption = ", ".join(f"{key} {value}" for key, value in place.items())
        if happened := sample.draw.happened():
            caption = f"{sample.iteration}, {sample.position}: {', '.join(happened)}"
        tiles.append((sample.id, fit(sample.source_image, _TILE_PX)))
        tiles.append(("its mask", fit(colored(sample.source_mask, labels), _TILE_PX)))
        tiles.append((caption, fit(sample.image, _TILE_PX)))
        tiles.append(("mask", fit(colored(sample.mask, labels), _TILE_PX)))
        entries.append({**place, "image": sample.id, **sample.draw.to_dict()})
    save_png(image, grid(tiles, columns=_COLUMNS, labels=labels))
    write_json(draws, entries)
