"""Deep and many-channelled images: channels by name, values by a rule, never cut or wrapped."""

import numpy as np
import pytest
import tifffile
from kornia_rs import io
from PIL import Image

from maskline.core.errors import DataError
from maskline.reading.bands import read_pixels, to_bytes
from maskline.reading.headers import stored


def read(path, *, exif="error", alpha="error", channels=None, scale="error"):
    found = read_pixels(path, exif=exif, alpha=alpha, channels=channels, scale=scale)
    return found.pixels, found.kept


def values(channels, dtype=np.uint8, high=256):
    return np.random.default_rng(channels).integers(0, high, (12, 10, channels)).astype(dtype)


@pytest.mark.parametrize("count", [2, 3, 4, 5, 8])
@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_channels_of_a_tiff_by_number(tmp_path, count, planar):
    pixels, path = values(count), tmp_path / "a.tif"
    stacked = pixels if planar == "contig" else pixels.transpose(2, 0, 1)
    tifffile.imwrite(path, stacked, photometric="minisblack", planarconfig=planar)
    assert stored(path).channels == count
    chosen = (count - 1, 0)
    found, kept = read(path, channels=chosen)
    assert np.array_equal(found, pixels[:, :, list(chosen)])
    assert not kept
    with pytest.raises(DataError, match=rf"{count} channels, but data.channels names channel {count}"):
        read(path, channels=(0, count))
    if count != 3:
        with pytest.raises(DataError, match=rf"{count} channels, not gray or RGB; name those to take in data.channels"):
            read(path)


def test_a_fourth_channel_that_is_no_alpha_is_not_dropped(tmp_path):
    pixels, path = values(4), tmp_path / "nir.tif"
    tifffile.imwrite(path, pixels, photometric="rgb", extrasamples=["unspecified"])
    with Image.open(path) as picture:
        assert picture.mode == "RGB", "Pillow leaves it out without a word"
    with pytest.raises(DataError, match="4 channels"):
        read(path)
    assert np.array_equal(read(path, channels=(3, 0, 1))[0], pixels[:, :, [3, 0, 1]])


def test_channels_of_other_files(tmp_path):
    Image.fromarray(values(4)).save(tmp_path / "a.png")
    assert np.array_equal(read(tmp_path / "a.png", channels=(3,))[0], values(4)[:, :, 3:])
    Image.fromarray(values(1)[:, :, 0]).save(tmp_path / "g.png")
    assert np.array_equal(read(tmp_path / "g.png", channels=(0,))[0], values(1))
    assert read(tmp_path / "g.png")[0].shape == (12, 10)


@pytest.mark.parametrize("name", ["rgb.png", "rgb.tif", "grey.png", "grey.tif"])
def test_sixteen_bits_are_scaled_as_told_and_never_cut(tmp_path, name):
    path, count = tmp_path / name, 3 if "rgb" in name else 1
    pixels = values(count, np.uint16, 65536)
    pixels[0, :4] = np.array([0, 256, 300, 65535])[:, None]
    if name == "rgb.png":
        io.write_image_png_u16(str(path), pixels, "rgb")
    elif name == "rgb.tif":
        tifffile.imwrite(path, pixels, photometric="rgb")
    else:
        Image.fromarray(pixels[:, :, 0]).save(path)
    with pytest.raises(DataError, match=r"not 8-bit RGB or gray.*data\.image_scale"):
        read(path)
    found = read(path, scale="full_range")[0].reshape(12, 10, -1)
    assert np.array_equal(found, np.rint(pixels / 257).astype(np.uint8))
    found = read(path, scale=(256, 1276))[0].reshape(12, 10, -1)
    assert found[0, :4, 0].tolist() == [0, 0, 11, 255]
    assert np.array_equal(found, np.rint(np.clip((pixels.astype(float) - 256) / 4, 0, 255)).astype(np.uint8))


def test_floating_point_needs_a_range(tmp_path):
    path = tmp_path / "f.tif"
    tifffile.imwrite(path, np.linspace(-1, 1, 120, dtype=np.float32).reshape(12, 10))
    with pytest.raises(DataError, match=r"no full range; set data\.image_scale to \[low, high\]"):
        read(path, scale="full_range")
    assert read(path, scale=(-1.0, 1.0))[0].ravel()[[0, -1]].tolist() == [0, 255]
    with pytest.raises(DataError, match="not finite"):
        to_bytes(np.array([0.0, np.nan], np.float32), (0.0, 1.0), place=path)


def test_percentiles_are_those_of_each_channel_of_each_image(tmp_path):
    dim, bright = (np.tile(np.arange(low, low + 100), (100, 1))[:, :, None] for low in (10, 150))
    pixels = np.concatenate([dim, bright, np.full_like(dim, 7)], axis=2).astype(np.uint8)
    path = tmp_path / "a.png"
    Image.fromarray(pixels).save(path)
    found = read_pixels(path, exif="error", alpha="error", channels=None, scale=("p1", "p100"))
    assert not found.kept, "the file's own bytes hold other pixels"
    ramp = np.rint(np.arange(100) * 255 / 99)
    assert [found.pixels[0, :, channel].tolist() for channel in (0, 1)] == [ramp.tolist()] * 2
    assert not found.pixels[:, :, 2].any(), "one value alone"
    assert read_pixels(path, exif="error", alpha="error", channels=None, scale=(10.0, 109.0)).kept, "8 bits stay"
    # One end of its own, the other the same for all; as many as asked for are not above a percentile.
    found = to_bytes(pixels, (0.0, "p50"), place=path)
    assert found[0, :, 0].tolist() == np.clip(np.rint(np.arange(10, 110) * 255 / 59), 0, 255).tolist()
    deep = np.random.default_rng(0).gamma(2, 900, (60, 50, 2)).astype(np.float32)
    found = to_bytes(deep, ("p5", "p90"), place=path)
    assert [(found[:, :, channel] == 0).mean() for channel in (0, 1)] == pytest.approx([0.05, 0.05], abs=2e-3)
    assert [(found[:, :, channel] == 255).mean() for channel in (0, 1)] == pytest.approx([0.1, 0.1], abs=2e-3)
    with pytest.raises(DataError, match="not finite"):
        to_bytes(np.full((2, 2), np.nan, np.float32), ("p1", "p99"), place=path)


def test_alpha_rotation_and_frames_of_deep_files(tmp_path):
    pixels = values(4, np.uint16, 65536)
    io.write_image_png_u16(str(tmp_path / "a.png"), pixels, "rgba")
    with pytest.raises(DataError, match="alpha channel"):
        read(tmp_path / "a.png", scale="full_range")
    found = read(tmp_path / "a.png", scale="full_range", alpha="drop")[0]
    assert np.array_equal(found, np.rint(pixels[:, :, :3] / 257).astype(np.uint8))
    deep = values(3, np.uint16, 65536)
    for turn in range(2, 9):
        tag = (274, "H", 1, turn, True)
        tifffile.imwrite(tmp_path / "t.tif", deep, photometric="rgb", extratags=[tag])
        with pytest.raises(DataError, match=f"EXIF orientation {turn}"):
            read(tmp_path / "t.tif", scale="full_range")
        plain, _ = read(tmp_path / "t.tif", scale="full_range", exif="ignore")
        Image.fromarray(plain).save(tmp_path / "e.tif", tiffinfo={274: turn})
        expected, _ = read(tmp_path / "e.tif", exif="apply")
        assert np.array_equal(read(tmp_path / "t.tif", scale="full_range", exif="apply")[0], expected)
    tifffile.imwrite(tmp_path / "s.tif", np.stack([deep, deep]), photometric="rgb")
    with pytest.raises(DataError, match="2 frames"):
        read(tmp_path / "s.tif", scale="full_range")


def test_damaged_deep_files_are_named(tmp_path):
    io.write_image_png_u16(str(tmp_path / "a.png"), values(3, np.uint16, 65536), "rgb")
    tifffile.imwrite(tmp_path / "b.tif", values(5, np.uint16, 65536), photometric="minisblack")
    for name in ("a.png", "b.tif"):
        whole = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(whole[: len(whole) // 2])
        with pytest.raises(DataError, match=rf"{name}: (unreadable|not an image)"):
            read(tmp_path / name, channels=(0,), scale="full_range")


def test_a_tile_far_larger_than_the_image_is_refused_before_it_is_unpacked(tmp_path):
    path, pixels = tmp_path / "a.tif", values(5)
    for tile in ((16, 512), (16, 8192)):
        tifffile.imwrite(path, pixels, photometric="minisblack", planarconfig="contig", tile=tile, compression="zlib")
        if tile[1] == 512:
            np.testing.assert_array_equal(read(path, channels=(0, 1, 2, 3, 4))[0], pixels)
        else:
            with pytest.raises(DataError, match=r"a tile of 8192x16 px in an image of 10x12 px; replace the file"):
                read(path, channels=(0, 1, 2, 3, 4))
