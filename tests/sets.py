"""Helpers of this folder's tests: tiny images, masks and archives."""

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from maskline.convert.archive import SplitSettings, Work

TWO_CLASSES = (("background", (0, 0, 0)), ("vessel", (255, 0, 0)))


def picture(seed, size=(12, 10), mode="RGB"):
    """A noise image of (width, height)."""
    shape = (size[1], size[0], 3) if mode == "RGB" else (size[1], size[0])
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8))


def index_mask(seed, size=(12, 10), values=(0, 1)):
    """A mask of random values that has all of them."""
    pixels = np.random.default_rng(seed).choice(values, (size[1], size[0])).astype(np.uint8)
    pixels.flat[: len(values)] = values
    return Image.fromarray(pixels)


def save(image, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)
    return path


@dataclass
class Run:
    code: int
    err: str
    exception: BaseException | None

    @property
    def lines(self):
        return self.err.splitlines()


def zip_of(path: Path, members):
    """Write a zip of name -> bytes, which is the same at any time of day."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content)  # of 1980
    return path


def tree(folder):
    """Every file below a folder with its bytes."""
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def split_settings(**changes):
    """SplitSettings that make no splits, with some fields changed."""
    values = {"val_fraction": 0.0, "test_fraction": 0.0, "seed": 0, "fold": 0, "num_folds": 0}
    values |= {"stratify": False, "own": True, "lists": {}, "train_images": None}
    values["near_duplicates"] = "error"
    return SplitSettings(**{**values, **changes})


def work(folder, *, workers=1, layout_key="folder"):
    """How a test's conversion is done: what is finished goes into ``folder``."""
    return Work(workers=workers, finished=folder / "finished", layout_key=layout_key, progress=lambda done, _: done)


def pack_folder(folder: Path, target: Path):
    """Write the files below a folder as a zip."""
    names = sorted(path for path in folder.rglob("*") if path.is_file())
    return zip_of(target, {path.relative_to(folder).as_posix(): path.read_bytes() for path in names})
