"""What ``maskline new`` finds out of images of more bands or bits."""

import numpy as np
import pytest
import tifffile
from PIL import Image

from maskline.projects.image_kinds import look


def tiffs(folder, bands, dtype, *, top=3900, count=5):
    paths = []
    for n in range(count):
        values = np.random.default_rng(n).integers(0, top, (40, 40, bands)).astype(dtype)
        paths.append(folder / f"{n}.tif")
        options = {"planarconfig": "contig"} if bands > 1 else {}
        tifffile.imwrite(paths[-1], values.squeeze(), photometric="minisblack", **options)
    return paths


def test_twelve_bands_of_16_bits(tmp_path, capfd):
    kind = look(tiffs(tmp_path, 12, np.uint16))
    assert kind.data == {"channels": list(range(12)), "image_scale": [0.0, 3900.0]}
    assert kind.model == {"in_channels": 12, "mean": "auto", "std": "auto"}
    assert kind.lines[0] == "images: 12 bands of 16 bits, the most between 0 and 3900 in 5 of them"
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("bands", "dtype", "top", "data"),
    [
        (1, np.uint16, 4000, {"image_scale": [0.0, 4000.0]}),
        (4, np.uint8, 200, {"channels": [0, 1, 2, 3]}),
        (5, np.float32, 100, {"channels": [0, 1, 2, 3, 4], "image_scale": [0.0, 99.0]}),
        (3, np.uint8, 200, {}),
        (1, np.uint8, 200, {}),
    ],
)
def test_other_kinds(tmp_path, bands, dtype, top, data):
    kind = look(tiffs(tmp_path, bands, dtype, top=top))
    assert kind.data == data
    assert bool(kind.model) == (bands > 3)


def test_exposures_that_differ_are_said_of_gray_images_alone(tmp_path):
    for bands, tops, said in ((1, (900, 4000), True), (1, (2500, 4000), False), (4, (900, 4000), False)):
        folders = [tmp_path / f"{bands} {tops}" / str(top) for top in tops]
        for folder in folders:
            folder.mkdir(parents=True)
        paths = [
            path for folder, top in zip(folders, tops, strict=True) for path in tiffs(folder, bands, np.uint16, top=top)
        ]
        hint = "their brightness differs: data.image_scale [p1, p99.8] would scale each by itself"
        assert (hint in look(paths).lines) == said


def test_images_that_differ_are_left_to_convert(tmp_path):
    paths = tiffs(tmp_path, 5, np.uint8, top=200)
    Image.new("RGB", (40, 40)).save(tmp_path / "a.jpg")
    assert look([*paths, tmp_path / "a.jpg"]).data == {}
    assert look([]).data == {}


def test_images_that_cannot_be_read_say_nothing_of_their_values(tmp_path):
    bands_first = np.arange(6 * 4 * 5).reshape(6, 4, 5).astype(np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", bands_first, photometric="minisblack")  # a page a band
    kind = look([tmp_path / "a.tif"])
    assert kind.data == {}
    assert "images that cannot be read; the first: " in kind.lines[0]
    assert 'planarconfig="separate"' in kind.lines[0]
    tifffile.imwrite(tmp_path / "a.tif", bands_first, photometric="minisblack", planarconfig="separate")
    assert look([tmp_path / "a.tif"]).data == {"channels": list(range(6)), "image_scale": [0.0, 120.0]}
