import struct
import zlib
from contextlib import suppress

import numpy as np
import pytest
import tifffile
from PIL import Image

from maskline.core.errors import DataError
from maskline.data.reading_rule import UNKNOWN, ReadingRule
from maskline.predict.predict_stream import _open
from maskline.predict.tiff import geo_tags
from maskline.reading.as_trained import read_as_trained
from maskline.reading.headers import damage, stored
from maskline.reading.images import image_size
from maskline.reading.masks import mode

PIXELS = np.random.default_rng(0).integers(0, 256, (20, 24, 3), dtype=np.uint8)


def damaged(folder):
    """Write images on which Pillow and tifffile raise TypeError, IndexError, SyntaxError and struct.error."""
    folder.mkdir(exist_ok=True)
    tifffile.imwrite(folder / "sound.tif", PIXELS, photometric="rgb", extratags=[(274, "H", 1, 1, True)])
    whole = (folder / "sound.tif").read_bytes()
    with tifffile.TiffFile(folder / "sound.tif") as file:
        entries = {tag.name: (tag.offset, tag.valueoffset) for tag in file.pages[0].tags}
    (folder / "sound.tif").unlink()
    bits = entries["BitsPerSample"][1]
    (folder / "bits.tif").write_bytes(whole[:bits] + struct.pack("<3H", 5, 6, 5) + whole[bits + 6 :])
    for name, tag in (("width", "ImageWidth"), ("channels", "SamplesPerPixel"), ("turn", "Orientation")):
        count = entries[tag][0] + 4
        (folder / f"{name}.tif").write_bytes(whole[:count] + struct.pack("<I", 2) + whole[count + 4 :])
    (folder / "short.tif").write_bytes(whole[:7])
    Image.fromarray(PIXELS).save(folder / "a.png")
    png = (folder / "a.png").read_bytes()
    (folder / "a.png").unlink()
    chunk = b"eXIf" + b"garbage"
    chunk = struct.pack(">I", 7) + chunk + struct.pack(">I", zlib.crc32(chunk))
    (folder / "exif.png").write_bytes(png[:33] + chunk + png[33:])
    (folder / "short.png").write_bytes(png[:19])
    return sorted(folder.iterdir())


NAMES = ("bits.tif", "channels.tif", "exif.png", "short.png", "short.tif", "turn.tif", "width.tif")


@pytest.mark.parametrize("name", NAMES)
def test_what_the_libraries_raise_on_a_damaged_file_is_one_line(tmp_path, name):
    assert [path.name for path in damaged(tmp_path / "a")] == list(NAMES)
    path = tmp_path / "a" / name
    for rule in (UNKNOWN, ReadingRule(image_scale=(0.0, 100.0))):
        with suppress(DataError):  # Pillow takes the first of two numbers
            read_as_trained(path, rule)
    with pytest.raises(DataError, match=name):
        _open(path)
    stored(path)
    mode(path)
    assert geo_tags(path) == []
    with suppress(DataError):
        image_size(path, exif="apply")


def test_errors_of_the_disk_and_of_memory_are_not_the_files(tmp_path):
    for error in (MemoryError(), PermissionError(13, "Permission denied")):
        with pytest.raises(type(error)), damage(tmp_path):
            raise error
