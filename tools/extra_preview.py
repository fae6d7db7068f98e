"""The picture of seven transforms of kornia's in docs/how-to/augmentation.md, drawn by the augmentation preview.

``python -m tools.extra_preview PREPARED`` takes the first samples of training, each with one row of ``augment.extra``
that always happens, and writes docs/how-to/kornia.png.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
from PIL import Image

from maskline.augment.sample import AugmentedSample
from maskline.builders.augment import build_batches
from maskline.data.dataset import PreparedSplit
from maskline.params.augment import AugmentParams
from maskline.params.whole import Params
from maskline.report import preview
from maskline.report.overlays import save_png
from tools.closure import ROOT

ROWS: tuple[dict[str, Any], ...] = (
    {"name": "RandomPlanckianJitter", "mode": "CIED"},
    {"name": "RandomGaussianIllumination", "gain": [0.3, 0.5]},
    {"name": "RandomPlasmaShadow", "shade_intensity": [-0.6, -0.3]},
    {"name": "RandomMotionBlur", "kernel_size": 9, "angle": 45.0, "direction": 0.5},
    {"name": "RandomPosterize", "bits": [2.0, 3.0]},
    {"name": "RandomThinPlateSpline", "scale": 0.3},
    {"name": "RandomPerspective", "distortion_scale": 0.6},
)


def samples(split: PreparedSplit) -> Iterator[AugmentedSample]:
    """Yield one sample for each row, nothing else switched on but the crop."""
    params = Params()
    off = {"rotate_degrees": 0, "flip_horizontal": 0, "flip_vertical": 0, "photometric": {"prob": 0}}
    for position, row in enumerate(ROWS):
        values = {**off, "ratio_range": (1.0, 1.0), "extra": ({**row, "p": 1.0},)}
        augment = AugmentParams.model_validate(values, strict=False)
        batches = build_batches(split, augment=augment, look=params.model, train=params.train)
        yield from batches.augmented(0, [position], accumulate=1)


@click.command()
@click.argument("prepared", type=click.Path(path_type=Path, exists=True))
def main(prepared: Path) -> None:
    """Write the picture."""
    split = PreparedSplit.open(prepared, "train", cache="ram")
    with tempfile.TemporaryDirectory() as folder:
        drawn = Path(folder) / "preview.png"
        preview.write(samples(split), split.labels, image=drawn, draws=Path(folder) / "draws.json")
        with Image.open(drawn) as image:
            save_png(ROOT / "docs/how-to/kornia.png", image.convert("RGB").quantize(256))


if __name__ == "__main__":
    main()
