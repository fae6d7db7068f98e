import io
import struct

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from maskline.core.errors import DataError
from maskline.predict.png_rows import PngRows, PngWriter


def picture(mode, size=(53, 41)):
    rows, columns = np.mgrid[: size[0], : size[1]]
    generator = np.random.default_rng(0)
    smooth = np.stack([rows * 3 + columns * k for k in range(4)], -1) % 256  # makes the encoder use every filter
    noisy = generator.integers(0, 256, (*size, 4))
    values = np.where((rows > 30)[..., None], noisy, smooth).astype(np.uint8)
    full = Image.fromarray(values, mode="RGBA")
    return full.convert("RGB").quantize(64) if mode == "P" else full.convert(mode)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P"])
@pytest.mark.parametrize("band", [1, 7, 53])
def test_bands_are_the_image(tmp_path, mode, band):
    path = tmp_path / "a.png"
    picture(mode).save(path, optimize=True)
    with PngRows(path) as rows:
        assert rows.size == (53, 41)
        parts = [rows.read(min(band, 53 - top)) for top in range(0, 53, band)]
        assert rows.has_alpha == (mode in {"RGBA", "LA"})
        assert rows.turn == 1
    with Image.open(path) as image:
        expected = np.asarray(image.convert("RGB") if mode == "P" else image).reshape(53, 41, -1)
    np.testing.assert_array_equal(np.concatenate(parts), expected)


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_sixteen_bits_by_rows(tmp_path, count):
    values = (np.random.default_rng(0).integers(0, 65536, (53, 41, count)) // 3).astype(np.uint16)
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(values))
    with PngRows(tmp_path / "a.png") as rows:
        parts = [rows.read(min(7, 53 - top)) for top in range(0, 53, 7)]
    np.testing.assert_array_equal(np.concatenate(parts), values)


def test_a_rotation_is_told(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    picture("RGB").save(tmp_path / "a.png", exif=exif)
    with PngRows(tmp_path / "a.png") as rows:
        assert rows.turn == 6


def test_what_cannot_be_read_by_rows_is_an_error(tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(np.zeros((4, 4), bool)).save(path)
    with pytest.raises(DataError, match="a PNG of 1 bits"):
        PngRows(path)
    path.write_bytes(b"BM" + bytes(50))
    with pytest.raises(DataError, match="no PNG"):
        PngRows(path)


def test_a_cut_file_is_an_error(tmp_path):
    path = tmp_path / "a.png"
    picture("RGB").save(path)
    path.write_bytes(path.read_bytes()[:-300])
    with PngRows(path) as rows, pytest.raises(DataError, match="ends too early"):
        rows.read(53)


@pytest.mark.parametrize(("width", "height"), [(1 << 30, 40), (40, 1 << 30), (0, 40), (40, 0)])
def test_a_size_that_the_file_cannot_hold(tmp_path, width, height):
    picture("RGB").save(tmp_path / "a.png")
    whole = (tmp_path / "a.png").read_bytes()
    (tmp_path / "a.png").write_bytes(whole[:16] + struct.pack(">II", width, height) + whole[24:])
    with pytest.raises(DataError, match=f"states {width}x{height} px, which a file of its length cannot hold"):
        PngRows(tmp_path / "a.png")


@pytest.mark.parametrize("palette", [None, ((0, 0, 0), (230, 60, 60), (1, 2, 3))])
def test_written_rows_are_read_by_others(palette):
    ids = np.random.default_rng(0).integers(0, 3, (37, 23)).astype(np.uint8)
    stream = io.BytesIO()
    writer = PngWriter(stream, (37, 23), palette=palette)
    for top in range(0, 37, 10):
        writer.write(ids[top : top + 10])
    writer.finish()
    found = Image.open(stream)
    np.testing.assert_array_equal(np.asarray(found), ids)
    if palette:
        np.testing.assert_array_equal(np.asarray(found.convert("RGB")), np.array(palette, np.uint8)[ids])
