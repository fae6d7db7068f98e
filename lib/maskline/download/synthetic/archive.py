"""The synthetic set as a source archive, laid out as any other: SPLIT/{images,masks,second,valid}/PATIENT_SIDE.png."""

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from maskline.download.archives import add_stream
from maskline.download.synthetic.eyes import draw_eyes


def write_archive(target: Path, *, num_train: int, num_test: int, size: int, seed: int) -> None:
    """Draw the set and write it as a zip of the same bytes each time; no patient is in both splits.

    Args:
        target: The zip file.
        num_train: Images of the train split.
        num_test: Images of the test split.
        size: Height and width, px.
        seed: Another seed draws other eyes.
    """
    first_test_patient = 1 + (num_train + 1) // 2
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for split, count, first in (("test", num_test, first_test_patient), ("train", num_train, 1)):
            for eye in draw_eyes(num_eyes=count, first_patient=first, size=size, seed=seed):
                for kind, pixels in (
                    ("images", eye.image),
                    ("masks", eye.mask),
                    ("second", eye.second),
                    ("valid", eye.valid),
                ):
                    _add_png(archive, f"{split}/{kind}/{eye.id}.png", pixels)


def _add_png(archive: zipfile.ZipFile, name: str, pixels: NDArray[Any]) -> None:
    sink = io.BytesIO()
    Image.fromarray(pixels if pixels.dtype == np.uint8 else pixels.astype(np.uint8) * 255).save(sink, format="PNG")
    size = sink.tell()
    sink.seek(0)
    add_stream(archive, name, sink, size=size)
