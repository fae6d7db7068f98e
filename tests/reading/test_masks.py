import numpy as np
import pytest
from PIL import Image

from maskline.core.errors import DataError
from maskline.reading import masks

IDS = np.array([[0, 1, 2], [3, 0, 1]], dtype=np.uint8)


def saved(tmp_path, pixels, **options):
    Image.fromarray(pixels).save(tmp_path / "m.png", **options)
    return tmp_path / "m.png"


def test_index_of_8_and_16_bits(tmp_path):
    assert np.array_equal(masks.read_index(saved(tmp_path, IDS), exif="error"), IDS)
    wide = IDS.astype(np.uint16) + 299
    read = masks.read_index(saved(tmp_path, wide), exif="error")
    assert read.dtype == np.int32
    assert np.array_equal(read, wide)


@pytest.mark.parametrize(("bits", "top"), [(1, 1), (2, 3), (4, 15)])
def test_index_of_few_bits_is_not_spread(tmp_path, bits, top):
    ids = np.array([[0, 1, top], [top, 1, 0]], dtype=np.uint8)
    picture = Image.fromarray(ids == 1) if bits == 1 else Image.fromarray(ids * (255 // top))
    path = tmp_path / "m.png"
    if bits == 1:
        picture.save(path)
        expected = ids == 1
    else:
        # Pillow writes no gray PNG of 2 or 4 bits: write one by hand
        import struct
        import zlib

        rows = b"".join(b"\0" + packed(row, bits) for row in ids)

        def chunk(name, content):
            return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

        header = struct.pack(">IIBBBBB", 3, 2, bits, 0, 0, 0, 0)
        path.write_bytes(
            b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
        )
        expected = ids
    assert np.array_equal(masks.read_index(path, exif="error"), expected)


def packed(row, bits):
    text = "".join(f"{value:0{bits}b}" for value in row)
    text += "0" * (-len(text) % 8)
    return int(text, 2).to_bytes(len(text) // 8, "big")


def test_index_refuses_palette_and_color(tmp_path):
    palette = Image.fromarray(IDS, mode=None).convert("P")
    palette.save(tmp_path / "p.png")
    with pytest.raises(DataError, match=r"p.png: mode P .*mask_encoding to palette"):
        masks.read_index(tmp_path / "p.png", exif="error")
    colors = np.stack([IDS, IDS, IDS + 1], axis=-1)
    Image.fromarray(colors).save(tmp_path / "c.png")
    with pytest.raises(DataError, match=r"mode RGB of \d+ colors, not gray; set data.mask_encoding to color"):
        masks.read_index(tmp_path / "c.png", exif="error")


def test_gray_values_in_equal_and_opaque_channels(tmp_path):
    for mode in ("RGB", "RGBA", "LA"):
        image = Image.fromarray(IDS).convert(mode)
        image.save(tmp_path / "c.png")
        assert np.array_equal(masks.read_index(tmp_path / "c.png", exif="error"), IDS)
        if mode != "RGB":
            image.putalpha(9)
            image.save(tmp_path / "c.png")
            with pytest.raises(DataError, match=f"mode {mode} with pixels that are not opaque"):
                masks.read_index(tmp_path / "c.png", exif="error")


def test_colors_with_an_opaque_alpha_channel(tmp_path):
    image = Image.fromarray(np.array([[(255, 0, 0), (0, 0, 0)]], np.uint8)).convert("RGBA")
    image.save(tmp_path / "c.png")
    colors = ((0, 0, 0), (255, 0, 0))
    assert masks.read_color(tmp_path / "c.png", colors=colors, exif="error").tolist() == [[1, 0]]
    image.putalpha(0)
    image.save(tmp_path / "c.png")
    with pytest.raises(DataError, match="not opaque; save it without alpha channel"):
        masks.read_color(tmp_path / "c.png", colors=colors, exif="error")


def test_palette_numbers_count_and_not_colors(tmp_path):
    picture = Image.fromarray(IDS)
    picture.putpalette([9, 9, 9] * 256)
    assert picture.mode == "P"
    picture.save(tmp_path / "p.png")
    assert np.array_equal(masks.read_palette(tmp_path / "p.png", exif="error"), IDS)
    with pytest.raises(DataError, match="mode L, not P"):
        masks.read_palette(saved(tmp_path, IDS), exif="error")


@pytest.mark.parametrize("high", [1, 255])
def test_binary(tmp_path, high):
    pixels = (np.array([[0, 1], [1, 0]]) * high).astype(np.uint8)
    assert masks.read_binary(saved(tmp_path, pixels), exif="error").tolist() == [[0, 1], [1, 0]]
    assert not masks.read_binary(saved(tmp_path, pixels * 0), exif="error").any()


def test_binary_refuses_other_values_and_says_where(tmp_path):
    pixels = np.array([[0, 255, 254], [1, 0, 254]], dtype=np.uint8)
    with pytest.raises(DataError) as caught:
        masks.read_binary(saved(tmp_path, pixels), exif="error")
    text = str(caught.value)
    assert "value 1 in 1 pixels (first at row 1, column 0), value 254 in 2 pixels (first at row 0, column 2)" in text
    assert "JPEG" in text


def test_above(tmp_path):
    pixels = np.array([[0, 127, 128, 255]], dtype=np.uint8)
    assert masks.read_above(saved(tmp_path, pixels), threshold=128, exif="error").tolist() == [[0, 0, 1, 1]]
    assert masks.read_above(saved(tmp_path, pixels > 127), threshold=128, exif="error").tolist() == [[0, 0, 1, 1]]


@pytest.mark.parametrize("pixels", [np.array([[0, 1]]), np.array([[0, 255]]), np.array([[3, 250]])])
def test_area(tmp_path, pixels):
    assert masks.read_area(saved(tmp_path, pixels.astype(np.uint8)), exif="error").tolist() == [[False, True]]


COLORS = ((200, 0, 0), (0, 0, 0), (0, 0, 200))


def test_color(tmp_path):
    ids = np.array([[0, 1, 2], [2, 1, 0]])
    pixels = np.array(COLORS, dtype=np.uint8)[ids]
    assert np.array_equal(masks.read_color(saved(tmp_path, pixels), colors=COLORS, exif="error"), ids)
    as_palette = Image.fromarray(pixels).quantize(8)
    as_palette.save(tmp_path / "p.png")
    assert np.array_equal(masks.read_color(tmp_path / "p.png", colors=COLORS, exif="error"), ids)


def test_an_unknown_color_is_named(tmp_path):
    pixels = np.array(COLORS, dtype=np.uint8)[[[0, 1, 2], [2, 1, 0]]]
    pixels[1, 2] = (7, 8, 9)
    with pytest.raises(DataError, match=r"color \(7, 8, 9\) at row 1, column 2 is of no class \(1 such pixels\)"):
        masks.read_color(saved(tmp_path, pixels), colors=COLORS, exif="error")
    with pytest.raises(DataError, match="mode L, not RGB"):
        masks.read_color(saved(tmp_path, IDS), colors=COLORS, exif="error")


def test_many_values_are_cut_short():
    values = np.arange(8).reshape(2, 4)
    text = masks.describe_values(values, values > 2)
    assert text.startswith("value 3 in 1 pixels (first at row 0, column 3), value 4")
    assert text.endswith("and 2 more values")
