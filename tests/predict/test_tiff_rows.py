import numpy as np
import pytest
import tifffile
from PIL import Image

from maskline.core.errors import DataError
from maskline.predict.tiff_rows import TiffRows


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
    np.testing.assert_array_equal(
        read_all(tmp_path / "grey.tif", step=20), np.repeat(drawn(channels=1)[..., None], 3, 2)
    )
    tifffile.imwrite(tmp_path / "alpha.tif", drawn(channels=4), photometric="rgb", extrasamples=["unassalpha"])
    np.testing.assert_array_equal(read_all(tmp_path / "alpha.tif", step=20), drawn(channels=4)[..., :3])


def test_pillows_own(tmp_path):
    Image.fromarray(drawn()).save(tmp_path / "a.tiff", compression="tiff_deflate")
    np.testing.assert_array_equal(read_all(tmp_path / "a.tiff", step=11), drawn())


def test_what_cannot_be_read_by_rows_is_one_line(tmp_path):
    (tmp_path / "no.tif").write_bytes(b"not a picture")
    with pytest.raises(DataError, match="no TIFF"):
        TiffRows(tmp_path / "no.tif")
    tifffile.imwrite(tmp_path / "deep.tif", drawn().astype(np.uint16), photometric="rgb")
    with pytest.raises(DataError, match="3 channels of uint16; save it as a TIFF of 8 bits"):
        TiffRows(tmp_path / "deep.tif")


def test_a_cut_file_is_an_error(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", drawn(size=(400, 300)), photometric="rgb", rowsperstrip=50)
    whole = (tmp_path / "a.tif").read_bytes()
    (tmp_path / "a.tif").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError):
        read_all(tmp_path / "a.tif", step=100)
