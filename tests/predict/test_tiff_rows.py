import struct
from dataclasses import replace

import numpy as np
import pytest
import tifffile
from PIL import Image

from maskline.core.errors import DataError
from maskline.predict.tiff_rows import TiffRows
from maskline.reading.bands import read_bands
from maskline.reading.headers import stored


def drawn(size=(70, 53), channels=3):
    shape = size if channels == 1 else (*size, channels)
    return np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)


def read_all(path, *, step):
    with TiffRows(path) as rows:
        height, _ = rows.size
        return np.concatenate([rows.read(min(step, height - top)) for top in range(0, height, step)])


@pytest.mark.parametrize("step", [1, 7, 70])
@pytest.mark.parametrize(
    "layout",
    [{}, {"rowsperstrip": 9}, {"tile": (16, 32)}, {"tile": (32, 16), "compression": "zlib", "predictor": True}],
)
def test_rows_are_those_of_the_whole(tmp_path, layout, step):
    image = drawn()
    tifffile.imwrite(tmp_path / "a.tif", image, photometric="rgb", **layout)
    np.testing.assert_array_equal(read_all(tmp_path / "a.tif", step=step), image)


def test_gray_and_alpha(tmp_path):
    tifffile.imwrite(tmp_path / "grey.tif", drawn(channels=1), photometric="minisblack")
    np.testing.assert_array_equal(read_all(tmp_path / "grey.tif", step=20), drawn(channels=1)[..., None])
    tifffile.imwrite(tmp_path / "alpha.tif", drawn(channels=4), photometric="rgb", extrasamples=["unassalpha"])
    np.testing.assert_array_equal(read_all(tmp_path / "alpha.tif", step=20), drawn(channels=4))
    with TiffRows(tmp_path / "alpha.tif") as rows:
        assert (rows.has_alpha, rows.turn) == (True, 1)


def test_bands_of_sixteen_bits_with_overviews(tmp_path):
    image = drawn(channels=5).astype(np.uint16) * 250
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        shape = {"photometric": "minisblack", "planarconfig": "contig", "compression": "lzw", "tile": (32, 16)}
        file.write(image[::2, ::2], subfiletype=1, metadata=None, **shape)
        file.write(image, metadata=None, extratags=[(274, "H", 1, 3, True)], **shape)
    np.testing.assert_array_equal(read_all(tmp_path / "a.tif", step=9), image)
    with TiffRows(tmp_path / "a.tif") as rows:
        assert (rows.has_alpha, rows.turn) == (False, 3)


def test_pillows_own(tmp_path):
    Image.fromarray(drawn()).save(tmp_path / "a.tiff", compression="tiff_deflate")
    np.testing.assert_array_equal(read_all(tmp_path / "a.tiff", step=11), drawn())


def test_what_cannot_be_read_by_rows_is_one_line(tmp_path):
    (tmp_path / "no.tif").write_bytes(b"not a picture")
    with pytest.raises(DataError, match="no TIFF"):
        TiffRows(tmp_path / "no.tif")
    tifffile.imwrite(tmp_path / "apart.tif", drawn(), photometric="rgb", planarconfig="separate")
    with pytest.raises(DataError, match="channels, apart; save it as a TIFF of gray, RGB or more bands"):
        TiffRows(tmp_path / "apart.tif")
    tifffile.imwrite(tmp_path / "two.tif", np.stack([drawn(channels=1)] * 2), photometric="minisblack")
    with pytest.raises(DataError, match="2 frames in one file"):
        TiffRows(tmp_path / "two.tif")


def test_a_cut_file_is_an_error(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", drawn(size=(400, 300)), photometric="rgb", rowsperstrip=50)
    whole = (tmp_path / "a.tif").read_bytes()
    (tmp_path / "a.tif").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError):
        read_all(tmp_path / "a.tif", step=100)


@pytest.mark.parametrize("layout", [{"rowsperstrip": 16}, {"rowsperstrip": 200}, {"tile": (32, 64)}])
@pytest.mark.parametrize("codec", ["jpeg", "png", "jpeg2000", "webp"])
def test_segments_that_are_images_themselves(tmp_path, codec, layout):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, drawn(), photometric="rgb", compression=codec, **layout)
    np.testing.assert_array_equal(read_all(path, step=11), tifffile.imread(path))
    form = replace(stored(path), whole=False)
    np.testing.assert_array_equal(read_bands(path, exif="ignore", form=form)[0], tifffile.imread(path))
    if codec != "webp":  # which has no more than 16383x16383
        path.write_bytes(larger(path.read_bytes(), codec))
        for read in (lambda: read_all(path, step=11), lambda: read_bands(path, exif="ignore", form=form)):
            with pytest.raises(DataError, match=r"px that is an image of \d+x30000 px; replace the file"):
                read()


def larger(whole, codec):
    """Return a file whose first segment says that it is 30000 px high."""
    if codec == "jpeg":
        at = whole.index(b"\xff\xc0") + 5
        return whole[:at] + struct.pack(">H", 30000) + whole[at + 2 :]
    at = whole.index(b"IHDR") + 8 if codec == "png" else whole.index(b"\xff\x4f\xff\x51") + 12
    return whole[:at] + struct.pack(">I", 30000) + whole[at + 4 :]


def test_a_codec_whose_size_is_not_looked_at(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", drawn(), photometric="rgb", compression="jpegxl")
    with pytest.raises(DataError, match="packed as JPEGXL; save it with deflate, LZW or JPEG"):
        TiffRows(tmp_path / "a.tif")


def test_strips_that_are_missing_are_not_zeros(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", drawn(), photometric="rgb", rowsperstrip=70)
    with tifffile.TiffFile(tmp_path / "a.tif", mode="r+") as file:
        file.pages[0].tags["ImageLength"].overwrite(7000)
    with pytest.raises(DataError, match="1 strips or tiles of an image of 53x7000 px"):
        TiffRows(tmp_path / "a.tif")
