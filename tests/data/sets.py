"""Helpers of this folder's tests: tiny pictures, masks and archives."""

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

TWO_CLASSES = (("background", (0, 0, 0)), ("vessel", (255, 0, 0)))


def picture(seed, size=(12, 10), mode="RGB"):
    """A noise picture of (width, height)."""
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
    """Write a zip of name -> bytes."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def tree(folder):
    """Every file below a folder with its bytes."""
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}
