"""One rule, applied to files, arrays and Pillow's images alike, and by the program beside an exported model."""

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image

from maskline.core.errors import DataError
from maskline.data.reading_rule import UNKNOWN, ReadingRule
from maskline.export import example
from maskline.reading.as_trained import array_as_trained, image_as_trained, read_as_trained
from maskline.reading.bands import read_pixels


def values(bands, dtype=np.uint8, high=256):
    return np.random.default_rng(bands).integers(0, high, (12, 10, bands)).astype(dtype)


def png(path, pixels, **options):
    Image.fromarray(pixels.squeeze()).save(path, **options)


def deep_png(path, pixels):
    path.write_bytes(imagecodecs.png_encode(pixels.squeeze()))


def tiff(path, pixels, **options):
    kind = "rgb" if pixels.shape[2] in (3, 4) else "minisblack"
    options = {"photometric": kind, "planarconfig": "contig", **options}
    tifffile.imwrite(path, pixels.squeeze(), **options)


def turned(path, pixels):
    exif = Image.Exif()
    exif[0x0112] = 5
    png(path, pixels, exif=exif)


def opaque(pixels):
    return np.concatenate([pixels, np.full_like(pixels[..., :1], np.iinfo(pixels.dtype).max)], -1)


FILES = {
    "rgb.png": lambda path: png(path, values(3)),
    "gray.png": lambda path: png(path, values(1)),
    "gray and alpha.png": lambda path: png(path, values(2)),
    "rgba.png": lambda path: png(path, values(4)),
    "opaque.png": lambda path: png(path, opaque(values(3))),
    "palette.png": lambda path: Image.fromarray(values(3)).quantize(8).save(path),
    "transparent.png": lambda path: Image.fromarray(values(3)).quantize(8).save(path, transparency=3),
    "one bit.png": lambda path: png(path, values(1) > 100),
    "turned.png": lambda path: turned(path, values(3)),
    "cmyk.jpg": lambda path: Image.fromarray(values(4), mode="CMYK").save(path),
    "cmyk.tif": lambda path: Image.fromarray(values(4), mode="CMYK").save(path),
    "deep gray.png": lambda path: deep_png(path, values(1, np.uint16, 5000)),
    "deep gray and alpha.png": lambda path: deep_png(path, values(2, np.uint16, 65536)),
    "deep rgb.png": lambda path: deep_png(path, values(3, np.uint16, 65536)),
    "deep rgba.png": lambda path: deep_png(path, values(4, np.uint16, 65536)),
    "deep opaque.png": lambda path: deep_png(path, opaque(values(3, np.uint16, 65536))),
    "rgb.tif": lambda path: tiff(path, values(3), compression="lzw"),
    "apart.tif": lambda path: tiff(path, values(3).transpose(2, 0, 1), planarconfig="separate"),
    "apart rgb.tif": lambda path: tiff(path, values(3).transpose(2, 0, 1), planarconfig="separate", photometric="rgb"),
    "alpha.tif": lambda path: tiff(path, values(4), extrasamples=["unassalpha"]),
    "infrared.tif": lambda path: tiff(path, values(4), extrasamples=["unspecified"]),
    "deep infrared.tif": lambda path: tiff(path, values(4, np.uint16, 5000), extrasamples=[0], compression="zlib"),
    "deep alpha.tif": lambda path: tiff(path, values(4, np.uint16, 65536), extrasamples=["unassalpha"]),
    "deep gray.tif": lambda path: tiff(path, values(1, np.uint16, 5000), compression="zstd"),
    "turned.tif": lambda path: tiff(path, values(5, np.uint16, 5000), extratags=[(274, "H", 1, 7, True)]),
    "float.tif": lambda path: tiff(path, values(1, np.float32, 5000)),
    "signed.tif": lambda path: tiff(path, values(2, np.int16, 5000)),
    "five.tif": lambda path: tiff(path, values(5)),
}

RULES = {
    "unknown": UNKNOWN,
    "rgb": ReadingRule(alpha="error", exif="ignore", source_bands=(3,), source_types=("uint8",)),
    "bgr": ReadingRule(channels=(2, 1, 0), source_bands=(3,), source_types=("uint8",)),
    "one": ReadingRule(channels=(0,), source_bands=(1,)),
    "infrared": ReadingRule(channels=(3, 0, 1), source_bands=(4, 5)),
    "full range": ReadingRule(image_scale="full_range", alpha="error", source_types=("uint16", "uint8")),
    "range": ReadingRule(image_scale=(200.0, 4000.0), channels=(0,)),
    "percentiles": ReadingRule(image_scale=("p2", "p99.5"), source_types=("uint16", "uint8")),
    "percentiles of bands": ReadingRule(image_scale=(200.0, "p90"), channels=(4, 0), source_bands=(5,)),
    "bands in a range": ReadingRule(
        image_scale=(200.0, 4000.0), channels=(4, 0), source_bands=(5,), source_types=("uint16",)
    ),
}


def outcome(function, *arguments):
    try:
        return function(*arguments)
    except (DataError, SystemExit) as error:
        return str(error)


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_the_program_beside_the_model_reads_as_the_library(tmp_path, rule):
    read = 0
    for name, write in FILES.items():
        write(tmp_path / name)
        expected = outcome(read_as_trained, tmp_path / name, rule)
        found = outcome(example.read, str(tmp_path / name), rule.to_dict())
        if isinstance(expected, str):
            assert isinstance(found, str), name
            assert "was trained on" in found
            assert f"{name}: " in expected
            assert "the model was trained on" in expected
            continue
        read += 1
        assert not isinstance(found, str), (name, found)
        np.testing.assert_array_equal(found, expected, err_msg=name)
        assert (expected.dtype, expected.shape[2]) == (np.uint8, rule.num_channels)
    assert read >= 1


def test_pixels_are_those_that_convert_makes(tmp_path):
    for name, write in FILES.items():
        write(tmp_path / name)
        for rule in RULES.values():
            found = outcome(read_as_trained, tmp_path / name, rule)
            if not isinstance(found, str):
                made = read_pixels(
                    tmp_path / name, exif=rule.exif, alpha="drop", channels=rule.channels, scale=rule.image_scale
                ).pixels
                np.testing.assert_array_equal(found, np.dstack([made] * 3) if made.ndim == 2 else made)


@pytest.mark.parametrize("name", ["rgb.png", "gray.png", "rgba.png", "opaque.png", "turned.png", "cmyk.jpg"])
def test_pillows_images_are_read_as_their_files(tmp_path, name):
    FILES[name](tmp_path / name)
    for key, rule in RULES.items():
        expected = outcome(read_as_trained, tmp_path / name, rule)
        with Image.open(tmp_path / name) as image:
            found = outcome(lambda one, rule=rule: image_as_trained(one, rule, place="image"), image)
        assert isinstance(found, str) == isinstance(expected, str), (key, found)
        if not isinstance(found, str):
            np.testing.assert_array_equal(found, expected, err_msg=key)


def test_arrays_hold_what_files_hold(tmp_path):
    def read(array, rule):
        return array_as_trained(array, rule, place="array")

    np.testing.assert_array_equal(read(values(3), RULES["bgr"]), values(3)[..., ::-1])
    np.testing.assert_array_equal(read(values(1)[..., 0], UNKNOWN), np.repeat(values(1), 3, 2))
    np.testing.assert_array_equal(read(values(4), UNKNOWN), values(4)[..., :3])
    deep = values(5, np.uint16, 5000)
    tiff(tmp_path / "a.tif", deep)
    rule = RULES["bands in a range"]
    np.testing.assert_array_equal(read(deep, rule), read_as_trained(tmp_path / "a.tif", rule))
    with pytest.raises(DataError, match=r"array: an array of shape \(2, 3, 4, 5\)"):
        read(np.zeros((2, 3, 4, 5), np.uint8), UNKNOWN)


@pytest.mark.parametrize(
    ("name", "rule", "message"),
    [
        ("five.tif", "infrared", None),
        ("rgb.png", "infrared", "3 channels, but the model names channel 3"),
        ("infrared.tif", "bgr", "4 bands; the model was trained on channels [2, 1, 0] of images of 3 bands of uint8"),
        ("gray.png", "bands in a range", "1 channels, but the model names channel 4"),
        ("five.tif", "bands in a range", "values of uint8; the model was trained on channels [4, 0] of images of 5"),
        ("deep rgb.png", "rgb", "more than 8 bits, not 8-bit RGB or gray; the model was trained on RGB of images"),
        ("rgba.png", "rgb", "alpha channel (mode RGBA); the model was trained on RGB of images of 3 bands of uint8"),
        ("opaque.png", "rgb", None),
        ("float.tif", "full range", "no full range; the model was trained on RGB of images of uint16 or uint8, scaled"),
    ],
)
def test_what_does_not_fit_is_refused_by_what_training_had(tmp_path, name, rule, message):
    FILES[name](tmp_path / name)
    found = outcome(read_as_trained, tmp_path / name, RULES[rule])
    if message is None:
        assert not isinstance(found, str), found
    else:
        assert message in found
        assert "give images like those" in found
