import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import EpsImagePlugin, Image

import maskline
from maskline.core.errors import DataError
from maskline.reading.bands import read_pixels
from maskline.reading.headers import png_bit_depth
from maskline.reading.images import image_size, open_image, read_image, size_of
from tests.sets import picture


def encoded(image, **options):
    sink = io.BytesIO()
    image.save(sink, **options)
    return sink.getvalue()


def decoded(path):
    with Image.open(path) as image:
        return np.array(image.convert("RGB"))


def to_rgb(image):
    return np.array(image.convert("RGB"))


def rotated_jpeg(path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture(0, (16, 8)).save(path, exif=exif, quality=95)
    return path


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_plain_images_keep_their_bytes(tmp_path, mode, suffix):
    path = tmp_path / f"a.{suffix}"
    picture(0, mode=mode).save(path)
    image, kept, _ = read_image(path, exif="error", alpha="error")
    assert kept
    assert image.mode == mode
    assert to_rgb(image).shape == (10, 12, 3)
    assert np.array_equal(to_rgb(image)[..., 0], decoded(path)[..., 0])


@pytest.mark.parametrize("suffix", ["tif", "bmp", "webp", "gif"])
def test_other_formats_are_encoded_anew(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    picture(0, mode="L").save(path, **({"lossless": True} if suffix == "webp" else {}))
    image, kept, _ = read_image(path, exif="error", alpha="error")
    assert not kept
    assert np.abs(to_rgb(image)[..., 0].astype(int) - np.array(picture(0, mode="L"))).max() <= 1


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_alpha(tmp_path, mode):
    path = tmp_path / "a.png"
    if mode == "P":
        picture(0).quantize(8).save(path, transparency=3)
    else:
        picture(0).convert(mode).save(path)
    with pytest.raises(DataError, match=r"a.png: alpha channel .*data.alpha to drop"):
        read_image(path, exif="error", alpha="error")
    image, kept, _ = read_image(path, exif="error", alpha="drop")
    assert not kept
    assert image.mode == ("L" if mode == "LA" else "RGB")
    if mode == "RGBA":
        assert np.array_equal(to_rgb(image), np.array(picture(0)))


def test_one_transparent_color_is_alpha_too(tmp_path):
    picture(0).save(tmp_path / "a.png", transparency=(1, 2, 3))
    with pytest.raises(DataError, match="alpha"):
        read_image(tmp_path / "a.png", exif="error", alpha="error")


def test_exif(tmp_path):
    for orientation in range(1, 9):
        path = rotated_jpeg(tmp_path / "a.jpg", orientation)
        stored = decoded(path)
        ignored, kept, _ = read_image(path, exif="ignore", alpha="error")
        assert np.array_equal(np.array(ignored), stored)
        assert kept == (orientation == 1), "another reader would rotate the kept bytes"
        if orientation == 1:
            continue
        with pytest.raises(DataError, match=rf"a.jpg: EXIF orientation {orientation} .*data.exif"):
            read_image(path, exif="error", alpha="error")
        applied, kept, _ = read_image(path, exif="apply", alpha="error")
        assert not kept
        assert applied.size == ((8, 16) if orientation >= 5 else (16, 8))
    assert np.array_equal(np.array(applied), np.rot90(stored)), "8 is a quarter turn"


def test_16_bit_is_not_cut_down(tmp_path):
    Image.fromarray(np.full((4, 4), 300, np.uint16)).save(tmp_path / "grey.png")
    rows = b"".join(b"\0" + struct.pack(">12H", *range(12)) for _ in range(4))

    def chunk(name, content):
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", 4, 4, 16, 2, 0, 0, 0)
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    (tmp_path / "rgb.png").write_bytes(png)
    with Image.open(tmp_path / "rgb.png") as image:
        assert image.mode == "RGB", "Pillow does not tell"
    for name in ("grey.png", "rgb.png"):
        assert png_bit_depth(tmp_path / name) == 16
        with pytest.raises(DataError, match="not 8-bit RGB or gray"):
            read_image(tmp_path / name, exif="error", alpha="error")


@pytest.mark.parametrize("name", ["a.jpg", "a.tif"])
def test_cmyk_becomes_rgb_by_the_plain_formula(tmp_path, name):
    picture(0).convert("CMYK").save(tmp_path / name, quality=100)
    with Image.open(tmp_path / name) as opened:
        inks = np.array(opened).astype(int)
    image, kept, mode = read_image(tmp_path / name, exif="error", alpha="error")
    assert (image.mode, kept, mode) == ("RGB", False, "CMYK")
    expected = (255 - inks[..., :3]) * (255 - inks[..., 3:]) / 255
    assert np.abs(np.array(image) - expected).max() <= 1


def test_palette_and_one_bit_images(tmp_path):
    picture(0).quantize(8).save(tmp_path / "p.png")
    picture(0).convert("1").save(tmp_path / "one.png")
    assert read_image(tmp_path / "p.png", exif="error", alpha="error")[0].mode == "RGB"
    image, kept, _ = read_image(tmp_path / "one.png", exif="error", alpha="error")
    assert (image.mode, kept) == ("L", False)
    assert set(np.unique(np.array(image))) == {0, 255}


@pytest.mark.parametrize("suffix", ["PNG", "JPEG", "TIFF", "BMP"])
@pytest.mark.parametrize("share", [0.05, 0.5, 0.9])
def test_truncated_files_are_never_read_in_part(tmp_path, suffix, share):
    content = encoded(picture(0, (64, 64)), format=suffix)
    (tmp_path / "a.img").write_bytes(content[: int(len(content) * share)])
    with pytest.raises(DataError, match=r"a.img: .*(unreadable|not an image)"):
        open_image(tmp_path / "a.img", exif="error")


@pytest.mark.parametrize("content", [b"", b"text", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0" + bytes(30)])
def test_not_images(tmp_path, content):
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.png: "):
        open_image(tmp_path / "a.png", exif="error")


def test_a_flipped_byte_in_a_png(tmp_path):
    content = bytearray(encoded(picture(0, (64, 64)), format="PNG"))
    content[len(content) // 2] ^= 255
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(DataError, match="unreadable"):
        open_image(tmp_path / "a.png", exif="error")


def test_several_frames(tmp_path):
    picture(0).save(tmp_path / "a.tif", save_all=True, append_images=[picture(1)])
    with pytest.raises(DataError, match="2 frames"):
        open_image(tmp_path / "a.tif", exif="error")


def test_a_image_that_is_a_bomb(tmp_path, monkeypatch):
    picture(0, (64, 64)).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 3000)
    assert open_image(tmp_path / "a.png", exif="error").size == (64, 64)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(DataError, match="too large"):
        open_image(tmp_path / "a.png", exif="error")


def test_a_missing_file_is_not_called_unreadable(tmp_path):
    with pytest.raises(FileNotFoundError):
        open_image(tmp_path / "a.png", exif="error")


POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n%%EOF\n"


def test_postscript_is_handed_to_no_other_program(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *arguments, **_: calls.append(arguments))
    (tmp_path / "a.jpg").write_bytes(POSTSCRIPT)
    with pytest.raises(DataError, match=r"a\.jpg: not an image"):
        open_image(tmp_path / "a.jpg", exif="error")
    assert not calls


def test_every_opening_names_its_formats():
    """One without would hand PostScript over; this finds it in code that is still to be written."""
    package = Path(maskline.__file__).parent
    openings = [
        f"{file.relative_to(package)}: {line.strip()}"
        for file in package.rglob("*.py")
        for line in file.read_text(encoding="utf-8").splitlines()
        if "Image.open(" in line
    ]
    assert openings
    assert all("formats=" in line for line in openings), openings


def test_sizes_by_the_header_alone(tmp_path):
    turned, bands, text = rotated_jpeg(tmp_path / "a.jpg", 6), tmp_path / "b.tif", tmp_path / "c.tif"
    tifffile.imwrite(bands, np.zeros((4, 6, 5), np.uint16), photometric="minisblack", planarconfig="contig")
    text.write_text("none")
    assert [image_size(turned, exif=rule) for rule in ("ignore", "apply")] == [(8, 16), (16, 8)]
    assert (image_size(bands, exif="apply"), size_of(bands), size_of(text)) == ((4, 6), (6, 4), None)
    with pytest.raises(DataError, match="not an image"):
        image_size(text, exif="ignore")


def test_a_tiff_without_pixels(tmp_path, capfd):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.arange(48, dtype=np.uint8).reshape(6, 8))
    content = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as file:
        for name in ("StripOffsets", "StripByteCounts"):  # as a sparse file has them
            at = file.pages[0].tags[name].valueoffset
            content[at : at + 4] = bytes(4)
    for each in (bytes(content), b"II*\0" + bytes(4)):
        path.write_bytes(each)
        with pytest.raises(DataError, match="a TIFF without pixels; write it again"):
            open_image(path, exif="apply")
        with pytest.raises(DataError, match="a TIFF without pixels; write it again"):
            read_pixels(path, exif="apply", alpha="drop", channels=(0, 0), scale="error")
    assert capfd.readouterr().err == ""
